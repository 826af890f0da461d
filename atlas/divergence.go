package atlas

import (
	"fmt"
	"math"

	"imgsearch/dataset"
	"imgsearch/index"
	"imgsearch/internal/kernel"
)

// Divergence is what [TSNE] makes smaller, of any map: the Kullback-Leibler divergence of positions, [n, 2] float32, from
// the neighbours, in nats, by its definition, over all pairs of points: the time grows with the square of their number.
// Metric, Perplexity and Threads of the options count. Neighbours are those of TSNE.
func Divergence(ids []dataset.ID, neighbors [][]index.Neighbor, positions []float32, options MapOptions) (float64, error) {
	n := len(ids)
	o, err := options.withDefaults(n)
	if err != nil {
		return 0, err
	}
	if len(neighbors) != n || len(positions) != 2*n {
		return 0, fmt.Errorf("%w: %d lists and %d values for %d points", ErrNeighbors, len(neighbors), len(positions), n)
	}
	p, err := newAffinities(ids, neighbors, o.Metric, o.Perplexity, o.Threads)
	if err != nil {
		return 0, err
	}
	x, y, mass := make([]float32, n), make([]float32, n), make([]float32, n)
	for i := range n {
		x[i], y[i], mass[i] = positions[2*i], positions[2*i+1], 1
	}
	sums, parts := make([]float64, n), make([]float64, n)
	const block = 1024 // so that float32 sums stay short
	kernel.Parallel(o.Threads, n, func(i int) {
		for from := 0; from < n; from += block {
			to := min(from+block, n)
			_, _, sum := kernel.Repel(x[from:to], y[from:to], mass[from:to], x[i], y[i])
			sums[i] += float64(sum)
		}
		for e := p.rows[i]; e < p.rows[i+1]; e++ {
			j := p.at[e]
			dx, dy := float64(x[i])-float64(x[j]), float64(y[i])-float64(y[j])
			parts[i] += float64(p.values[e]) * math.Log1p(dx*dx+dy*dy)
		}
	})
	sum, total := -float64(n), p.entropy // without each point's own
	for i := range n {
		sum += sums[i]
		total += parts[i]
	}
	return total + math.Log(max(sum, math.SmallestNonzeroFloat64)), nil
}
