package evaluation

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"imgsearch/internal/eigen"
	"imgsearch/internal/kernel"
)

// PCA are the principal components of a gallery's pixels.
type PCA struct {
	// Mean is the mean image, [PixelDim].
	Mean []float32
	// Components are the directions of greatest variance, [Dim, PixelDim], orthonormal, by falling variance. The signs
	// are such that the value of largest magnitude of each is positive.
	Components []float32
	// Variances are those of the pixels along the components.
	Variances []float64
}

// Dim is the number of components.
func (p *PCA) Dim() int { return len(p.Variances) }

// PCAOptions say how components are found.
type PCAOptions struct {
	// Dim is the number of components; default 64. Fewer come back where the images do not vary in so many directions.
	Dim int
	// MaxImages bounds the number of images that the components are fitted on, spread evenly over the gallery; default
	// 50,000. The time grows in proportion.
	MaxImages int
	// Seed draws the start of the iteration; the components depend on it only in their last digits.
	Seed uint64
	// Threads is the number of threads; default all cores.
	Threads int
}

// ErrConverge is returned by FitPCA where the components did not settle: their variances are too close to each other.
var ErrConverge = errors.New("principal components did not converge")

// FitPCA finds the principal components of images: the covariance by matrix products, then its leading eigenvectors by
// seeded subspace iteration with Rayleigh-Ritz steps (Halko, Martinsson & Tropp 2011, arXiv 0909.4061, algorithm 4.4).
func FitPCA(ctx context.Context, pixels *Pixels, o PCAOptions) (*PCA, error) {
	o.Dim = orDefault(o.Dim, 64)
	o.MaxImages = orDefault(o.MaxImages, 50_000)
	switch {
	case o.Dim < 1 || o.Dim > PixelDim:
		return nil, fmt.Errorf("%w: Dim is %d, 1 to %d is possible", ErrOption, o.Dim, PixelDim)
	case o.MaxImages < 2:
		return nil, fmt.Errorf("%w: MaxImages is %d, at least 2 are needed", ErrOption, o.MaxImages)
	case pixels.Len() < 2:
		return nil, fmt.Errorf("%w: principal components of %d images", ErrSet, pixels.Len())
	}
	source := pixelRows{pixels: pixels, threads: o.Threads}
	if n := pixels.Len(); n > o.MaxImages {
		source.positions = make([]int, o.MaxImages)
		for i := range source.positions {
			source.positions[i] = i * n / o.MaxImages
		}
	}
	source.center = mean(source)
	n, _ := source.size()
	covariance, err := covarianceOf(ctx, source, o.Threads)
	if err != nil {
		return nil, err
	}
	components, variances, err := leadingEigenvectors(ctx, covariance, PixelDim, min(o.Dim, n-1), o.Seed, o.Threads)
	if err != nil {
		return nil, err
	}
	// Directions without variance are rounding noise.
	for len(variances) > 1 && variances[len(variances)-1] <= 1e-7*variances[0] {
		variances = variances[:len(variances)-1]
	}
	return &PCA{source.center, components[:len(variances)*PixelDim], variances}, nil
}

// Project returns the images' coordinates along the components, [n, Dim] float32. With halfWhiten each is divided by
// the square root of its standard deviation, which evens out the components half way.
func (p *PCA) Project(pixels *Pixels, halfWhiten bool, threads int) []float32 {
	source := pixelRows{pixels: pixels, center: p.Mean, threads: threads}
	n, _ := source.size()
	dim := p.Dim()
	out := make([]float32, n*dim)
	scratch := make([]float32, min(n, galleryBlock)*PixelDim)
	for from := 0; from < n; from += galleryBlock {
		to := min(from+galleryBlock, n)
		block := source.block(from, to, scratch)
		kernel.GemmParallel(threads, false, true, to-from, dim, PixelDim, 1, block, PixelDim, p.Components, PixelDim, 0, out[from*dim:], dim)
	}
	if halfWhiten {
		scale := make([]float32, dim)
		for c, v := range p.Variances {
			if v > 0 {
				scale[c] = float32(math.Pow(v, -0.25))
			}
		}
		for i := range out {
			out[i] *= scale[i%dim]
		}
	}
	return out
}

// covarianceOf returns the covariance [dim, dim] of centred rows.
func covarianceOf(ctx context.Context, r rows, threads int) ([]float32, error) {
	n, dim := r.size()
	out := make([]float32, dim*dim)
	scratch := make([]float32, min(n, galleryBlock)*dim)
	for from := 0; from < n; from += galleryBlock {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		to := min(from+galleryBlock, n)
		block := r.block(from, to, scratch)
		kernel.GemmParallel(threads, true, false, dim, dim, to-from, 1, block, dim, block, dim, 1, out, dim)
	}
	kernel.Scale(1/float32(n), out)
	return out, nil
}

const (
	// eigenRounds bounds the rounds of subspace iteration.
	eigenRounds = 300
	// eigenTolerance is the residual |Av - lv| of an eigenvector at which it has converged, as a share of the largest
	// eigenvalue. Products of float32 leave about 1e-7.
	eigenTolerance = 2e-6
)

// leadingEigenvectors returns the k eigenvectors, [k, n] float32, of the symmetric positive semidefinite matrix a,
// [n, n], that have the largest eigenvalues, with these, falling.
func leadingEigenvectors(ctx context.Context, a []float32, n, k int, seed uint64, threads int) ([]float32, []float64, error) {
	// Vectors beyond k speed up the convergence of the last ones that count.
	width := min(n, 2*k+8)
	rng := rand.New(rand.NewPCG(seed, 0))
	v := make([]float32, width*n) // the basis, a row for each vector
	for i := range v {
		v[i] = float32(rng.NormFloat64())
	}
	orthonormalize(v, n, rng, threads)
	av := make([]float32, width*n)
	small := make([]float32, width*width)
	rotated := make([]float32, width*n)
	for range eigenRounds {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		kernel.GemmParallel(threads, false, false, width, n, n, 1, v, n, a, n, 0, av, n)
		kernel.GemmParallel(threads, false, true, width, width, n, 1, v, n, av, n, 0, small, width)
		values, rotation, err := symmetricEigen(small, width)
		if err != nil {
			return nil, nil, err
		}
		// Rows of rotated are the Ritz vectors; av follows them.
		kernel.GemmParallel(threads, false, false, width, n, width, 1, rotation, width, v, n, 0, rotated, n)
		v, rotated = rotated, v
		kernel.GemmParallel(threads, false, false, width, n, width, 1, rotation, width, av, n, 0, rotated, n)
		av, rotated = rotated, av
		if values[0] <= 0 || residual(v, av, values[:k], n) <= eigenTolerance*values[0] {
			out := slices.Clone(v[:k*n])
			eigen.FixSigns(out, n)
			return out, values[:k], nil
		}
		v, av = av, v
		orthonormalize(v, n, rng, threads)
	}
	return nil, nil, fmt.Errorf("%w in %d rounds", ErrConverge, eigenRounds)
}

// residual is the greatest |Av - lv| of the vectors v with products av and values l.
func residual(v, av []float32, values []float64, n int) float64 {
	worst := 0.0
	for i, l := range values {
		sum := 0.0
		x, ax := v[i*n:][:n], av[i*n:][:n]
		for j := range x {
			d := float64(ax[j]) - l*float64(x[j])
			sum += d * d
		}
		worst = max(worst, math.Sqrt(sum))
	}
	return worst
}

// symmetricEigen returns the eigenvalues of the symmetric [n, n] matrix a, falling, and its eigenvectors as rows.
func symmetricEigen(a []float32, n int) ([]float64, []float32, error) {
	wide := make([]float64, n*n)
	for i := range n {
		for j := range n {
			wide[i*n+j] = (float64(a[i*n+j]) + float64(a[j*n+i])) / 2
		}
	}
	values, vectors, err := eigen.Symmetric(wide, n)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: the small problem failed", ErrConverge)
	}
	rows := make([]float32, n*n)
	for i, x := range vectors {
		rows[i] = float32(x)
	}
	return values, rows, nil
}

// orthonormalize makes the rows of v, of length n, orthonormal: Gram-Schmidt with a second pass in float64. A row that
// the rows before it span is replaced by a random one.
func orthonormalize(v []float32, n int, rng *rand.Rand, threads int) {
	width := len(v) / n
	coefficients := make([]float64, width)
	wide := make([]float64, width*n)
	for i, x := range v {
		wide[i] = float64(x)
	}
	for i := range width {
		row := wide[i*n:][:n]
		for attempt := 0; ; attempt++ {
			before := lengthOf(row)
			for range 2 {
				kernel.Parallel(threads, i, func(j int) { coefficients[j] = dot64(row, wide[j*n:][:n]) })
				for j := range i {
					kernel.Axpy(-coefficients[j], wide[j*n:][:n], row)
				}
			}
			if length := lengthOf(row); length > 1e-9*before && length > 0 {
				kernel.Scale(1/length, row)
				break
			}
			for j := range row {
				row[j] = rng.NormFloat64()
			}
		}
	}
	for i, x := range wide {
		v[i] = float32(x)
	}
}

func dot64(a, b []float64) float64 {
	b = b[:len(a)]
	var s0, s1 float64
	i := 0
	for ; i+1 < len(a); i += 2 {
		s0 += a[i] * b[i]
		s1 += a[i+1] * b[i+1]
	}
	if i < len(a) {
		s0 += a[i] * b[i]
	}
	return s0 + s1
}

func lengthOf(x []float64) float64 { return math.Sqrt(dot64(x, x)) }
