package training

import (
	"fmt"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"imgsearch/internal/kernel"
)

// parameter is a variable that training changes, with its gradient. It implements gorgonia.ValueGrad.
type parameter[T kernel.Float] struct {
	*variable[T]
	trainable bool
	// decays tells whether weight decay applies: to weights, not to biases or to what batch normalisation holds.
	decays bool
	// gradient has the parameter's layout; nil where factors holds the gradient.
	gradient []T
	factors  *factors[T]
	velocity []T
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

// sgd is stochastic gradient descent with momentum as PyTorch has it (torch.optim.SGD, dampening 0): with g the gradient
// plus weightDecay times the weight, v = momentum*v + g, and the weight goes down by rate*v or, with nesterov, by
// rate*(g + momentum*v). It implements gorgonia.Solver.
type sgd[T kernel.Float] struct {
	rate        float64 // of the next step
	momentum    float64
	weightDecay float64
	nesterov    bool
	threads     int
	// zero tells that all gradients of the next step are zero; they are not read then.
	zero bool

	tasks   []sgdTask[T]
	scratch [][]T // one for each thread
}

// sgdTask is a piece of a parameter that one thread updates: small enough to stay in the cache between the passes.
type sgdTask[T kernel.Float] struct {
	parameter *parameter[T]
	from, to  int
	row, col  int // of from, where the gradient is kept as factors; the piece lies within the row
}

// sgdPiece is the number of values of a piece: four slices of that many fit a first-level cache.
const sgdPiece = 2048

// newSGD prepares the solver for the parameters that Step will get, and their velocities.
func newSGD[T kernel.Float](s sgd[T], parameters []*parameter[T]) *sgd[T] {
	s.threads = kernel.Threads(s.threads)
	for _, p := range parameters {
		p.velocity = make([]T, p.len())
		width := p.len()
		if p.factors != nil {
			width = p.factors.in
		}
		for row := 0; row*width < p.len(); row++ {
			for col := 0; col < width; col += sgdPiece {
				from := row*width + col
				s.tasks = append(s.tasks, sgdTask[T]{p, from, from + min(sgdPiece, width-col), row, col})
			}
		}
	}
	s.scratch = make([][]T, s.threads)
	for i := range s.scratch {
		s.scratch[i] = make([]T, sgdPiece)
	}
	return &s
}

// Step implements gorgonia.Solver. The model must be the parameters that the solver was made for.
func (s *sgd[T]) Step(model []gorgonia.ValueGrad) error {
	n := 0
	for _, m := range model {
		p, ok := m.(*parameter[T])
		if !ok || p.velocity == nil {
			return fmt.Errorf("step of the solver: %v is none of its parameters", m)
		}
		n += p.len()
	}
	threads := min(s.threads, 1+n/(1<<16))
	kernel.ParallelPieces(threads, len(s.tasks), 1+len(s.tasks)/(threads*8), func(worker, from, to int) {
		for i := from; i < to; i++ {
			s.update(&s.tasks[i], s.scratch[worker])
		}
	})
	return nil
}

func (s *sgd[T]) update(t *sgdTask[T], scratch []T) {
	p := t.parameter
	w, v, g := p.data[t.from:t.to], p.velocity[t.from:t.to], scratch[:t.to-t.from]
	decay := T(0)
	if p.decays {
		decay = T(s.weightDecay)
	}
	if p.factors == nil && !s.zero {
		g = p.gradient[t.from:t.to]
	} else {
		clear(g)
		s.addFactors(t, g)
	}
	if s.momentum == 0 { // the velocity stays out of it
		if decay != 0 {
			kernel.Axpy(-T(s.rate)*decay, w, w)
		}
		kernel.Axpy(-T(s.rate), g, w)
		return
	}
	kernel.SGD(w, v, g, T(s.rate), T(s.momentum), decay, s.nesterov)
}

// addFactors adds the piece of a gradient that is kept as factors to g.
func (s *sgd[T]) addFactors(t *sgdTask[T], g []T) {
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
