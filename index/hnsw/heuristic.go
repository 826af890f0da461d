package hnsw

import (
	"slices"

	"imgsearch/internal/kernel"
)

// A candidate is taken when its squared distance to every link taken before, times strict, is larger than that to the
// node itself: algorithm 4 has 1 here. What is left of the room goes to candidates that pass with loose instead, as in
// DiskANN's RobustPrune (Subramanya et al. 2019), so that nodes at the edge keep enough links; docs/index.md has the
// figures behind the values.
//
// Factors above 1 also settle what breaks the paper's rule where embeddings are equal: they are each other's closest link,
// stand in all others' way, and so link to nothing else and cut the graph in pieces. Here an equal embedding is never
// taken twice, and the one that is taken stands in no other candidate's way.
const (
	strict = 1.1
	loose  = 1.4
)

// chooser is the scratch memory of choosing links. Its candidates are words as in a searcher's pool.
type chooser struct {
	rows       []*float32
	taken      []uint32 // the slots of rows
	distances  [8]float32
	candidates []uint64
	links      []uint64
	later      []uint64
	slots      []uint32
	queue      []uint32
}

// choose returns which of the candidates, which are sorted by distance, become links of one node, beside those that are
// kept in any case, at most m with them: the paper's algorithm 4 without its extensions, twice (see strict). Links lead in
// different directions that way. Candidates for which must is true are taken in any case. The result is valid until the
// next call.
func (g *Graph) choose(c *chooser, kept []uint32, candidates []uint64, m int, must func(slot uint32) bool) []uint64 {
	if cap(c.rows) < m {
		c.rows, c.links, c.taken = make([]*float32, m), make([]uint64, 0, m), make([]uint32, m)
	}
	links := c.links[:0]
	c.rows, c.taken = c.rows[:0], c.taken[:0]
	for _, slot := range kept {
		c.take(g, slot)
	}
	c.later = c.later[:0]
	reserved := 0
	if must != nil {
		for _, word := range candidates {
			if must(slotOf(word)) {
				reserved++
			}
		}
	}
	for _, word := range candidates {
		if must != nil && must(slotOf(word)) {
			reserved--
		} else if len(c.rows)+reserved >= m {
			continue
		} else if d, ok := g.inTheWay(c, word, strict); ok {
			if loose*d > distanceOf(word) {
				c.later = append(c.later, word)
			}
			continue
		}
		c.take(g, slotOf(word))
		links = append(links, word)
	}
	for _, word := range c.later {
		if len(c.rows) >= m {
			break
		}
		if _, ok := g.inTheWay(c, word, loose); !ok {
			c.take(g, slotOf(word))
			links = append(links, word)
		}
	}
	return links
}

// take adds a node to those that later candidates are compared with.
func (c *chooser) take(g *Graph, slot uint32) {
	c.rows, c.taken = append(c.rows, g.vectors.pointer(slot)), append(c.taken, slot)
}

// inTheWay reports whether one of the nodes taken is, times factor, not farther from a candidate than the node that it is
// a candidate for, and returns the smallest distance it saw then.
func (g *Graph) inTheWay(c *chooser, word uint64, factor float32) (smallest float32, ok bool) {
	v, limit := g.vector(slotOf(word)), distanceOf(word)
	rows, slots := c.rows, c.taken
	height := float32(0)
	if g.heights != nil {
		height = g.heights[slotOf(word)]
	}
	for len(rows) > 0 {
		n := min(4, len(rows))
		distances := c.distances[:n]
		kernel.SquaredL2Each(v, rows[:n], distances)
		g.lift(height, slots[:n], distances)
		smallest = slices.Min(distances)
		if factor*smallest <= limit {
			return smallest, true
		}
		rows, slots = rows[n:], slots[n:]
	}
	return 0, false
}

// measured adds the given nodes to c's candidates, at their distances from a node.
func (g *Graph) measured(c *chooser, from uint32, slots []uint32) {
	p := g.probeOf(from)
	var rows [8]*float32
	for len(slots) > 0 {
		n := min(len(rows), len(slots))
		for i, slot := range slots[:n] {
			rows[i] = g.vectors.pointer(slot)
		}
		kernel.SquaredL2Each(p.embedding, rows[:n], c.distances[:n])
		g.lift(p.height, slots[:n], c.distances[:n])
		for i, slot := range slots[:n] {
			c.candidates = append(c.candidates, packed(c.distances[i], slot))
		}
		slots = slots[n:]
	}
}
