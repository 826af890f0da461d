package patches

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"imgsearch/internal/kernel"
)

// Features turns images into features of their patches. It does not change after Fit; several goroutines may use it.
type Features struct {
	options  Options
	side     int
	coder    coder
	cells    []int
	lengths  []float32 // squared lengths of the atoms, for Triangle
	manifold *manifold // nil for the method Dictionary
	mean     []float32 // of the features of the images fitted on
	scale    []float32 // one over their standard deviations, for the method Dictionary
}

const (
	// whiteningPatches and patchesPerAtom bound the patches that the whitening and the dictionary are fitted on.
	whiteningPatches = 100_000
	patchesPerAtom   = 64
)

// Fit makes the dictionary, and for the method Manifold the components, from images. No label is used.
func Fit(ctx context.Context, images Images, o Options) (*Features, error) {
	if err := images.check(); err != nil {
		return nil, err
	}
	o, err := o.withDefaults(images.Side)
	if err != nil {
		return nil, err
	}
	images = images.spread(o.FitImages)
	if images.Len() < 2 {
		return nil, fmt.Errorf("%w: %d to fit on, at least 2 are needed", ErrImages, images.Len())
	}
	f := &Features{options: o, side: images.Side}
	f.coder = coder{
		lattice: newLattice(images.Side, o.PatchSide, o.Stride), coding: o.Coding, threshold: float32(o.Threshold),
	}
	rng := rand.New(rand.NewPCG(o.Seed, 0x7061746368))
	rows := f.draw(images, max(whiteningPatches, patchesPerAtom*o.Atoms), rng)
	dim := f.coder.dim
	f.coder.whitening, err = fitWhitening(rows[:min(len(rows), whiteningPatches*dim)], dim, o.Smoothing, o.Threads)
	if err != nil {
		return nil, fmt.Errorf("whitening of patches: %w", err)
	}
	rows = rows[:min(len(rows), patchesPerAtom*o.Atoms*dim)]
	whitened := make([]float32, len(rows))
	kernel.ParallelRanges(o.Threads, len(rows)/dim, func(_, from, to int) {
		f.coder.whitening.apply(rows[from*dim:to*dim], whitened[from*dim:to*dim])
		if o.Coding != Triangle {
			for r := from; r < to; r++ {
				unit(whitened[r*dim:][:dim])
			}
		}
	})
	f.coder.dictionary, err = fitDictionary(ctx, whitened, dim, o.Atoms, o.Rounds, o.Coding != Triangle, rng, o.Threads,
		func(done, total int) { o.OnProgress("dictionary of patches", done, total) })
	if err != nil {
		return nil, err
	}
	f.cells = f.coder.cells(o.Grid)
	switch {
	case o.Coding == Triangle:
		f.lengths = make([]float32, o.Atoms)
		for i := range f.lengths {
			atom := f.coder.dictionary.atoms[i*dim:][:dim]
			f.lengths[i] = kernel.Dot(atom, atom)
		}
	case o.Method == Manifold:
		s, err := gather(ctx, &f.coder, images, o.Context, o.Threads,
			func(done, total int) { o.OnProgress("statistics of patches", done, total) })
		if err != nil {
			return nil, err
		}
		f.manifold, err = s.solve(ctx, o.Components, o.Ridge, o.Seed, o.Threads,
			func(done, total int) { o.OnProgress("components of patches", done, total) })
		if err != nil {
			return nil, fmt.Errorf("components of patches: %w", err)
		}
	}
	sample, err := f.Extract(ctx, images.spread(meanImages))
	if err != nil {
		return nil, err
	}
	f.mean = columnMeans(sample, f.Dim())
	if o.Method == Dictionary {
		f.scale = inverseDeviations(sample, f.mean)
	}
	return f, nil
}

// inverseDeviations gives one over the standard deviation of each column, 0 where there is none.
func inverseDeviations(rows, mean []float32) []float32 {
	dim := len(mean)
	sum := make([]float64, dim)
	n := len(rows) / dim
	for ; len(rows) > 0; rows = rows[dim:] {
		for i, v := range rows[:dim] {
			d := float64(v - mean[i])
			sum[i] += d * d
		}
	}
	out := make([]float32, dim)
	for i, v := range sum {
		if v > 1e-12 {
			out[i] = float32(1 / math.Sqrt(v/float64(n)))
		}
	}
	return out
}

// meanImages bounds the images that the mean, and deviation, of features is taken from.
const meanImages = 1024

// spread returns at most n of the images, evenly over them.
func (m Images) spread(n int) Images {
	total := m.Len()
	if total <= n {
		return m
	}
	out := Images{make([]uint8, 0, n*3*m.Side*m.Side), m.Side}
	for i := range n {
		out.Pix = append(out.Pix, m.image(i*total/n)...)
	}
	return out
}

// draw cuts patches at random places of all images.
func (f *Features) draw(images Images, most int, rng *rand.Rand) []float32 {
	l := newLattice(images.Side, f.options.PatchSide, 1)
	n := min(most, images.Len()*l.patches())
	rows := make([]float32, n*l.dim)
	for i := range n {
		l.cutOne(images.image(i%images.Len()), rng.IntN(l.patches()), false, rows[i*l.dim:][:l.dim])
	}
	normalizeContrast(rows, l.dim)
	return rows
}

// Dim is the number of values of an image's features.
func (f *Features) Dim() int {
	cells := f.options.Grid * f.options.Grid
	if f.manifold != nil {
		return cells * f.manifold.dim
	}
	return cells * f.options.Atoms
}

// Extract returns the features of images, [n, Dim], less the mean of the images fitted on and, for the method
// Dictionary, over their standard deviation.
func (f *Features) Extract(ctx context.Context, images Images) ([]float32, error) {
	if err := images.check(); err != nil {
		return nil, err
	}
	if images.Side != f.side {
		return nil, fmt.Errorf("%w: side %d, fitted on %d", ErrImages, images.Side, f.side)
	}
	dim := f.Dim()
	out := make([]float32, images.Len()*dim)
	scratch := make([]*codingScratch, kernel.Threads(f.options.Threads))
	for from := 0; from < images.Len(); from += imagesAtOnce {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		batch := min(imagesAtOnce, images.Len()-from)
		kernel.ParallelPieces(f.options.Threads, batch, 1, func(worker, lo, hi int) {
			if scratch[worker] == nil {
				scratch[worker] = f.coder.newScratch()
			}
			for i := from + lo; i < from+hi; i++ {
				row := out[i*dim:][:dim]
				f.add(images.image(i), false, scratch[worker], row)
				if f.options.Mirror {
					f.add(images.image(i), true, scratch[worker], row)
				}
				if f.mean != nil {
					kernel.Axpy(-1, f.mean, row)
				}
				for j, v := range f.scale {
					row[j] *= v
				}
			}
		})
		f.options.OnProgress("features of patches", from+batch, images.Len())
	}
	return out, nil
}

// add adds the features of an image to out.
func (f *Features) add(image []uint8, mirror bool, s *codingScratch, out []float32) {
	if f.lengths != nil {
		n := f.options.Atoms
		found := f.coder.triangle(image, mirror, f.lengths, s)
		for p, cell := range f.cells {
			kernel.Add(found[p*n:][:n], out[cell*n:][:n])
		}
		return
	}
	found := f.coder.sparse(image, mirror, s)
	if f.manifold == nil {
		n := f.options.Atoms
		for p, cell := range f.cells {
			for e := found.start[p]; e < found.start[p+1]; e++ {
				out[cell*n+int(found.atoms[e])] += found.values[e]
			}
		}
		return
	}
	dim := f.manifold.dim
	place := make([]float32, dim)
	for p, cell := range f.cells {
		f.manifold.embed(found, p, place)
		kernel.Add(place, out[cell*dim:][:dim])
	}
}
