package atlas

import (
	"fmt"
	"math"
	"math/rand/v2"

	"imgsearch/index"
	"imgsearch/internal/kernel"
)

// PrincipalStart returns positions to begin a map with, [n, 2] float32: the embeddings' coordinates along their first
// two principal components, scaled so that the first has a standard deviation of 1e-4 (Kobak & Berens 2019, "The art of
// using t-SNE for single-cell transcriptomics"). Embeddings is [n, dim]; for index.Cosine each is scaled to length one
// first. Embeddings that do not vary give random positions of that size.
//
// The components are found by seeded power iteration in float64; the result does not depend on threads.
func PrincipalStart(embeddings []float32, dim int, metric index.Metric, seed uint64, threads int) ([]float32, error) {
	if dim < 1 || len(embeddings)%dim != 0 {
		return nil, fmt.Errorf("%w: %d values are no embeddings of dim %d", ErrOption, len(embeddings), dim)
	}
	n := len(embeddings) / dim
	if n == 0 {
		return nil, fmt.Errorf("%w: a map of no points", ErrNothing)
	}
	centred := make([]float32, len(embeddings))
	copy(centred, embeddings)
	if metric == index.Cosine {
		kernel.Parallel(threads, n, func(i int) {
			row := centred[i*dim:][:dim]
			if length := math.Sqrt(float64(kernel.Dot(row, row))); length > 0 {
				kernel.Scale(float32(1/length), row)
			}
		})
	}
	mean := make([]float64, dim)
	for i, v := range centred {
		mean[i%dim] += float64(v)
	}
	shift := make([]float32, dim)
	for c, v := range mean {
		shift[c] = float32(v / float64(n))
	}
	kernel.Parallel(threads, n, func(i int) { kernel.Axpy(-1, shift, centred[i*dim:][:dim]) })
	covariance := make([]float32, dim*dim)
	kernel.GemmParallel(threads, true, false, dim, dim, n, 1/float32(n), centred, dim, centred, dim, 0, covariance, dim)

	rng := rand.New(rand.NewPCG(seed, 1))
	first, _ := leadingVector(covariance, dim, nil, rng)
	second, _ := leadingVector(covariance, dim, first, rng)
	out := make([]float32, 2*n)
	kernel.GemmParallel(threads, false, true, n, 1, dim, 1, centred, dim, first, dim, 0, out, 2)
	kernel.GemmParallel(threads, false, true, n, 1, dim, 1, centred, dim, second, dim, 0, out[1:], 2)
	variance := 0.0
	for i := 0; i < len(out); i += 2 {
		variance += float64(out[i]) * float64(out[i]) / float64(n)
	}
	const size = 1e-4
	if deviation := math.Sqrt(variance); deviation > 1e-12 {
		kernel.Scale(float32(size/deviation), out)
		// Equal embeddings must be able to part where their neighbours differ.
		for i := range out {
			out[i] += float32(size / 1000 * rng.NormFloat64())
		}
		return out, nil
	}
	for i := range out {
		out[i] = float32(size * rng.NormFloat64())
	}
	return out, nil
}

// leadingVector returns the eigenvector of the largest eigenvalue of a symmetric matrix, [n, n], among the vectors at
// right angles to the one given, with the eigenvalue. Its value of largest magnitude is positive.
func leadingVector(a []float32, n int, without []float32, rng *rand.Rand) ([]float32, float64) {
	v, av := make([]float64, n), make([]float64, n)
	for i := range v {
		v[i] = rng.NormFloat64()
	}
	value := 0.0
	settle := func(x []float64) float64 {
		if without != nil {
			dot := 0.0
			for i, w := range without {
				dot += x[i] * float64(w)
			}
			for i, w := range without {
				x[i] -= dot * float64(w)
			}
		}
		sum := 0.0
		for _, y := range x {
			sum += y * y
		}
		length := math.Sqrt(sum)
		if length > 0 {
			kernel.Scale(1/length, x)
		}
		return length
	}
	settle(v)
	for range 1000 {
		for i := range av {
			sum := 0.0
			for j, x := range a[i*n:][:n] {
				sum += float64(x) * v[j]
			}
			av[i] = sum
		}
		value = settle(av)
		if value == 0 {
			break
		}
		change := 0.0
		for i := range v {
			change += (av[i] - v[i]) * (av[i] - v[i])
		}
		v, av = av, v
		if change < 1e-14 {
			break
		}
	}
	out := make([]float32, n)
	largest := 0.0
	for _, x := range v {
		if math.Abs(x) > math.Abs(largest) {
			largest = x
		}
	}
	for i, x := range v {
		out[i] = float32(math.Copysign(1, largest) * x)
	}
	return out, value
}
