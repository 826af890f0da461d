package hnsw

import (
	"fmt"
	"slices"

	"imgsearch/dataset"
	"imgsearch/index"
	"imgsearch/internal/kernel"
)

// Remove implements index.Index. The nodes' slots stay empty. Every node that linked to a removed one chooses other links
// among those that the removed one had, so that paths through it close up (compare FreshDiskANN, Singh et al. 2021,
// algorithm 4). When fewer than half of the nodes remain, the graph is linked from
// scratch instead. Each call looks at all links once, whatever the number of ids: remove many at a time. A loaded graph
// is verified before it is first changed. Searches go on meanwhile, and find all until the change is done.
func (g *Graph) Remove(ids ...dataset.ID) error {
	g.writer.Lock()
	defer g.writer.Unlock()
	gone := make([]uint32, 0, len(ids))
	for _, id := range ids {
		slot, ok := g.slotByID(id)
		if !ok {
			return fmt.Errorf("%w: %d", index.ErrNotFound, id)
		}
		gone = append(gone, slot)
	}
	slices.Sort(gone)
	gone = slices.Compact(gone)
	if len(gone) == 0 {
		return nil
	}
	if err := g.trust(); err != nil {
		return err
	}
	if 2*(g.live-len(gone)) < g.live {
		if err := g.rebuild(gone); err != nil {
			return err
		}
	} else {
		g.unlink(gone)
	}
	g.compactIfSparse()
	return nil
}

// unlink takes nodes, fewer than all, out of the graph.
func (g *Graph) unlink(gone []uint32) {
	r := remover{g: g, gone: make([]bool, len(g.ids)), adopted: make(map[uint32][]uint32)}
	for _, slot := range gone {
		r.gone[slot] = true
	}
	r.findParents(gone)
	lists, changed := r.closeUp()
	g.state.Lock()
	defer g.state.Unlock()
	for i, l := range lists {
		g.setNeighbors(l.slot, l.level, changed[i])
	}
	for _, slot := range gone {
		g.emptySlot(slot)
	}
	if r.gone[g.entry] {
		g.chooseEntry()
	}
}

// remover takes nodes out of a graph.
type remover struct {
	g       *Graph
	gone    []bool              // of each slot
	adopted map[uint32][]uint32 // of each node that became a parent: its new children
}

// findParents gives the children of removed nodes other parents. Removed nodes that are each other's parents form a piece
// of the tree; what hung from it (the orphans) goes to the parent of its topmost node, or to one another.
func (r *remover) findParents(gone []uint32) {
	g := r.g
	orphans := make(map[uint32][]uint32) // by topmost node
	for slot, parent := range g.parents {
		if parent != noSlot && r.gone[parent] && !r.gone[slot] {
			top := parent
			for above := g.parents[top]; above != noSlot && r.gone[above]; above = g.parents[top] {
				top = above
			}
			orphans[top] = append(orphans[top], uint32(slot))
		}
	}
	for _, slot := range gone {
		if parent := g.parents[slot]; parent != noSlot {
			g.children[parent]--
		}
	}
	for _, top := range gone {
		if children := orphans[top]; len(children) > 0 {
			r.settle(g.parents[top], children)
		}
	}
}

// maxAdopters is how many nodes an orphan compares itself with to find its parent.
const maxAdopters = 256

// settle gives orphans of one piece their parents: above, or where there was nothing above the piece, the first of them,
// which becomes the root; or one another.
func (r *remover) settle(above uint32, orphans []uint32) {
	g := r.g
	if above == noSlot {
		above = orphans[0]
		g.setParent(above, noSlot)
		orphans = orphans[1:]
	}
	adopters := []uint32{above}
	for _, orphan := range orphans {
		parent, nearest := uint32(noSlot), float32(0)
		for _, adopter := range adopters[max(0, len(adopters)-maxAdopters):] {
			if int(g.children[adopter]) >= g.maxChildren() {
				continue
			}
			d := g.between(orphan, adopter)
			if parent == noSlot || d < nearest {
				parent, nearest = adopter, d
			}
		}
		if parent == noSlot {
			parent = r.roomBelow(above)
		}
		g.setParent(orphan, parent)
		r.adopted[parent] = append(r.adopted[parent], orphan)
		adopters = append(adopters, orphan)
	}
}

// roomBelow returns a node of the tree below another that has room for a child: there are always leaves.
func (r *remover) roomBelow(slot uint32) uint32 {
	g := r.g
	queue := []uint32{slot}
	for i := 0; i < len(queue); i++ {
		at := queue[i]
		if int(g.children[at]) < g.maxChildren() {
			return at
		}
		for _, other := range slices.Concat(g.neighbors(at, 0), r.adopted[at]) {
			if !r.gone[other] && g.parents[other] == at {
				queue = append(queue, other)
			}
		}
	}
	panic("hnsw: a tree without leaves")
}

// list names the links of a node on a level.
type list struct {
	slot  uint32
	level int
}

// closeUp returns other links for the nodes that link to removed ones, and for those that the tree joined.
func (r *remover) closeUp() (lists []list, changed [][]uint32) {
	g := r.g
	joined := make(map[uint32][]uint32)
	for parent, children := range r.adopted {
		joined[parent] = append(joined[parent], children...)
		for _, child := range children {
			joined[child] = append(joined[child], parent)
		}
	}
	for slot := range uint32(len(g.ids)) {
		if g.ids[slot] == empty || r.gone[slot] {
			continue
		}
		for level := range int(g.levels[slot]) + 1 {
			if level == 0 && len(joined[slot]) > 0 ||
				slices.ContainsFunc(g.neighbors(slot, level), func(other uint32) bool { return r.gone[other] }) {
				lists = append(lists, list{slot, level})
			}
		}
	}
	// All new lists are chosen before the first is stored: they are made from the old ones.
	changed = make([][]uint32, len(lists))
	kernel.ParallelRanges(g.options.Threads, len(lists), func(_, from, to int) {
		s := g.searcher()
		defer g.release(s)
		var c chooser
		for i := from; i < to; i++ {
			l := lists[i]
			var near []uint32
			if l.level == 0 {
				near = joined[l.slot]
			}
			changed[i] = r.mended(s, &c, l.slot, l.level, near)
		}
	})
	return lists, changed
}

// maxBridge is the number of candidates from which on a node looks no further for new links.
const maxBridge = 512

// mended returns new links for a node: all that it has, those in joined, and in place of the removed ones some that these
// linked to, following removed ones as far as they lead to removed ones. What a node has is kept although the new ones may
// be closer, because links from the time when the graph was small lead far, and a search needs some that do.
func (r *remover) mended(s *searcher, c *chooser, slot uint32, level int, joined []uint32) []uint32 {
	g := r.g
	s.nextEpoch()
	visited, epoch := s.visited, s.epoch
	visited[slot] = epoch
	links := make([]uint32, 0, g.capacity(level))
	for _, other := range joined {
		visited[other] = epoch
		links = append(links, other)
	}
	queue, found := append(c.queue[:0], slot), c.slots[:0]
	for i := 0; i < len(queue) && len(found) < maxBridge; i++ {
		for _, other := range g.neighbors(queue[i], level) {
			switch {
			case visited[other] == epoch:
				continue
			case r.gone[other]:
				queue = append(queue, other)
			case i == 0:
				links = append(links, other)
			default:
				found = append(found, other)
			}
			visited[other] = epoch
		}
	}
	c.queue, c.slots = queue, found
	c.candidates = c.candidates[:0]
	var words []uint64
	if len(links) <= g.capacity(level) {
		g.measured(c, slot, found)
		slices.Sort(c.candidates)
		words = g.choose(c, links, c.candidates, g.capacity(level), nil)
	} else {
		g.measured(c, slot, links)
		words, links = g.chooseAgain(c, slot, level), links[:0]
	}
	for _, word := range words {
		links = append(links, slotOf(word))
	}
	return links
}

// chooseEntry makes the first node of the highest level the entry point.
func (g *Graph) chooseEntry() {
	g.entry, g.top = noSlot, 0
	for slot, id := range g.ids {
		if id != empty && (g.entry == noSlot || int(g.levels[slot]) > g.top) {
			g.entry, g.top = uint32(slot), int(g.levels[slot])
		}
	}
}

// rebuild drops all links and inserts every node again but those that are gone, in the order of slots. Searches go on in
// the old graph meanwhile.
func (g *Graph) rebuild(gone []uint32) error {
	fresh := newGraph(g.metric, g.dim, g.options)
	fresh.vectors, fresh.codes, fresh.coding, fresh.heights = g.vectors, g.codes, g.coding, g.heights
	var slots []uint32
	for slot, id := range g.ids {
		level := uint8(0)
		if len(gone) > 0 && gone[0] == uint32(slot) {
			id, gone = empty, gone[1:]
		}
		if id != empty {
			level = g.levels[slot]
			slots = append(slots, uint32(slot))
		}
		fresh.newSlot(id, level)
	}
	if err := fresh.insertAll(slots); err != nil {
		return err
	}
	for n := range fresh.links.data {
		fresh.links.mark(uint32(n) << chunkShift)
	}
	g.state.Lock()
	defer g.state.Unlock()
	g.links, g.nodes = fresh.links, fresh.nodes
	if g.slots != nil {
		clear(g.slots)
		for _, slot := range slots {
			g.slots[fresh.ids[slot]] = slot
		}
	}
	g.ids, g.levels, g.parents, g.children = fresh.ids, fresh.levels, fresh.parents, fresh.children
	g.upperAt, g.upper = fresh.upperAt, fresh.upper
	g.live, g.entry, g.top = fresh.live, fresh.entry, fresh.top
	return nil
}
