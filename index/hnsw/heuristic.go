package hnsw

import "imgsearch/internal/kernel"

// diverse chooses at most m of the candidates, which are sorted by distance, as links of one node: the paper's algorithm
// 4 without its extensions. A candidate is taken when it is closer to the node than to every one taken before, so that
// links lead in different directions.
//
// The paper breaks down where embeddings are equal: they link to each other only and cut the graph in pieces. Here ties
// are dropped as well, so that a node links to at most one that equals it, and that one stands in no other's way
// (docs/index.md has the figures).
func (g *Graph) diverse(candidates []candidate, m int, chosen []uint32) []uint32 {
	chosen = chosen[:0]
	apart := 0 // 1 once an equal embedding was taken, which then is the first
	for _, c := range candidates {
		if len(chosen) == m {
			break
		}
		v := g.vector(c.slot)
		keep := true
		compare := chosen
		if c.distance > 0 {
			compare = chosen[apart:]
		}
		for _, other := range compare {
			if kernel.SquaredL2(v, g.vector(other)) <= c.distance {
				keep = false
				break
			}
		}
		if keep {
			chosen = append(chosen, c.slot)
			if c.distance == 0 {
				apart = 1
			}
		}
	}
	return chosen
}
