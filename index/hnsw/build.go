package hnsw

import (
	"fmt"
	"math"
	"slices"
	"sync/atomic"

	"imgsearch/dataset"
	"imgsearch/index"
	"imgsearch/internal/kernel"
)

// Nodes are inserted in batches, so that all cores work and the graph is the same whatever their number:
//
//  1. Each node of a batch searches the graph as it was before the batch, compares itself with every node of the batch
//     before it, and chooses its links among what it found: in parallel.
//  2. The nodes get their parents (see tree.go) and their links, in order.
//  3. Each node that was chosen gets links back, and chooses anew among the old and the new where they are too many: in
//     parallel over the nodes that were chosen.
//
// As nothing of a batch escapes its other nodes, a graph built in batches finds as much as one built node by node.
const batchLen = 256

// Add implements index.Index. It uses Options.Threads threads. A loaded graph is verified before it is first changed.
// Searches go on meanwhile, and find what was linked up to then.
func (g *Graph) Add(ids []dataset.ID, embeddings []float32) error {
	g.writer.Lock()
	defer g.writer.Unlock()
	if err := index.CheckAdd(ids, embeddings, g.dim, g.has); err != nil {
		return err
	}
	if len(g.ids)+len(ids) > maxSlots {
		return fmt.Errorf("graph of %d slots: no room for %d more", len(g.ids), len(ids))
	}
	if err := g.trust(); err != nil {
		return err
	}
	prepared, err := g.prepare(ids, embeddings)
	if err != nil {
		return err
	}
	return g.insertAll(g.appendNodes(ids, prepared))
}

// prepare returns embeddings as the graph keeps them.
func (g *Graph) prepare(ids []dataset.ID, embeddings []float32) ([]float32, error) {
	prepared := make([]float32, len(embeddings))
	for i, id := range ids {
		from, to := i*g.dim, (i+1)*g.dim
		if id == empty {
			return nil, fmt.Errorf("id %d is reserved", id)
		}
		if err := index.PrepareTo(prepared[from:to], g.metric, embeddings[from:to]); err != nil {
			return nil, fmt.Errorf("image %d: %w", id, err)
		}
	}
	return prepared, nil
}

// Skip leaves the next n slots empty, so that slots stay equal to ids where n ids were never added.
func (g *Graph) Skip(n int) error {
	g.writer.Lock()
	defer g.writer.Unlock()
	if n < 0 || len(g.ids)+n > maxSlots {
		return fmt.Errorf("graph of %d slots: no room for %d more", len(g.ids), n)
	}
	if err := g.trust(); err != nil {
		return err
	}
	g.state.Lock()
	defer g.state.Unlock()
	from := len(g.ids)
	for range n {
		g.newSlot(empty, 0)
	}
	g.updateHeights(from)
	return nil
}

// appendNodes stores nodes without links and returns their slots. The graph does not lead to them yet.
func (g *Graph) appendNodes(ids []dataset.ID, embeddings []float32) (slots []uint32) {
	g.slotByID(0) // decides on the map of slots while it agrees with g.ids
	g.state.Lock()
	defer g.state.Unlock()
	slots = make([]uint32, len(ids))
	from := len(g.ids)
	g.ids, g.levels = slices.Grow(g.ids, len(ids)), slices.Grow(g.levels, len(ids))
	g.parents, g.children = slices.Grow(g.parents, len(ids)), slices.Grow(g.children, len(ids))
	g.upperAt = slices.Grow(g.upperAt, len(ids))
	for i, id := range ids {
		if g.slots == nil && id != dataset.ID(len(g.ids)) {
			g.mapSlots()
		}
		slot := g.newSlot(id, g.levelOf(uint32(len(g.ids))))
		copy(g.vectors.write(slot), embeddings[i*g.dim:(i+1)*g.dim])
		if g.slots != nil {
			g.slots[id] = slot
		}
		slots[i] = slot
	}
	g.updateCodes(from)
	g.updateHeights(from)
	return slots
}

// levelOf draws the level of a slot: floor(-ln(u) / ln(M)), u uniform in (0, 1].
func (g *Graph) levelOf(slot uint32) uint8 {
	x := mix(g.options.Seed ^ mix(uint64(slot)+0x9E3779B97F4A7C15))
	u := (float64(x>>11) + 1) / (1 << 53)
	return uint8(min(maxLevel, int(-math.Log(u)/math.Log(float64(g.options.M)))))
}

// mix is the finaliser of splitmix64 (Steele, Lea & Flood 2014).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
	x = (x ^ x>>27) * 0x94D049BB133111EB
	return x ^ x>>31
}

// insertAll links nodes into the graph in the order given, batch by batch.
func (g *Graph) insertAll(slots []uint32) error {
	if len(slots) == 0 {
		return nil
	}
	if g.entry == noSlot {
		g.state.Lock()
		g.entry, g.top, g.live = slots[0], int(g.levels[slots[0]]), 1
		g.state.Unlock()
		slots = slots[1:]
	}
	b := newBuilder(g)
	for batch := range slices.Chunk(slots, batchLen) {
		if err := b.insert(batch); err != nil {
			return err
		}
	}
	for i := range b.workers {
		g.release(b.workers[i].search)
	}
	return nil
}

// builder inserts batches of nodes.
type builder struct {
	g       *Graph
	workers []worker
	chosen  [batchLen]chosen
	wishes  []wish
	order   []uint64 // of wishes: the node that was chosen, the level, the number of the wish
	lists   []int    // where in order those for another list begin
}

// worker is the scratch memory of one thread.
type worker struct {
	search *searcher
	chooser
	err error
}

// chosen is what a new node found.
type chosen struct {
	near  []uint64 // the candidates on level 0
	links []wish   // from all its levels
}

// wish is a link that a new node chose.
type wish struct {
	level    int
	to, from uint32
	distance float32
}

func newBuilder(g *Graph) *builder {
	b := &builder{g: g, workers: make([]worker, kernel.Threads(g.options.Threads))}
	for i := range b.workers {
		b.workers[i].search = g.searcher()
	}
	return b
}

// parallel calls fn for each i in [0, n), each worker with the next i that is left.
func (b *builder) parallel(n int, fn func(w *worker, i int)) {
	var next atomic.Int64
	threads := min(len(b.workers), n)
	kernel.Parallel(threads, threads, func(t int) {
		for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
			fn(&b.workers[t], i)
		}
	})
}

// insert links one batch of nodes into a graph that has an entry point.
func (b *builder) insert(batch []uint32) error {
	g := b.g
	b.parallel(len(batch), func(w *worker, i int) {
		if err := w.find(g, batch[:i], batch[i], &b.chosen[i]); err != nil {
			w.err = err
		}
	})
	for i := range b.workers {
		if err := b.workers[i].err; err != nil {
			return err
		}
	}
	g.state.Lock()
	defer g.state.Unlock()
	b.wishes = b.wishes[:0]
	for i, slot := range batch {
		b.settle(slot, &b.chosen[i])
	}
	b.linkBack()
	for _, slot := range batch {
		if int(g.levels[slot]) > g.top {
			g.entry, g.top = slot, int(g.levels[slot])
		}
	}
	g.live += len(batch)
	return nil
}

// find chooses the links of a new node on each of its levels, among the graph and the nodes of its batch before it.
func (w *worker) find(g *Graph, before []uint32, slot uint32, c *chosen) error {
	c.near, c.links = c.near[:0], c.links[:0]
	p := g.probeOf(slot)
	own := int(g.levels[slot])
	at, err := g.descend(w.search, p, g.top, own)
	if err != nil {
		return err
	}
	s, ef := w.search, g.options.EfConstruction
	for level := own; level >= 0; level-- {
		s.pool = s.pool[:0]
		if level <= g.top {
			if err := g.searchLevel(s, p, at, level, ef); err != nil {
				return err
			}
			at = s.pool[0]
			if p.code != nil {
				g.exactly(s, p, s.pool)
			}
		}
		w.addBatch(g, p, before, level)
		for i := range s.pool {
			s.pool[i] &^= expanded
		}
		for _, word := range g.choose(&w.chooser, nil, s.pool, g.options.M, nil) {
			c.links = append(c.links, wish{level, slotOf(word), slot, distanceOf(word)})
		}
	}
	c.near = append(c.near, s.pool...)
	return nil
}

// addBatch puts the nodes of a batch that are on a level into the pool, at their distances from p.
func (w *worker) addBatch(g *Graph, p probe, before []uint32, level int) {
	s, ef := w.search, g.options.EfConstruction
	s.fit(batchLen)
	n := 0
	for _, other := range before {
		if int(g.levels[other]) >= level {
			s.slots[n], s.rows[n] = other, g.vectors.pointer(other)
			n++
		}
	}
	kernel.SquaredL2Each(p.embedding, s.rows[:n], s.distances[:n])
	g.lift(p.height, s.slots[:n], s.distances[:n])
	for i, d := range s.distances[:n] {
		if word := packed(d, s.slots[i]); len(s.pool) < ef || word < s.pool[ef-1] {
			s.pool, _ = insert(s.pool, word, ef)
		}
	}
}

// settle gives a new node its parent and its own links, and notes whom it chose.
func (b *builder) settle(slot uint32, c *chosen) {
	g := b.g
	first := len(c.links) // of level 0, which comes last
	for first > 0 && c.links[first-1].level == 0 {
		first--
	}
	level0 := make([]uint64, 0, g.options.M)
	for _, l := range c.links[first:] {
		level0 = append(level0, packed(l.distance, l.to))
	}
	parent := g.adopt(slot, level0, c.near)
	if !slices.Contains(level0, parent) {
		link := wish{0, slotOf(parent), slot, distanceOf(parent)}
		if len(level0) == g.options.M {
			c.links[len(c.links)-1] = link
		} else {
			c.links = append(c.links, link)
		}
	}
	links := make([]uint32, 0, g.options.M)
	for i := 0; i < len(c.links); {
		level := c.links[i].level
		links = links[:0]
		for ; i < len(c.links) && c.links[i].level == level; i++ {
			links = append(links, c.links[i].to)
		}
		g.setNeighbors(slot, level, links)
	}
	b.wishes = append(b.wishes, c.links...)
}

// linkBack adds links to the nodes that new nodes chose.
func (b *builder) linkBack() {
	g := b.g
	// By list, the wishes for one list in the order of insertion. The number of a wish has room in 20 bits: a batch has
	// 256 nodes, a node few levels (31 with a chance of 1 in M^30) and at most 128 links on each.
	b.order = b.order[:0]
	for i, x := range b.wishes {
		b.order = append(b.order, uint64(x.to)<<25|uint64(x.level)<<20|uint64(i))
	}
	slices.Sort(b.order)
	b.lists = b.lists[:0]
	for i, key := range b.order {
		if i == 0 || key>>20 != b.order[i-1]>>20 {
			b.lists = append(b.lists, i)
			g.claim(uint32(key>>25), int(key>>20&31))
		}
	}
	b.parallel(len(b.lists), func(w *worker, i int) {
		group := b.order[b.lists[i]:]
		if i+1 < len(b.lists) {
			group = b.order[b.lists[i]:b.lists[i+1]]
		}
		to, level := uint32(group[0]>>25), int(group[0]>>20&31)
		w.candidates = w.candidates[:0]
		g.measured(&w.chooser, to, g.neighbors(to, level))
		for _, key := range group {
			x := b.wishes[key&(1<<20-1)]
			w.candidates = append(w.candidates, packed(x.distance, x.from))
		}
		g.relink(&w.chooser, to, level)
	})
}

// relink makes c's candidates the links of a node or, where they are too many, some of them. The list must be claimed.
func (g *Graph) relink(c *chooser, slot uint32, level int) {
	links := c.candidates
	if len(links) > g.capacity(level) {
		links = g.chooseAgain(c, slot, level)
	}
	c.slots = c.slots[:0]
	for _, word := range links {
		c.slots = append(c.slots, slotOf(word))
	}
	g.store(slot, level, c.slots)
}

// chooseAgain returns the links of a node of the graph, chosen among c's candidates, which it sorts. Edges of the tree
// are among them.
func (g *Graph) chooseAgain(c *chooser, slot uint32, level int) []uint64 {
	var must func(uint32) bool
	if level == 0 {
		must = func(other uint32) bool { return g.related(slot, other) }
	}
	slices.Sort(c.candidates)
	return g.choose(c, nil, c.candidates, g.capacity(level), must)
}
