package hnsw

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"imgsearch/dataset"
	"imgsearch/index"
	"imgsearch/internal/kernel"
)

// Nodes are inserted in batches, so that all cores work and the graph is the same whatever their number. Each node of a
// batch searches the graph as it was before the batch and looks at the nodes of the batch before it one by one; then
// the nodes that were chosen get their links back, each node's in the order of insertion. A batch is a small part of the
// graph, so that its nodes miss little of each other's surroundings.
const (
	largestBatch = 256
	batchShare   = 16 // a batch is at most 1/batchShare of the nodes in the graph
)

// Add implements index.Index. It uses Options.Threads threads.
func (g *Graph) Add(ids []dataset.ID, embeddings []float32) error {
	if err := index.CheckAdd(ids, embeddings, g.dim, g.Has); err != nil {
		return err
	}
	if len(g.ids)+len(ids) > maxSlots {
		return fmt.Errorf("graph of %d slots: no room for %d more", len(g.ids), len(ids))
	}
	prepared := make([]float32, len(embeddings))
	for i, id := range ids {
		from, to := i*g.dim, (i+1)*g.dim
		if id == empty {
			return fmt.Errorf("id %d is reserved", id)
		}
		if err := index.PrepareTo(prepared[from:to], g.metric, embeddings[from:to]); err != nil {
			return fmt.Errorf("image %d: %w", id, err)
		}
	}
	return g.insertAll(g.appendNodes(ids, prepared))
}

// Skip leaves the next n slots empty, so that slots stay equal to ids where n ids were never added.
func (g *Graph) Skip(n int) error {
	if n < 0 || len(g.ids)+n > maxSlots {
		return fmt.Errorf("graph of %d slots: no room for %d more", len(g.ids), n)
	}
	for range n {
		g.newSlot(empty, 0)
	}
	return nil
}

// appendNodes stores nodes without links and returns their slots. The graph does not lead to them yet.
func (g *Graph) appendNodes(ids []dataset.ID, embeddings []float32) (slots []uint32) {
	g.slotOf(0) // makes the map of slots while it agrees with g.ids
	for i, id := range ids {
		slot := uint32(len(g.ids))
		g.newSlot(id, g.levelOf(slot))
		g.vectors.write(slot)
		copy(g.vectors.row(slot), embeddings[i*g.dim:(i+1)*g.dim])
		g.slots[id] = slot
		slots = append(slots, slot)
	}
	return slots
}

func (g *Graph) newSlot(id dataset.ID, level uint8) {
	slot := uint32(len(g.ids))
	g.ids = append(g.ids, id)
	g.levels = append(g.levels, level)
	var upper []uint32
	if level > 0 {
		upper = make([]uint32, int(level)*(1+g.options.M))
	}
	g.upper = append(g.upper, upper)
	g.nodes.mark(slot)
	g.vectors.grow(len(g.ids))
	g.links.grow(len(g.ids))
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
	for len(slots) > 0 {
		n := g.batchLen(slots)
		if err := g.insert(slots[:n]); err != nil {
			return err
		}
		slots = slots[n:]
	}
	return nil
}

// batchLen returns how many of the slots make the next batch. A node above the top level is a batch by itself.
func (g *Graph) batchLen(slots []uint32) int {
	n := min(len(slots), largestBatch, max(1, g.live/batchShare))
	for i, slot := range slots[:n] {
		if g.entry == noSlot || int(g.levels[slot]) > g.top {
			return max(i, 1)
		}
	}
	return n
}

// link is a wish of node from to be linked to by node to.
type link struct {
	to    uint32
	level int
	back  candidate // from, at its distance from to
}

// insert links one batch of nodes into the graph.
func (g *Graph) insert(batch []uint32) error {
	if g.entry == noSlot {
		g.entry, g.top, g.live = batch[0], int(g.levels[batch[0]]), 1
		return nil
	}
	wishes := make([][]link, len(batch))
	errs := make([]error, len(batch))
	chosen := make([][][]uint32, len(batch))
	kernel.Parallel(g.options.Threads, len(batch), func(i int) {
		chosen[i], wishes[i], errs[i] = g.choose(batch[:i], batch[i])
	})
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for i, levels := range chosen {
		for level, links := range levels {
			g.setNeighbors(batch[i], level, links)
		}
	}
	g.linkBack(slices.Concat(wishes...))
	for _, slot := range batch {
		if int(g.levels[slot]) > g.top {
			g.entry, g.top = slot, int(g.levels[slot])
		}
	}
	g.live += len(batch)
	return nil
}

// choose finds the links of a new node on each of its levels, among the graph and the nodes of its batch before it.
func (g *Graph) choose(before []uint32, slot uint32) (chosen [][]uint32, wishes []link, err error) {
	s := g.searcher()
	defer g.searchers.Put(s)
	q := g.vector(slot)
	own := int(g.levels[slot])
	at, err := g.descend(s, q, min(own, g.top))
	if err != nil {
		return nil, nil, err
	}
	chosen = make([][]uint32, own+1)
	for level := min(own, g.top); level >= 0; level-- {
		ef := min(g.options.EfConstruction, g.live)
		if err := g.searchLevel(s, q, at, level, ef); err != nil {
			return nil, nil, err
		}
		at = s.pool[0]
		for _, other := range before {
			if int(g.levels[other]) >= level {
				s.insert(candidate{kernel.SquaredL2(q, g.vector(other)), other}, g.options.EfConstruction)
			}
		}
		links := g.diverse(s.pool, g.options.M, nil)
		chosen[level] = links
		for _, other := range links {
			d := s.distanceOf(other)
			wishes = append(wishes, link{to: other, level: level, back: candidate{d, slot}})
		}
	}
	return chosen, wishes, nil
}

// distanceOf returns the distance of a slot that is in the pool.
func (s *searcher) distanceOf(slot uint32) float32 {
	for _, c := range s.pool {
		if c.slot == slot {
			return c.distance
		}
	}
	panic("hnsw: a chosen link was not a candidate")
}

// linkBack adds links to the nodes that new nodes chose. A node whose list is full chooses anew among its links and the
// new ones.
func (g *Graph) linkBack(wishes []link) {
	// Stable, so that the wishes for one list stay in the order of insertion.
	slices.SortStableFunc(wishes, func(a, b link) int {
		if a.to != b.to {
			return int(int64(a.to) - int64(b.to))
		}
		return a.level - b.level
	})
	var groups [][]link
	for start := 0; start < len(wishes); {
		end := start + 1
		for end < len(wishes) && wishes[end].to == wishes[start].to && wishes[end].level == wishes[start].level {
			end++
		}
		groups = append(groups, wishes[start:end])
		start = end
	}
	changed := make([][]uint32, len(groups))
	kernel.Parallel(g.options.Threads, len(groups), func(i int) { changed[i] = g.withLinks(groups[i]) })
	for i, group := range groups {
		g.setNeighbors(group[0].to, group[0].level, changed[i])
	}
}

// withLinks returns the links of a node after those in group, all for one list, were added.
func (g *Graph) withLinks(group []link) []uint32 {
	to, level := group[0].to, group[0].level
	old := g.neighbors(to, level)
	if len(old)+len(group) <= g.capacity(level) {
		links := slices.Clone(old)
		for _, l := range group {
			links = append(links, l.back.slot)
		}
		return links
	}
	v := g.vector(to)
	candidates := make([]candidate, 0, len(old)+len(group))
	for _, slot := range old {
		candidates = append(candidates, candidate{kernel.SquaredL2(v, g.vector(slot)), slot})
	}
	for _, l := range group {
		candidates = append(candidates, l.back)
	}
	slices.SortFunc(candidates, compareCandidates)
	return g.diverse(candidates, g.capacity(level), make([]uint32, 0, g.capacity(level)))
}

func compareCandidates(a, b candidate) int {
	switch {
	case closer(a, b):
		return -1
	case closer(b, a):
		return 1
	}
	return 0
}
