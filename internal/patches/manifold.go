package patches

import (
	"context"
	"math"

	"imgsearch/internal/kernel"
)

// manifold maps codes to a few values: p -> codes * atoms - offset.
type manifold struct {
	atoms  []float32 // [atoms, components]
	offset []float32 // [components]
	dim    int
	values []float64 // the share of a component's variance that lies between contexts
}

// statistics are what is known of the codes of many patches.
type statistics struct {
	n       int       // atoms
	within  []float32 // [n, n], upper triangle: sum over patches of code x code
	between []float32 // [n, n]: sum over windows of mean code x mean code
	mean    []float64 // sum of the codes of patches
	centre  []float64 // sum of the means of windows
	patches int
	windows int
}

// imagesAtOnce images are coded before their statistics are added up. The order of summation depends on it.
const imagesAtOnce = 128

// gather adds up the statistics of all images.
func gather(ctx context.Context, c *coder, images Images, context int, threads int, progress func(done, total int)) (*statistics, error) {
	n := c.dictionary.n
	windows := c.windows(context)
	s := &statistics{n: n, within: make([]float32, n*n), between: make([]float32, n*n), mean: make([]float64, n), centre: make([]float64, n)}
	scratch := make([]*codingScratch, kernel.Threads(threads))
	coded := make([]codes, imagesAtOnce)
	means := make([]float32, imagesAtOnce*len(windows)*n)
	for from := 0; from < images.Len(); from += imagesAtOnce {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		batch := min(imagesAtOnce, images.Len()-from)
		kernel.ParallelPieces(threads, batch, 1, func(worker, lo, hi int) {
			if scratch[worker] == nil {
				scratch[worker] = c.newScratch()
			}
			for i := lo; i < hi; i++ {
				found := c.sparse(images.image(from+i), false, scratch[worker])
				to := &coded[i]
				to.start = append(to.start[:0], found.start...)
				to.atoms = append(to.atoms[:0], found.atoms...)
				to.values = append(to.values[:0], found.values...)
				for w, window := range windows {
					meanCode(found, window, means[(i*len(windows)+w)*n:][:n])
				}
			}
		})
		s.addPatches(coded[:batch], threads)
		rows := means[:batch*len(windows)*n]
		kernel.GemmParallel(threads, true, false, n, n, len(rows)/n, 1, rows, n, rows, n, 1, s.between, n)
		addColumns(s.centre, rows)
		s.windows += len(rows) / n
		progress(min(from+imagesAtOnce, images.Len()), images.Len())
	}
	return s, nil
}

// windows lists the patches of each context: windows of so many patches each way, half of that apart.
func (l lattice) windows(size int) [][]int32 {
	var out [][]int32
	step := max(1, size/2)
	starts := []int{}
	for at := 0; at+size < l.across; at += step {
		starts = append(starts, at)
	}
	starts = append(starts, l.across-size)
	for _, top := range starts {
		for _, left := range starts {
			var window []int32
			for y := range size {
				for x := range size {
					window = append(window, int32((top+y)*l.across+left+x))
				}
			}
			out = append(out, window)
		}
	}
	return out
}

// meanCode writes the mean code of some patches to out.
func meanCode(c *codes, patches []int32, out []float32) {
	clear(out)
	for _, p := range patches {
		for i := c.start[p]; i < c.start[p+1]; i++ {
			out[c.atoms[i]] += c.values[i]
		}
	}
	kernel.Scale(1/float32(len(patches)), out)
}

// addPatches adds the codes of patches to within and mean. Each atom has a row, which one thread fills.
func (s *statistics) addPatches(coded []codes, threads int) {
	var keys []int32
	for i := range coded {
		keys = append(keys, coded[i].atoms...)
		s.patches += len(coded[i].start) - 1
	}
	start, members := groupBy(keys, s.n)
	// ends[e] is where the code of entry e's patch ends.
	ends := make([]int32, len(keys))
	values := make([]float32, 0, len(keys))
	for i := range coded {
		base := int32(len(values))
		for p := range len(coded[i].start) - 1 {
			for e := coded[i].start[p]; e < coded[i].start[p+1]; e++ {
				ends[base+e] = base + coded[i].start[p+1]
			}
		}
		values = append(values, coded[i].values...)
	}
	kernel.Parallel(threads, s.n, func(atom int) {
		row := s.within[atom*s.n:][:s.n]
		sum := 0.0
		for _, e := range members[start[atom]:start[atom+1]] {
			v := values[e]
			sum += float64(v)
			others := values[e:ends[e]]
			for j, other := range keys[e:ends[e]] {
				row[other] += v * others[j]
			}
		}
		s.mean[atom] += sum
	})
}

func addColumns(sum []float64, rows []float32) {
	for ; len(rows) > 0; rows = rows[len(sum):] {
		for i, v := range rows[:len(sum)] {
			sum[i] += float64(v)
		}
	}
}

// solve finds the components: directions p of greatest variance between windows, p' between p, whose values have
// variance one over all patches and are not correlated, p' (within + ridge) p = 1. It is equation 3 of arXiv 2209.15261
// with "vary little inside a context" said as "vary much between contexts". It uses up the statistics.
func (s *statistics) solve(ctx context.Context, components int, ridge float64, seed uint64, threads int, progress func(done, total int)) (*manifold, error) {
	n := s.n
	trace := 0.0
	mean := make([]float32, n)
	for i := range n {
		mean[i] = float32(s.mean[i] / float64(s.patches))
	}
	kernel.Parallel(threads, n, func(i int) {
		mi, ci := s.mean[i]/float64(s.patches), s.centre[i]/float64(s.windows)
		for j := range n {
			s.between[i*n+j] = float32(float64(s.between[i*n+j])/float64(s.windows) - ci*s.centre[j]/float64(s.windows))
			if j >= i {
				s.within[i*n+j] = float32(float64(s.within[i*n+j])/float64(s.patches) - mi*s.mean[j]/float64(s.patches))
			}
		}
	})
	for i := range n {
		trace += float64(s.within[i*n+i])
	}
	kernel.Parallel(threads, n, func(i int) {
		for j := range i {
			s.within[i*n+j] = s.within[j*n+i]
		}
	})
	for i := range n {
		s.within[i*n+i] += float32(ridge*trace/float64(n)) + 1e-12
	}
	w, err := inverseCholesky(s.within, n, threads)
	if err != nil {
		return nil, err
	}
	// within is free now; the operator is w between w'.
	half := s.within
	kernel.GemmParallel(threads, false, false, n, n, n, 1, w, n, s.between, n, 0, half, n)
	operator := s.between
	kernel.GemmParallel(threads, false, true, n, n, n, 1, half, n, w, n, 0, operator, n)
	vectors, values, err := leading(ctx, n, components, seed, threads, func(x, out []float32) {
		kernel.GemmParallel(threads, false, false, len(x)/n, n, n, 1, x, n, operator, n, 0, out, n)
	}, progress)
	if err != nil {
		return nil, err
	}
	m := &manifold{atoms: make([]float32, n*components), offset: make([]float32, components), dim: components, values: values}
	kernel.GemmParallel(threads, true, true, n, components, n, 1, w, n, vectors, n, 0, m.atoms, components)
	kernel.Gemm(false, false, 1, components, n, 1, mean, n, m.atoms, components, 0, m.offset, components)
	for _, v := range m.atoms {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return nil, errEigen
		}
	}
	return m, nil
}

// embed writes the place of a code, scaled to length one, to out.
func (m *manifold) embed(c *codes, patch int, out []float32) {
	clear(out)
	kernel.Axpy(-1, m.offset, out)
	for i := c.start[patch]; i < c.start[patch+1]; i++ {
		kernel.Axpy(c.values[i], m.atoms[int(c.atoms[i])*m.dim:][:m.dim], out)
	}
	unit(out)
}
