package indextest

import (
	"math"
	"math/rand/v2"

	"imgsearch/dataset"
)

// Clustered returns n embeddings of dim values, [n, dim] float32, drawn around centres, as learned embeddings lie. The
// centres depend on their number and dim only, so that another seed draws a query set for the same gallery.
func Clustered(seed uint64, n, dim, centres int) []float32 {
	rng := rand.New(rand.NewPCG(uint64(dim), uint64(centres)))
	centre := make([]float32, centres*dim)
	for i := range centre {
		centre[i] = float32(rng.NormFloat64())
	}
	rng = rand.New(rand.NewPCG(seed, 1))
	out := make([]float32, n*dim)
	for i := range n {
		c := rng.IntN(centres)
		for j := range dim {
			out[i*dim+j] = centre[c*dim+j] + 0.5*float32(rng.NormFloat64())
		}
	}
	return out
}

// IDs returns the ids from, from+1, ... from+n-1.
func IDs(from, n int) []dataset.ID {
	ids := make([]dataset.ID, n)
	for i := range ids {
		ids[i] = dataset.ID(from + i)
	}
	return ids
}

func finite(v float32) bool { return !math.IsNaN(float64(v)) && !math.IsInf(float64(v), 0) }
