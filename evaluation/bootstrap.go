package evaluation

import (
	"math"
	"math/rand/v2"
	"slices"

	"imgsearch/internal/kernel"
)

// bootstrap returns the percentile interval (Efron 1979; Efron & Tibshirani 1993, chapter 13) of the mean of each
// measure: values is [n, measures], a row for each query. Resample r draws from a generator of its own, seeded by
// (seed, r), so that the result does not depend on threads.
func bootstrap(values []float32, measures int, o Options) []Interval {
	n := len(values) / measures
	means := make([][]float64, measures)
	for m := range means {
		means[m] = make([]float64, o.Resamples)
	}
	kernel.ParallelRanges(o.Threads, o.Resamples, func(_, from, to int) {
		sums := make([]float64, measures)
		for r := from; r < to; r++ {
			rng := rand.New(rand.NewPCG(o.Seed, uint64(r)))
			clear(sums)
			for range n {
				row := values[rng.IntN(n)*measures:][:measures]
				for m, v := range row {
					sums[m] += float64(v)
				}
			}
			for m, sum := range sums {
				means[m][r] = sum / float64(n)
			}
		}
	})
	out := make([]Interval, measures)
	for m := range out {
		slices.Sort(means[m])
		tail := (1 - o.Confidence) / 2
		out[m] = Interval{quantile(means[m], tail), quantile(means[m], 1-tail)}
	}
	return out
}

// quantile interpolates between the two nearest of the sorted values.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	low := int(math.Floor(at))
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (at-float64(low))*(sorted[high]-sorted[low])
}
