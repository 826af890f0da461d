package training

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"gorgonia.org/gorgonia"
)

// testParameter returns a parameter with random values.
func testParameter(g *graph[float32], rng *rand.Rand, name string, decays bool, shape ...int) *parameter[float32] {
	p := &parameter[float32]{variable: g.leaf(name, true, shape...), trainable: true, decays: decays}
	p.gradient = make([]float32, p.len())
	for i := range p.data {
		p.data[i] = float32(rng.NormFloat64())
	}
	return p
}

// TestSolver compares with the formulas of torch.optim.SGD in float64.
func TestSolver(t *testing.T) {
	for _, o := range []solver[float32]{
		{}, {momentum: 0.9}, {weightDecay: 0.1}, {momentum: 0.9, weightDecay: 0.1},
		{momentum: 0.9, nesterov: true}, {momentum: 0.8, weightDecay: 0.1, nesterov: true},
	} {
		t.Run(fmt.Sprintf("%v-%v-%v", o.momentum, o.weightDecay, o.nesterov), func(t *testing.T) {
			for _, threads := range []int{1, 3} {
				rng := rand.New(rand.NewPCG(31, 32))
				g := newGraph[float32](1)
				// A long one is cut into pieces; one has factors for a gradient.
				const rows, out, in = 3, 70, 2*solverPiece + 3
				left, right := make([]float32, rows*out), make([]float32, rows*in)
				factored := testParameter(g, rng, "factored", true, out, in)
				factored.gradient = nil
				factored.factors = &factors[float32]{rows: rows, out: out, in: in,
					left: func() []float32 { return left }, right: func() []float32 { return right }}
				parameters := []*parameter[float32]{
					testParameter(g, rng, "bias", false, 7), testParameter(g, rng, "weight", true, 5, solverPiece), factored,
				}
				o.threads = threads
				s := newSolver(o, parameters)
				var model []gorgonia.ValueGrad
				weights, velocity := make([][]float64, len(parameters)), make([][]float64, len(parameters))
				for i, p := range parameters {
					model = append(model, p)
					velocity[i] = make([]float64, p.len())
					for _, v := range p.data {
						weights[i] = append(weights[i], float64(v))
					}
				}
				for step := range 4 {
					s.rate, s.zero = 0.1/float64(step+1), step == 2
					for _, x := range [][]float32{left, right, parameters[0].gradient, parameters[1].gradient} {
						for i := range x {
							x[i] = float32(rng.NormFloat64())
						}
					}
					for i, p := range parameters {
						value, err := p.Grad()
						if err != nil {
							t.Fatal(err)
						}
						gradient := value.Data().([]float32)
						for j := range gradient {
							grad := float64(gradient[j])
							if s.zero {
								grad = 0
							}
							if p.decays {
								grad += o.weightDecay * weights[i][j]
							}
							v := o.momentum*velocity[i][j] + grad
							velocity[i][j] = v
							if o.nesterov {
								v = grad + o.momentum*v
							}
							weights[i][j] -= s.rate * v
						}
					}
					if err := s.Step(model); err != nil {
						t.Fatal(err)
					}
					for i, p := range parameters {
						for j, v := range p.data {
							if math.Abs(float64(v)-weights[i][j]) > 3e-6 {
								t.Fatalf("%d threads, step %d: %s[%d] is %v: want %v", threads, step, p.name, j, v, weights[i][j])
							}
						}
					}
				}
			}
		})
	}
}

func TestSolverForeignModel(t *testing.T) {
	g := newGraph[float32](1)
	p := testParameter(g, rand.New(rand.NewPCG(1, 1)), "p", true, 3)
	if err := newSolver(solver[float32]{}, nil).Step([]gorgonia.ValueGrad{p}); err == nil {
		t.Error("no error for a parameter that the solver was not made for")
	}
}
