package training

import (
	"fmt"
	"math"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"imgsearch/internal/kernel"
)

// parameter is a variable that training changes, with its gradient. It implements gorgonia.ValueGrad.
type parameter[T kernel.Float] struct {
	*variable[T]
	trainable bool
	// changes tells whether it is trainable or a running statistic that follows the batches'.
	changes bool
	// decays tells whether weight decay applies: to weights, not to biases or to what batch normalisation holds.
	decays bool
	// gradient has the parameter's layout; nil where factors holds the gradient.
	gradient []T
	factors  *factors[T]
	// velocity is what momentum keeps of past gradients, square AdamW's mean of their squares, nil where there is none.
	velocity, square []T
}

// factors is the gradient of a linear layer's weight [Out, In] as what it is the product of: gradient[o, i] = sum over
// rows n of left[n, o] * right[n, i]. For few rows that is far less memory to write and read than the product.
type factors[T kernel.Float] struct {
	rows        int
	out, in     int
	left, right func() []T // [rows, out], [rows, in]
}

// Grad implements gorgonia.ValueGrad. Where the gradient is kept as factors it is multiplied out anew.
func (p *parameter[T]) Grad() (gorgonia.Value, error) {
	gradient := p.gradient
	if f := p.factors; f != nil {
		gradient = make([]T, f.out*f.in)
		kernel.Gemm(true, false, f.out, f.in, f.rows, 1, f.left(), f.out, f.right(), f.in, 0, gradient, f.in)
	}
	return tensor.New(tensor.Of(dtype[T]()), tensor.WithShape(p.shape...), tensor.WithBacking(gradient)), nil
}

// Value implements gorgonia.ValueGrad.
func (p *parameter[T]) Value() gorgonia.Value { return p.value }

// solver changes parameters by their gradients as its options say; see [Optimizer]. It implements gorgonia.Solver.
type solver[T kernel.Float] struct {
	options     OptimizerOptions // complete
	rate        float64          // of the next step
	momentum    float64
	weightDecay float64
	nesterov    bool
	threads     int
	// zero tells that all gradients of the next step are zero; they are not read then.
	zero bool

	// count holds the number of steps, which AdamW's corrections of bias depend on, as part of the state: one value,
	// which float32 lets grow to 2^24, where the corrections are long gone.
	count    []T
	tasks    []solverTask[T] // of what is updated value by value
	scaled   []*scaled       // LARS
	matrices []*matrix[T]    // Muon
	scratch  [][]T           // one for each thread
}

// solverTask is a piece of a parameter that one thread updates: small enough to stay in the cache between the passes.
type solverTask[T kernel.Float] struct {
	parameter *parameter[T]
	from, to  int
	row, col  int // of from, where the gradient is kept as factors; the piece lies within the row

	scaled  *scaled // LARS: the sums that the piece is part of; nil for biases and the like
	squares [2]float64
}

// solverPiece is the number of values of a piece: four slices of that many fit a first-level cache.
const solverPiece = 2048

// newSolver prepares the solver, whose fields up to threads are given, for the parameters that Step will get, and what
// it keeps of their gradients.
func newSolver[T kernel.Float](s solver[T], parameters []*parameter[T]) *solver[T] {
	s.threads = kernel.Threads(s.threads)
	s.count = make([]T, 1)
	largest := 0
	for _, p := range parameters {
		p.velocity = make([]T, p.len())
		tasks := tasksOf(p)
		switch {
		case s.options.Optimizer == Muon && p.decays:
			s.matrices = append(s.matrices, newMatrix(p, tasks))
			largest = max(largest, p.len())
			continue
		case s.options.Optimizer == AdamW || s.options.Optimizer == Muon:
			p.square = make([]T, p.len())
		case s.options.Optimizer == LARS && p.decays:
			group := &scaled{}
			s.scaled = append(s.scaled, group)
			for i := range tasks {
				tasks[i].scaled = group
			}
		}
		s.tasks = append(s.tasks, tasks...)
	}
	update := make([]T, largest)
	for _, m := range s.matrices {
		m.update = update[:m.rows*m.cols]
	}
	s.scratch = make([][]T, s.threads)
	for i := range s.scratch {
		s.scratch[i] = make([]T, solverPiece)
	}
	return &s
}

// tasksOf cuts a parameter into pieces.
func tasksOf[T kernel.Float](p *parameter[T]) []solverTask[T] {
	var tasks []solverTask[T]
	width := p.len()
	if p.factors != nil {
		width = p.factors.in
	}
	for row := 0; row*width < p.len(); row++ {
		for col := 0; col < width; col += solverPiece {
			from := row*width + col
			tasks = append(tasks, solverTask[T]{parameter: p, from: from, to: from + min(solverPiece, width-col), row: row, col: col})
		}
	}
	return tasks
}

// Step implements gorgonia.Solver. The model must be the parameters that the solver was made for.
func (s *solver[T]) Step(model []gorgonia.ValueGrad) error {
	n := 0
	for _, m := range model {
		p, ok := m.(*parameter[T])
		if !ok || p.velocity == nil {
			return fmt.Errorf("step of the solver: %v is none of its parameters", m)
		}
		n += p.len()
	}
	s.count[0]++
	if s.scaled != nil {
		s.measureNorms(n)
	}
	for _, m := range s.matrices {
		s.updateMatrix(m)
	}
	adam := s.adamStep()
	s.each(s.tasks, n, func(t *solverTask[T], scratch []T) { s.update(t, scratch, &adam) })
	return nil
}

// each calls fn with all pieces, which have n values together, on all threads, and with scratch memory as long as the
// piece.
func (s *solver[T]) each(tasks []solverTask[T], n int, fn func(t *solverTask[T], scratch []T)) {
	threads := min(s.threads, 1+n/(1<<16))
	kernel.ParallelPieces(threads, len(tasks), 1+len(tasks)/(threads*8), func(worker, from, to int) {
		for i := from; i < to; i++ {
			t := &tasks[i]
			fn(t, s.scratch[worker][:t.to-t.from])
		}
	})
}

// gradient returns the gradient of a piece, which may be in scratch.
func (s *solver[T]) gradient(t *solverTask[T], scratch []T) []T {
	p := t.parameter
	if p.factors == nil && !s.zero {
		return p.gradient[t.from:t.to]
	}
	clear(scratch)
	s.addFactors(t, scratch)
	return scratch
}

// update makes the step of a piece value by value.
func (s *solver[T]) update(t *solverTask[T], scratch []T, adam *kernel.AdamStep) {
	p := t.parameter
	w, v, g := p.data[t.from:t.to], p.velocity[t.from:t.to], s.gradient(t, scratch)
	if p.square != nil {
		step := *adam
		if p.decays {
			step.Keep = 1 - s.rate*s.weightDecay
		}
		kernel.AdamW(w, v, p.square[t.from:t.to], g, step)
		return
	}
	decay := 0.0
	if p.decays {
		decay = s.weightDecay
	}
	rate := s.rate
	if s.options.Optimizer == LARS {
		// The rate goes into the velocity, and with it the factor that this step has.
		if t.scaled != nil {
			rate *= t.scaled.factor
		}
		copy(scratch, g)
		kernel.Scale(T(rate), scratch)
		g, decay, rate = scratch, decay*rate, 1
	}
	if s.momentum == 0 { // the velocity stays out of it
		if decay != 0 {
			kernel.Axpy(-T(rate*decay), w, w)
		}
		kernel.Axpy(-T(rate), g, w)
		return
	}
	kernel.SGD(w, v, g, T(rate), T(s.momentum), T(decay), s.nesterov)
}

// addFactors adds the piece of a gradient that is kept as factors to g.
func (s *solver[T]) addFactors(t *solverTask[T], g []T) {
	f := t.parameter.factors
	if f == nil || s.zero {
		return
	}
	left, right := f.left(), f.right()
	for r := range f.rows {
		if a := left[r*f.out+t.row]; a != 0 {
			kernel.Axpy(a, right[r*f.in+t.col:][:len(g)], g)
		}
	}
}

// adamStep returns what AdamW's values have in common in this step, for parameters without decay.
func (s *solver[T]) adamStep() kernel.AdamStep {
	beta1, beta2, steps := s.momentum, s.options.Beta2, float64(s.count[0])
	rate := s.rate
	if s.options.Optimizer == Muon {
		rate *= s.options.OtherRate
	}
	// The roots are taken without their correction, by which both sides of the division are multiplied instead.
	root := math.Sqrt(1 - math.Pow(beta2, steps))
	step := kernel.AdamStep{Beta1: beta1, Beta2: beta2, Keep: 1, Epsilon: s.options.Epsilon * root}
	step.MeanRate = rate * root / (1 - math.Pow(beta1, steps))
	if s.nesterov {
		step.MeanRate = rate * root * beta1 / (1 - math.Pow(beta1, steps+1))
		step.GradientRate = rate * root * (1 - beta1) / (1 - math.Pow(beta1, steps))
	}
	return step
}
