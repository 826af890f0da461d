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
		c.rows, c.links = make([]*float32, m), make([]uint64, 0, m)
	}
	rows, links := c.rows[:0], c.links[:0]
	for _, slot := range kept {
		rows = append(rows, g.vectors.pointer(slot))
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
		} else if len(rows)+reserved >= m {
			continue
		} else if d, ok := g.inTheWay(c, word, rows, strict); ok {
			if loose*d > distanceOf(word) {
				c.later = append(c.later, word)
			}
			continue
		}
		rows, links = append(rows, g.vectors.pointer(slotOf(word))), append(links, word)
	}
	for _, word := range c.later {
		if len(rows) >= m {
			break
		}
		if _, ok := g.inTheWay(c, word, rows, loose); !ok {
			rows, links = append(rows, g.vectors.pointer(slotOf(word))), append(links, word)
		}
	}
	return links
}

// inTheWay reports whether one of the rows is, times factor, not farther from a candidate than the node that it is a
// candidate for, and returns the smallest distance it saw then.
func (g *Graph) inTheWay(c *chooser, word uint64, rows []*float32, factor float32) (smallest float32, ok bool) {
	v, limit := g.vector(slotOf(word)), distanceOf(word)
	for len(rows) > 0 {
		n := min(4, len(rows))
		distances := c.distances[:n]
		kernel.SquaredL2Each(v, rows[:n], distances)
		smallest = slices.Min(distances)
		if factor*smallest <= limit {
			return smallest, true
		}
		rows = rows[n:]
	}
	return 0, false
}

// measured adds the given nodes to c's candidates, at their distances from a node.
func (g *Graph) measured(c *chooser, from uint32, slots []uint32) {
	v := g.vector(from)
	var rows [8]*float32
	for len(slots) > 0 {
		n := min(len(rows), len(slots))
		for i, slot := range slots[:n] {
			rows[i] = g.vectors.pointer(slot)
		}
		kernel.SquaredL2Each(v, rows[:n], c.distances[:n])
		for i, slot := range slots[:n] {
			c.candidates = append(c.candidates, packed(c.distances[i], slot))
		}
		slots = slots[n:]
	}
}
