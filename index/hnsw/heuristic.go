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

// chooser is the scratch memory of choosing links.
type chooser struct {
	rows       []*float32
	distances  []float32
	candidates []candidate
	links      []candidate
	later      []candidate
	slots      []uint32
}

// choose returns which of the candidates, which are sorted by distance, become the links of one node, at most m: the
// paper's algorithm 4 without its extensions, twice (see strict). Links lead in different directions that way. Those for
// which must is true are taken in any case. The result is valid until the next call.
func (g *Graph) choose(c *chooser, candidates []candidate, m int, must func(slot uint32) bool) []candidate {
	if cap(c.rows) < m {
		c.rows, c.distances, c.links = make([]*float32, m), make([]float32, 4), make([]candidate, 0, m)
	}
	rows, links := c.rows[:m], c.links[:0]
	c.later = c.later[:0]
	reserved := 0
	if must != nil {
		for _, x := range candidates {
			if must(x.slot) {
				reserved++
			}
		}
	}
	for _, x := range candidates {
		if must != nil && must(x.slot) {
			reserved--
		} else if len(links)+reserved >= m {
			continue
		} else if d, ok := g.inTheWay(c, x, rows[:len(links)], strict); ok {
			if loose*d > x.distance {
				c.later = append(c.later, x)
			}
			continue
		}
		rows[len(links)] = g.vectors.pointer(x.slot)
		if links = append(links, x); len(links) == m {
			return links
		}
	}
	for _, x := range c.later {
		if _, ok := g.inTheWay(c, x, rows[:len(links)], loose); !ok {
			rows[len(links)] = g.vectors.pointer(x.slot)
			if links = append(links, x); len(links) == m {
				break
			}
		}
	}
	return links
}

// inTheWay reports whether one of the rows is, times factor, not farther from a candidate than the node that it is a
// candidate for, and returns the smallest distance it saw then.
func (g *Graph) inTheWay(c *chooser, x candidate, rows []*float32, factor float32) (smallest float32, ok bool) {
	v := g.vector(x.slot)
	for len(rows) > 0 {
		n := min(4, len(rows))
		distances := c.distances[:n]
		kernel.SquaredL2Each(v, rows[:n], distances)
		smallest = slices.Min(distances)
		if factor*smallest <= x.distance {
			return smallest, true
		}
		rows = rows[n:]
	}
	return 0, false
}

// measured returns the given nodes as candidates of a node. The result is valid until the next call.
func (g *Graph) measured(c *chooser, of uint32, slots []uint32) []candidate {
	v := g.vector(of)
	c.candidates = c.candidates[:0]
	var rows [8]*float32
	var distances [8]float32
	for group := range slices.Chunk(slots, len(rows)) {
		for i, slot := range group {
			rows[i] = g.vectors.pointer(slot)
		}
		kernel.SquaredL2Each(v, rows[:len(group)], distances[:len(group)])
		for i, slot := range group {
			c.candidates = append(c.candidates, candidate{distances[i], slot})
		}
	}
	return c.candidates
}

func compareCandidates(a, b candidate) int {
	switch {
	case a.distance < b.distance || a.distance == b.distance && a.slot < b.slot:
		return -1
	case a == b:
		return 0
	}
	return 1
}
