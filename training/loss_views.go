package training

import (
	"math"

	"imgsearch/internal/kernel"
)

// manyScorer computes the losses of more than two views of an image. Embeddings are [views*groups, dim]: view v of image g
// is row v*groups+g, the full-size views come first.
//
// Every view, full-size or crop, is an anchor. Its positives are the full-size views of its image other than itself, its
// negatives the full-size views of all other images. The loss of an anchor is the mean over its positives, each by
// itself against all negatives, of log(1 + sum over negatives n of exp(x(n) - x(p))), where x is cosine similarity
// ([LossNTXent]) or negative distance ([LossSmoothTriplet]), divided by the temperature: other positives are no part of
// the sum, they would be pushed away by it. The loss is the mean over all anchors, crops counting cropWeight. With two
// full-size views and no crops that is what those losses are otherwise.
type manyScorer[T kernel.Float] struct {
	options        LossOptions
	full, views    int // full-size views, and all with the crops
	groups, dim    int
	threads        int
	cropWeight     float64
	gradient       []T // [views*groups, dim]
	unit, unitGrad []T // [views*groups, dim]: embeddings of length 1
	scale          []T
	weights        []T   // [views*groups, full*groups]: the derivative of the loss by similarities, or that divided by distances
	rows           [][]T // [full*groups] distances, for each thread
	columns        []T   // [full*groups]
	each           []anchorScores
	gram, inverse  []T         // [dim, dim], emp
	coding         []float64   // [dim, dim], emp
	columnsOf      [][]float64 // [dim] for each thread, emp
}

func newManyScorer[T kernel.Float](o LossOptions, m MultiViewOptions, groups, dim, threads int) *manyScorer[T] {
	full := m.rows(o)
	s := &manyScorer[T]{
		options: o, full: full, views: full + m.Crops, groups: groups, dim: dim, threads: kernel.Threads(threads), cropWeight: m.CropWeight,
	}
	n, keys := s.views*groups, full*groups
	s.gradient, s.each, s.rows = make([]T, n*dim), make([]anchorScores, n), make([][]T, s.threads)
	for i := range s.rows {
		s.rows[i] = make([]T, keys)
	}
	if o.Loss != LossSmoothTriplet {
		s.unit, s.unitGrad, s.scale = make([]T, n*dim), make([]T, n*dim), make([]T, n)
	}
	if o.Loss == LossEMP {
		s.gram, s.inverse = make([]T, dim*dim), make([]T, dim*dim)
		s.coding, s.columnsOf = make([]float64, dim*dim), make([][]float64, s.threads)
		for i := range s.columnsOf {
			s.columnsOf[i] = make([]float64, dim)
		}
	} else {
		s.weights, s.columns = make([]T, n*keys), make([]T, keys)
	}
	return s
}

// score computes the loss of a batch, and its gradient into s.gradient.
func (s *manyScorer[T]) score(e []T) scores {
	switch s.options.Loss {
	case LossNTXent:
		return s.ntXent(e)
	case LossEMP:
		return s.emp(e)
	}
	return s.smoothTriplet(e)
}

// normalize sets unit to the embeddings at length 1.
func (s *manyScorer[T]) normalize(e []T) {
	kernel.Parallel(s.threads, len(s.scale), func(i int) {
		s.scale[i] = normalizeRow(s.unit[i*s.dim:][:s.dim], e[i*s.dim:][:s.dim])
	})
}

// unnormalize sets the gradient from that by unit.
func (s *manyScorer[T]) unnormalize() {
	kernel.Parallel(s.threads, len(s.scale), func(i int) {
		row := i * s.dim
		normalizeRowBackward(s.gradient[row:][:s.dim], s.unitGrad[row:][:s.dim], s.unit[row:][:s.dim], s.scale[i])
	})
}

func (s *manyScorer[T]) ntXent(e []T) scores {
	n, keys, dim := s.views*s.groups, s.full*s.groups, s.dim
	s.normalize(e)
	kernel.GemmParallel(s.threads, false, true, n, keys, dim, 1, s.unit, dim, s.unit, dim, 0, s.weights, keys)
	s.measure(s.unit, func(i int, _ []T) float64 {
		w := s.weights[i*keys:][:keys]
		return s.pairwise(w, w, i, 1/s.options.Temperature)
	})
	// Similarity (i, j) depends on both rows.
	kernel.GemmParallel(s.threads, false, false, n, dim, keys, 1, s.weights, keys, s.unit, dim, 0, s.unitGrad, dim)
	kernel.GemmParallel(s.threads, true, false, keys, dim, n, 1, s.weights, keys, s.unit, dim, 1, s.unitGrad, dim)
	s.unnormalize()
	return s.summary()
}

func (s *manyScorer[T]) smoothTriplet(e []T) scores {
	n, keys, dim := s.views*s.groups, s.full*s.groups, s.dim
	s.measure(e, func(i int, distances []T) float64 {
		w := s.weights[i*keys:][:keys]
		loss := s.pairwise(distances, w, i, -1/s.options.Temperature)
		kernel.Quotients(w, distances, 1)
		return loss
	})
	// The gradient of row i is the sum over j of weights[i, j] times (e_i - e_j), that of row j the same with the other
	// sign.
	kernel.GemmParallel(s.threads, false, false, n, dim, keys, -1, s.weights, keys, e, dim, 0, s.gradient, dim)
	kernel.GemmParallel(s.threads, true, false, keys, dim, n, -1, s.weights, keys, e, dim, 1, s.gradient, dim)
	clear(s.columns)
	for i := range n {
		kernel.Add(s.weights[i*keys:][:keys], s.columns)
	}
	kernel.Parallel(s.threads, n, func(i int) {
		sum := kernel.Sum(s.weights[i*keys:][:keys])
		if i < keys {
			sum += s.columns[i]
		}
		kernel.Axpy(sum, e[i*dim:][:dim], s.gradient[i*dim:][:dim])
	})
	return s.summary()
}

// measure calls score, which may be nil, with each anchor and its distances to all full-size views, and keeps what it
// returns and what the distances tell.
func (s *manyScorer[T]) measure(e []T, score func(i int, distances []T) float64) {
	keys := s.full * s.groups
	kernel.ParallelPieces(s.threads, len(s.each), 16, func(worker, from, to int) {
		for i := from; i < to; i++ {
			row := s.rows[worker]
			distancesTo(e[i*s.dim:][:s.dim], e[:keys*s.dim], s.dim, row)
			s.each[i] = s.observe(i, row)
			if score != nil {
				s.each[i].loss = score(i, row)
			}
		}
	})
}

// positives returns the number of positives of an anchor.
func (s *manyScorer[T]) positives(i int) int {
	if i < s.full*s.groups {
		return s.full - 1
	}
	return s.full
}

// observe returns what an anchor's distances tell, the loss apart.
func (s *manyScorer[T]) observe(i int, distances []T) anchorScores {
	var a anchorScores
	var positives [maxViews]T
	first := i % s.groups // the first full-size view of the anchor's image
	for v := range s.full {
		at := v*s.groups + first
		positives[v], distances[at] = distances[at], 0
	}
	a.negative = float64(kernel.Sum(distances))
	for v := range s.full {
		distances[v*s.groups+first] = T(math.Inf(1))
	}
	for v, d := range positives[:s.full] {
		if v*s.groups+first != i {
			a.positive += float64(d)
			a.active += kernel.CountBelow(distances, activeBound(d, s.options.Margin))
		}
	}
	for v, d := range positives[:s.full] {
		distances[v*s.groups+first] = d
	}
	return a
}

// pairwise returns the loss of an anchor, x being its similarities or distances to all full-size views and factor what
// they are multiplied by, and sets w, which may be x, to the derivative by them of what the anchor adds to the mean.
func (s *manyScorer[T]) pairwise(x, w []T, i int, factor float64) float64 {
	var positives [maxViews]T
	first, count := i%s.groups, float64(s.positives(i))
	nothing := T(math.Inf(-1)) // whose exponential function is 0
	if factor < 0 {
		nothing = -nothing
	}
	for v := range s.full {
		at := v*s.groups + first
		positives[v], x[at] = x[at], nothing
	}
	center, most, _ := kernel.RowRange(x, 0)
	if factor > 0 {
		center = most
	}
	total := kernel.ExpSum(w, x, center, T(factor))
	for v, d := range positives[:s.full] {
		x[v*s.groups+first] = d
	}
	share := s.share(i)
	var loss, pull float64
	var own [maxViews]float64
	for v, d := range positives[:s.full] {
		if v*s.groups+first == i {
			continue
		}
		// log(1 + total/exp(above)), of which pulled is the derivative by log(total).
		behind := math.Log(total) - (float64(d)-float64(center))*factor
		pulled := 1 / (1 + math.Exp(-behind))
		loss += max(behind, 0) + math.Log1p(math.Exp(-math.Abs(behind)))
		pull += pulled
		own[v] = -factor * pulled / count * share
	}
	kernel.Scale(T(factor*pull/(count*total)*share), w)
	for v := range s.full {
		w[v*s.groups+first] = T(own[v])
	}
	return loss / count
}

// share is what an anchor counts in the mean.
func (s *manyScorer[T]) share(i int) float64 {
	full := s.full * s.groups
	all := float64(full) + s.cropWeight*float64(len(s.each)-full)
	if i < full {
		return 1 / all
	}
	return s.cropWeight / all
}

// summary adds up what the anchors tell.
func (s *manyScorer[T]) summary() scores {
	var out scores
	active, positives := 0, 0
	for i, a := range s.each {
		out.loss += s.share(i) * a.loss
		out.positive += a.positive
		out.negative += a.negative
		active += a.active
		positives += s.positives(i)
	}
	negatives := float64(s.full * (s.groups - 1))
	out.positive /= float64(positives)
	out.negative /= float64(len(s.each)) * negatives
	out.active = float64(active) / (float64(positives) * negatives)
	return out
}
