package patches

import (
	"context"
	"fmt"
	"math"
	"slices"

	"imgsearch/internal/kernel"
)

// Compact maps features to their principal components.
type Compact struct {
	mean       []float32 // [from]
	components []float32 // [dim, from]
	variances  []float64 // [dim]
	from, dim  int
}

// compactRows bounds the features that components are fitted on, spread evenly.
const compactRows = 10_000

// FitCompact finds the dim principal components of features, [n, from], n > dim.
func FitCompact(ctx context.Context, features []float32, from, dim int, seed uint64, threads int) (*Compact, error) {
	n := len(features) / from
	if dim < 1 || dim > min(n-1, from) {
		return nil, fmt.Errorf("%w: %d components of %d features of %d values", ErrOption, dim, n, from)
	}
	used := min(n, compactRows)
	rows := make([]float32, used*from)
	for i := range used {
		copy(rows[i*from:][:from], features[i*n/used*from:])
	}
	c := &Compact{mean: columnMeans(rows, from), from: from, dim: dim}
	subtractRow(rows, c.mean)
	var product []float32
	vectors, values, err := leading(ctx, from, dim, seed, threads, func(x, out []float32) {
		width := len(x) / from
		if product == nil {
			product = make([]float32, width*used)
		}
		kernel.GemmParallel(threads, false, true, width, used, from, 1, x, from, rows, from, 0, product, used)
		kernel.GemmParallel(threads, false, false, width, from, used, 1/float32(used), product, used, rows, from, 0, out, from)
	}, func(int, int) {})
	if err != nil {
		return nil, fmt.Errorf("principal components of features: %w", err)
	}
	c.components, c.variances = vectors, values
	return c, nil
}

// Project returns the components of features, [n, dim], each divided by its standard deviation to the power whiten: 0
// leaves it, 0.5 whitens half way, 1 altogether.
func (c *Compact) Project(features []float32, whiten float64, threads int) []float32 {
	n := len(features) / c.from
	scaled := slices.Clone(c.components)
	for i, v := range c.variances {
		if v > 0 {
			kernel.Scale(float32(math.Pow(v, -whiten/2)), scaled[i*c.from:][:c.from])
		}
	}
	out := make([]float32, n*c.dim)
	kernel.GemmParallel(threads, false, true, n, c.dim, c.from, 1, features, c.from, scaled, c.from, 0, out, c.dim)
	offset := make([]float32, c.dim)
	kernel.Gemm(false, true, 1, c.dim, c.from, 1, c.mean, c.from, scaled, c.from, 0, offset, c.dim)
	subtractRow(out, offset)
	return out
}
