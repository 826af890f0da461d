package hnsw

import (
	"math"

	"imgsearch/index"
	"imgsearch/internal/kernel"
)

// Under the inner product the nearest of an embedding may lie far away, and algorithm 4 means nothing. So each embedding x
// gets one more value, its height sqrt(R - |x|^2), R being at least the largest |x|^2: all then have the same length, and the
// squared distance of x to a query q of height 0 is |q|^2 + R - 2 <q, x>, in the order of the inner products (Bachrach et al.
// 2014, "Speeding up the Xbox recommender system using a Euclidean transformation for inner-product spaces"). Heights are
// made from the embeddings, not stored; R is.

// reachFactor is by how much R is larger than it must be when it grows, so that it seldom does.
const reachFactor = 1.1

// updateHeights makes heights for the slots from on, or for all where R grows.
func (g *Graph) updateHeights(from int) {
	if g.metric != index.InnerProduct {
		return
	}
	largest := float32(0)
	for slot := from; slot < len(g.ids); slot++ {
		v := g.vector(uint32(slot))
		largest = max(largest, kernel.Dot(v, v))
	}
	if largest > g.reach {
		g.reach, from = min(largest*reachFactor, math.MaxFloat32), 0
	}
	g.heights = append(g.heights, make([]float32, len(g.ids)-len(g.heights))...)
	for slot := from; slot < len(g.ids); slot++ {
		v := g.vector(uint32(slot))
		g.heights[slot] = float32(math.Sqrt(math.Max(0, float64(g.reach)-float64(kernel.Dot(v, v)))))
	}
}

// lift adds to squared distances from an embedding of the given height what the heights of the slots make of them.
func (g *Graph) lift(height float32, slots []uint32, distances []float32) {
	if g.heights == nil {
		return
	}
	for i, slot := range slots {
		d := height - g.heights[slot]
		distances[i] += d * d
	}
}

// between is the squared distance of two nodes, heights included.
func (g *Graph) between(a, b uint32) float32 {
	d := kernel.SquaredL2(g.vector(a), g.vector(b))
	if g.heights != nil {
		h := g.heights[a] - g.heights[b]
		d += h * h
	}
	return d
}
