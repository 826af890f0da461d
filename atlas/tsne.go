package atlas

import (
	"context"
	"fmt"
	"math"

	"imgsearch/dataset"
	"imgsearch/index"
	"imgsearch/internal/kernel"
)

// MapOptions say how a map is made. The zero value is usable.
type MapOptions struct {
	// Metric is that of the neighbours' distances; default index.Cosine.
	Metric index.Metric
	// Perplexity is the effective number of neighbours of a point; default 40. Each point should have 3 times as many.
	// More keeps larger structures together and takes proportionally longer.
	Perplexity float64
	// Iterations is the number of steps; default 1,000. More lower the divergence slightly; 750 take a quarter less time
	// for a divergence half a per cent higher.
	Iterations int
	// Exaggeration multiplies the attraction in the first ExaggeratedIterations steps, so that groups can gather;
	// default 12 in the first 250. 1 turns it off.
	Exaggeration          float64
	ExaggeratedIterations int
	// Theta bounds the ratio of a cell's size to its distance at which the cell acts as one point; default 0.5. Less is
	// more exact and slower.
	Theta float64
	// LearningRate is the step along the gradient without its factor of 4; default the number of points divided by
	// Exaggeration, at least 50 (Belkina et al. 2019).
	LearningRate float64
	// Seed draws the start where none is given.
	Seed uint64
	// Threads is the number of threads; default all cores. The map does not depend on it.
	Threads int
	// OnProgress is called every ProgressEvery steps (default 50) and after the last.
	OnProgress    func(MapProgress)
	ProgressEvery int
}

// MapProgress tells how far a map is.
type MapProgress struct {
	Iteration, Iterations int
	// Divergence is the Kullback-Leibler divergence that is being made smaller, in nats, without the exaggeration.
	Divergence float64
}

// Map is a layout of points on a plane.
type Map struct {
	// Positions is [n, 2] float32: x, y of each point, in the order given, the middle of all at the origin.
	Positions []float32
	// Divergence is the Kullback-Leibler divergence of the map from the neighbours, in nats.
	Divergence float64
	// Iterations is the number of steps that were made.
	Iterations int
}

func (o MapOptions) withDefaults(n int) (MapOptions, error) {
	setDefault(&o.Metric, index.Cosine)
	setDefault(&o.Perplexity, 40)
	setDefault(&o.Iterations, 1000)
	setDefault(&o.Exaggeration, 12)
	setDefault(&o.ExaggeratedIterations, 250)
	setDefault(&o.Theta, 0.5)
	setDefault(&o.LearningRate, max(float64(n)/max(o.Exaggeration, 1), 50))
	setDefault(&o.ProgressEvery, 50)
	positive := func(v float64) bool { return v > 0 && !math.IsInf(v, 0) }
	switch {
	case o.Metric != index.L2 && o.Metric != index.Cosine:
		return o, fmt.Errorf("%w: Metric is %q, known are %q and %q", ErrOption, o.Metric, index.L2, index.Cosine)
	case !(o.Perplexity >= 1 && o.Perplexity <= 1e6):
		return o, fmt.Errorf("%w: Perplexity is %v, 1 to 1,000,000 is possible", ErrOption, o.Perplexity)
	case o.Iterations < 1:
		return o, fmt.Errorf("%w: Iterations is %d, at least 1 is needed", ErrOption, o.Iterations)
	case !(o.Exaggeration >= 1) || math.IsInf(o.Exaggeration, 0):
		return o, fmt.Errorf("%w: Exaggeration is %v, at least 1 is needed", ErrOption, o.Exaggeration)
	case o.ExaggeratedIterations < 0:
		return o, fmt.Errorf("%w: ExaggeratedIterations is %d, at least 0 is needed", ErrOption, o.ExaggeratedIterations)
	case !positive(o.Theta):
		return o, fmt.Errorf("%w: Theta is %v, a positive number is needed", ErrOption, o.Theta)
	case !positive(o.LearningRate):
		return o, fmt.Errorf("%w: LearningRate is %v, a positive number is needed", ErrOption, o.LearningRate)
	case o.ProgressEvery < 1:
		return o, fmt.Errorf("%w: ProgressEvery is %d, at least 1 is needed", ErrOption, o.ProgressEvery)
	}
	return o, nil
}

// TSNE lays points out on a plane so that neighbours are near each other: t-distributed stochastic neighbour embedding,
// accelerated by a quadtree (van der Maaten 2014, "Accelerating t-SNE using Tree-Based Algorithms"). Deviations from the
// paper: the groups of package-internal quadtree, the learning rate, and a momentum of 0.5 during the exaggeration and
// 0.8 after it.
//
// Neighbours are lists of a point's nearest, nearest first, with distances by Options.Metric, a list for each id; the
// point itself may be among them. Start is [n, 2] float32, of a size much below 1, as from PrincipalStart; nil draws a
// random one. Equal input and options give equal maps, whatever the number of threads.
//
// When ctx ends, TSNE returns the map as it is then together with ctx's error; after any other error the map is nil.
func TSNE(ctx context.Context, ids []dataset.ID, neighbors [][]index.Neighbor, start []float32, options MapOptions) (*Map, error) {
	n := len(ids)
	o, err := options.withDefaults(n)
	if err != nil {
		return nil, err
	}
	switch {
	case n == 0:
		return nil, fmt.Errorf("%w: a map of no points", ErrNothing)
	case len(neighbors) != n:
		return nil, fmt.Errorf("%w: %d lists for %d points", ErrNeighbors, len(neighbors), n)
	case start != nil && len(start) != 2*n:
		return nil, fmt.Errorf("%w: a start of %d values for %d points", ErrOption, len(start), n)
	}
	for i, v := range start {
		if v-v != 0 {
			return nil, fmt.Errorf("%w: the start of point %d is %v", ErrOption, i/2, v)
		}
	}
	if start == nil {
		if start, err = PrincipalStart(make([]float32, n), 1, index.L2, o.Seed, o.Threads); err != nil {
			return nil, err
		}
	}
	if n == 1 {
		return &Map{Positions: make([]float32, 2)}, nil
	}
	p, err := newAffinities(ids, neighbors, o.Metric, o.Perplexity, o.Threads)
	if err != nil {
		return nil, err
	}
	s := newDescent(p, start, o)
	for s.iteration < o.Iterations && ctx.Err() == nil {
		s.step()
		if o.OnProgress != nil && s.iteration%o.ProgressEvery == 0 && s.iteration < o.Iterations {
			o.OnProgress(MapProgress{s.iteration, o.Iterations, s.divergence()})
		}
	}
	m := &Map{Positions: s.positions, Divergence: s.divergence(), Iterations: s.iteration}
	if o.OnProgress != nil {
		o.OnProgress(MapProgress{s.iteration, o.Iterations, m.Divergence})
	}
	return m, ctx.Err()
}

// descent is gradient descent with momentum and a gain for each coordinate (Jacobs 1988).
type descent struct {
	MapOptions
	p         *affinities
	n         int
	iteration int

	positions, velocity, gains []float32 // [n, 2]
	attraction, repulsion      []float32
	tree                       quadtree
	lists                      []interactions // of each thread
}

func newDescent(p *affinities, start []float32, o MapOptions) *descent {
	s := &descent{MapOptions: o, p: p, n: len(start) / 2}
	s.positions = append([]float32(nil), start...)
	s.velocity, s.gains = make([]float32, len(start)), make([]float32, len(start))
	s.attraction, s.repulsion = make([]float32, len(start)), make([]float32, len(start))
	for i := range s.gains {
		s.gains[i] = 1
	}
	s.lists = make([]interactions, kernel.Threads(o.Threads))
	return s
}

// gradient leaves the two parts of the gradient in attraction and repulsion and returns the sum of the weights by which
// the repulsion is still to be divided.
func (s *descent) gradient() float64 {
	s.tree.build(s.positions, s.Threads)
	sum := s.tree.repulsion(s.repulsion, s.Theta, s.Threads, s.lists)
	kernel.ParallelRanges(s.Threads, s.n, func(_, from, to int) { s.attract(from, to) })
	return sum
}

// attract sums p(i, j) w (y_i - y_j) for the points [from, to).
func (s *descent) attract(from, to int) {
	y := s.positions
	for i := from; i < to; i++ {
		at := s.p.at[s.p.rows[i]:s.p.rows[i+1]]
		s.attraction[2*i], s.attraction[2*i+1] = kernel.Attract(y, at, s.p.values[s.p.rows[i]:s.p.rows[i+1]], y[2*i], y[2*i+1])
	}
}

const (
	earlyMomentum, lateMomentum = 0.5, 0.8
	gainUp, gainDown, gainLeast = 0.2, 0.8, 0.01
)

func (s *descent) step() {
	exaggeration, momentum := float32(1), float32(lateMomentum)
	if s.iteration < s.ExaggeratedIterations {
		exaggeration, momentum = float32(s.Exaggeration), earlyMomentum
	}
	sum := s.gradient()
	inverse := float32(1 / max(sum, math.SmallestNonzeroFloat32))
	rate := float32(s.LearningRate)
	kernel.ParallelRanges(s.Threads, len(s.positions), func(_, from, to int) {
		for i := from; i < to; i++ {
			gradient := exaggeration*s.attraction[i] - inverse*s.repulsion[i]
			v := s.velocity[i]
			gain := s.gains[i]
			if v != 0 && (gradient > 0) != (v > 0) {
				gain += gainUp
			} else {
				gain = max(gain*gainDown, gainLeast)
			}
			v = momentum*v - rate*gain*gradient
			s.gains[i], s.velocity[i] = gain, v
			s.positions[i] += v
		}
	})
	var x, y float64
	for i := 0; i < len(s.positions); i += 2 {
		x += float64(s.positions[i])
		y += float64(s.positions[i+1])
	}
	middleX, middleY := float32(x/float64(s.n)), float32(y/float64(s.n))
	for i := 0; i < len(s.positions); i += 2 {
		s.positions[i] -= middleX
		s.positions[i+1] -= middleY
	}
	s.iteration++
}

// divergence is sum p log(p / q) with q = w / sum w: sum p log p + sum p log(1 + d^2) + log(sum w).
func (s *descent) divergence() float64 {
	s.tree.build(s.positions, s.Threads)
	sum := s.tree.repulsion(s.repulsion, s.Theta, s.Threads, s.lists)
	parts := make([]float64, s.n)
	kernel.Parallel(s.Threads, s.n, func(i int) {
		px, py := s.positions[2*i], s.positions[2*i+1]
		for e := s.p.rows[i]; e < s.p.rows[i+1]; e++ {
			j := s.p.at[e]
			dx, dy := px-s.positions[2*j], py-s.positions[2*j+1]
			parts[i] += float64(s.p.values[e]) * math.Log1p(float64(dx*dx+dy*dy))
		}
	})
	total := s.p.entropy + math.Log(max(sum, math.SmallestNonzeroFloat64))
	for _, part := range parts {
		total += part
	}
	return total
}
