package training

import (
	"math"
	"slices"

	"imgsearch/internal/kernel"
)

// targetScorer computes the loss of queries against their targets, and its gradient. Queries come in halves of groups
// rows, one or two: those of a half are compared with each other's targets, never with those of the other half.
type targetScorer[T kernel.Float] struct {
	options              TargetOptions
	groups, queries, dim int
	threads              int
	gradient             []T // [queries, dim], of the last call of score

	keys      []T          // [queries, dim], of length 1: row i is the target of query i
	positives []T          // keys, or their neighbours
	queue     *keyQueue[T] // nil where there is none
	// fromGraph sets the keys from what the graph has made; nil where they are set beforehand.
	fromGraph func()

	unit, unitGrad []T // [queries, dim]: queries of length 1
	scale          []T
	scores         []T // [chunk, groups + queue]
	chunk          int // rows that are worked on at a time
	each           []anchorScores
}

// targetScores is about how many cosines are in memory at a time.
const targetScores = 1 << 22

func newTargetScorer[T kernel.Float](o TargetOptions, groups, dim, threads int) *targetScorer[T] {
	n := o.queries(groups)
	s := &targetScorer[T]{
		options: o, groups: groups, queries: n, dim: dim, threads: kernel.Threads(threads),
		gradient: make([]T, n*dim), keys: make([]T, n*dim), unit: make([]T, n*dim), unitGrad: make([]T, n*dim), scale: make([]T, n),
		each: make([]anchorScores, n),
	}
	s.positives = s.keys
	if o.Queue > 0 {
		s.queue = newKeyQueue[T](o.Queue, dim)
	}
	if o.Neighbour {
		s.positives = make([]T, n*dim)
	}
	s.chunk = min(groups, max(1, targetScores/(groups+o.Queue)))
	rows := s.chunk
	if o.Neighbour { // whose loss looks at columns too
		rows = max(groups, (s.chunk*(groups+o.Queue)+groups-1)/groups)
		s.scores = make([]T, rows*groups)
	} else {
		s.scores = make([]T, rows*(groups+o.Queue))
	}
	return s
}

// setKeys takes keys in the order of the queries.
func (s *targetScorer[T]) setKeys(keys []T) { s.normalize(s.keys, keys) }

// setKeysOfBoth takes what was made of both views: each is the other's target.
func (s *targetScorer[T]) setKeysOfBoth(keys []T) {
	half := s.groups * s.dim
	s.normalize(s.keys[:half], keys[half:])
	s.normalize(s.keys[half:], keys[:half])
}

func (s *targetScorer[T]) normalize(to, from []T) {
	n := len(to) / s.dim
	kernel.Parallel(l2Threads(s.threads, len(to)), n, func(i int) {
		normalizeRow(to[i*s.dim:][:s.dim], from[i*s.dim:][:s.dim])
	})
}

// enqueue adds the keys of one view to the queue.
func (s *targetScorer[T]) enqueue() {
	if s.queue != nil {
		s.queue.add(s.keys[:s.groups*s.dim])
	}
}

// score computes the loss of a batch's queries, and its gradient into s.gradient.
func (s *targetScorer[T]) score(queries []T) scores {
	if s.fromGraph != nil {
		s.fromGraph()
	}
	if s.options.Neighbour {
		s.findNeighbours()
	}
	kernel.Parallel(l2Threads(s.threads, len(queries)), s.queries, func(i int) {
		s.scale[i] = normalizeRow(s.unit[i*s.dim:][:s.dim], queries[i*s.dim:][:s.dim])
	})
	for from := 0; from < s.queries; from += s.groups {
		switch {
		case s.options.Loss == TargetCosine:
			s.cosine(from)
		case s.options.Neighbour:
			s.contrastNeighbours(from)
		default:
			s.contrast(from)
		}
	}
	kernel.Parallel(l2Threads(s.threads, len(queries)), s.queries, func(i int) {
		normalizeRowBackward(s.gradient[i*s.dim:][:s.dim], s.unitGrad[i*s.dim:][:s.dim], s.unit[i*s.dim:][:s.dim], s.scale[i])
	})
	return s.summary()
}

// findNeighbours sets positives to the queue's rows that are nearest to the keys, the first of equal ones. While the queue
// is empty they are the keys.
func (s *targetScorer[T]) findNeighbours() {
	held, dim := s.queue.rows(), s.dim
	copy(s.positives, s.keys)
	count := s.queue.count
	if count == 0 {
		return
	}
	chunk := min(s.queries, len(s.scores)/count)
	for from := 0; from < s.queries; from += chunk {
		n := min(chunk, s.queries-from)
		kernel.GemmParallel(s.threads, false, true, n, count, dim, 1, s.keys[from*dim:], dim, held, dim, 0, s.scores, count)
		kernel.Parallel(s.threads, n, func(i int) {
			row := s.scores[i*count:][:count]
			_, most, _ := kernel.RowRange(row, 0)
			if j := slices.Index(row, most); j >= 0 { // not where all are NaN
				copy(s.positives[(from+i)*dim:][:dim], held[j*dim:])
			}
		})
	}
}

// rows returns rows [from, from+n) of x.
func (s *targetScorer[T]) rows(x []T, from, n int) []T { return x[from*s.dim:][:n*s.dim] }

// cosine is TargetCosine for a half. The cosines with the other targets are there to be reported.
func (s *targetScorer[T]) cosine(first int) {
	g, dim := s.groups, s.dim
	positives := s.rows(s.positives, first, g)
	weight := T(-2 / float64(s.queries))
	for from := 0; from < g; from += s.chunk {
		n := min(s.chunk, g-from)
		kernel.GemmParallel(s.threads, false, true, n, g, dim, 1, s.rows(s.unit, first+from, n), dim, positives, dim, 0, s.scores, g)
		kernel.Parallel(s.threads, n, func(i int) {
			row := s.scores[i*g:][:g]
			a := observeCosines(row, from+i)
			a.loss = 2 - 2*float64(row[from+i])
			s.each[first+from+i] = a
			query := first + from + i
			for j, v := range s.rows(s.positives, query, 1) {
				s.unitGrad[query*dim+j] = weight * v
			}
		})
	}
}

// contrast is TargetInfoNCE for a half.
func (s *targetScorer[T]) contrast(first int) {
	g, dim, held := s.groups, s.dim, 0
	if s.queue != nil {
		held = s.queue.count
	}
	width := g + held
	keys := s.rows(s.keys, first, g)
	for from := 0; from < g; from += s.chunk {
		n := min(s.chunk, g-from)
		queries, gradient := s.rows(s.unit, first+from, n), s.rows(s.unitGrad, first+from, n)
		kernel.GemmParallel(s.threads, false, true, n, g, dim, 1, queries, dim, keys, dim, 0, s.scores, width)
		if held > 0 {
			kernel.GemmParallel(s.threads, false, true, n, held, dim, 1, queries, dim, s.queue.rows(), dim, 0, s.scores[g:], width)
		}
		kernel.Parallel(s.threads, n, func(i int) {
			row := s.scores[i*width:][:width]
			a := observeCosines(row[:g], from+i)
			a.loss = softmaxLoss(row, from+i, s.options.Temperature, 1/float64(s.queries))
			s.each[first+from+i] = a
		})
		kernel.GemmParallel(s.threads, false, false, n, dim, g, 1, s.scores, width, keys, dim, 0, gradient, dim)
		if held > 0 {
			kernel.GemmParallel(s.threads, false, false, n, dim, held, 1, s.scores[g:], width, s.queue.rows(), dim, 1, gradient, dim)
		}
	}
}

// contrastNeighbours is TargetInfoNCE with neighbours for a half: each neighbour's own query against the others.
func (s *targetScorer[T]) contrastNeighbours(first int) {
	g, dim := s.groups, s.dim
	positives := s.rows(s.positives, first, g)
	queries, gradient := s.rows(s.unit, first, g), s.rows(s.unitGrad, first, g)
	kernel.GemmParallel(s.threads, false, true, g, g, dim, 1, positives, dim, queries, dim, 0, s.scores, g)
	kernel.Parallel(s.threads, g, func(i int) {
		row := s.scores[i*g:][:g]
		a := observeCosines(row, i)
		a.loss = softmaxLoss(row, i, s.options.Temperature, 1/float64(s.queries))
		s.each[first+i] = a
	})
	kernel.GemmParallel(s.threads, true, false, g, dim, g, 1, s.scores, g, positives, dim, 0, gradient, dim)
}

// observeCosines returns what the cosines of rows of length 1 tell, the loss apart: distances, and how many are nearer
// than the positive one.
func observeCosines[T kernel.Float](x []T, positive int) anchorScores {
	length := func(cosine T) float64 { return math.Sqrt(max(2-2*float64(cosine), 0)) }
	a := anchorScores{positive: length(x[positive])}
	for j, v := range x {
		if j == positive {
			continue
		}
		a.negative += length(v)
		if v > x[positive] {
			a.active++
		}
	}
	return a
}

// softmaxLoss returns -log(exp(x_p/temperature) / sum of exp(x/temperature)), and sets x to scale times its derivative by
// them.
func softmaxLoss[T kernel.Float](x []T, positive int, temperature, scale float64) float64 {
	own := float64(x[positive])
	_, most, _ := kernel.RowRange(x, 0)
	total := kernel.ExpSum(x, x, most, T(1/temperature))
	kernel.Scale(T(scale/(total*temperature)), x)
	x[positive] -= T(scale / temperature)
	return math.Log(total) - (own-float64(most))/temperature
}

// summary takes means of what the queries tell.
func (s *targetScorer[T]) summary() scores {
	var out scores
	active := 0
	for _, a := range s.each {
		out.loss += a.loss
		out.positive += a.positive
		out.negative += a.negative
		active += a.active
	}
	n := float64(s.queries)
	out.loss /= n
	out.positive /= n
	negatives := n * float64(s.groups-1)
	out.negative /= negatives
	out.active = float64(active) / negatives
	if s.options.Loss == TargetCosine {
		out.active = math.NaN()
	}
	return out
}

// addTargetLoss adds the loss of queries to the graph; after a run, report holds what it tells. Where targets come from the
// graph too, trained is what makes them, otherwise nil.
func addTargetLoss[T kernel.Float](g *graph[T], s *targetScorer[T], queries, trained *variable[T], report *scores) (*variable[T], error) {
	o := &operation[T]{name: "loss " + string(s.options.Loss), stops: -1, overwrites: -1}
	args := []*variable[T]{queries}
	if trained != nil {
		s.fromGraph = func() { s.setKeysOfBoth(trained.data) }
		if trained != queries {
			o.stops, args = len(args), append(args, trained)
		}
	}
	o.run = func() {
		*report = s.score(queries.data)
		o.scalar = T(report.loss)
		g.noGradient = allZero(s.gradient)
	}
	var loss *variable[T]
	o.diff = func(grad *variable[T]) ([]*variable[T], error) {
		var dx *variable[T]
		b := &operation[T]{name: "backward of " + o.name, stops: -1, overwrites: -1, backward: true}
		b.run = func() { copy(dx.data, s.gradient) }
		dx, err := g.add(b, queries.shape, grad, loss)
		gradients := make([]*variable[T], len(args))
		gradients[0] = dx
		return gradients, err
	}
	loss, err := g.add(o, nil, args...)
	return loss, err
}
