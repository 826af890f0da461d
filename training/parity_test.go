package training

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"gorgonia.org/gorgonia"

	"imgsearch/embedder"
	"imgsearch/internal/kernel"
)

// parityCase is a training in PyTorch, in float64: see testdata/make_parity.py.
type parityCase struct {
	Name         string
	Architecture json.RawMessage
	Groups, Rows int
	Loss         LossOptions
	Rate         float64
	Momentum     float64
	WeightDecay  float64 `json:"weight_decay"`
	Nesterov     bool
	Input        []float32
	Weights      map[string]struct {
		Shape []int
		Data  []float32
	}
	Losses           []float64
	LossesDefaultEps []float64 `json:"losses_default_eps"`
	Gradients        map[string][]float64
	After            map[string][]float64
}

func readParity(t *testing.T) []parityCase {
	t.Helper()
	data, err := os.ReadFile("testdata/parity.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Cases []parityCase }
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Cases) != 3 {
		t.Fatalf("%d cases: want 3", len(file.Cases))
	}
	return file.Cases
}

// TestParity: gradients, ten losses and the weights after ten steps are PyTorch's.
func TestParity(t *testing.T) {
	for _, c := range readParity(t) {
		t.Run(c.Name+"/float64", func(t *testing.T) { testParity[float64](t, c, 1e-9) })
		t.Run(c.Name+"/float32", func(t *testing.T) { testParity[float32](t, c, 2e-4) })
	}
}

func testParity[T kernel.Float](t *testing.T, c parityCase, tolerance float64) {
	a, err := embedder.ParseArchitecture(c.Architecture)
	if err != nil {
		t.Fatal(err)
	}
	weights := embedder.Weights{}
	for name, w := range c.Weights {
		weights[name] = embedder.Tensor{Shape: w.Shape, Data: w.Data}
	}
	n, err := newNetOf[T](networkConfig{
		Architecture: a, Weights: weights, Loss: c.Loss, Groups: c.Groups, Rows: c.Rows, Threads: 2,
		Momentum: c.Momentum, WeightDecay: c.WeightDecay, Nesterov: c.Nesterov,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer n.close()
	input := make([]T, len(c.Input))
	for i, v := range c.Input {
		input[i] = T(v)
	}
	compare := func(what string, got []T, want []float64) {
		t.Helper()
		var scale float64
		for _, v := range want {
			scale = max(scale, math.Abs(v))
		}
		if len(got) != len(want) {
			t.Fatalf("%s: %d values: want %d", what, len(got), len(want))
		}
		for i, v := range got {
			if !(math.Abs(float64(v)-want[i]) <= tolerance*max(scale, 1e-3)) {
				t.Errorf("%s: value %d is %v: PyTorch has %v", what, i, v, want[i])
				return
			}
		}
	}
	for step := range c.Losses {
		r, err := n.step(input, c.Rate)
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(r.Loss-c.Losses[step]) > tolerance*max(c.Losses[step], 0.1) {
			t.Errorf("step %d: loss %v: PyTorch has %v", step, r.Loss, c.Losses[step])
		}
		if c.LossesDefaultEps != nil && math.Abs(r.Loss-c.LossesDefaultEps[step]) > 1e-5+tolerance {
			t.Errorf("step %d: loss %v: PyTorch with its default eps has %v", step, r.Loss, c.LossesDefaultEps[step])
		}
		if step > 0 {
			continue
		}
		for _, p := range n.parameters {
			if !p.trainable {
				continue
			}
			g, err := p.Grad()
			if err != nil {
				t.Fatal(err)
			}
			compare("gradient of "+p.name, g.Data().([]T), c.Gradients[p.name])
		}
	}
	names := 0
	for _, p := range n.parameters {
		compare(p.name+" after all steps", p.data, c.After[p.name])
		names++
	}
	if names != len(c.After) {
		t.Errorf("%d parameters: PyTorch has %d", names, len(c.After))
	}
}

// TestAdamWParity: what torch.optim.AdamW makes of two parameters; see testdata/make_adamw.py.
func TestAdamWParity(t *testing.T) {
	data, err := os.ReadFile("testdata/adamw.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Cases []struct {
			Beta1, Beta2, Epsilon float64
			WeightDecay           float64 `json:"weight_decay"`
			First                 [][]float32
			Steps                 []struct {
				Rate      float64
				Gradients [][]float32
				After     [][]float64
			}
		}
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Cases) != 2 {
		t.Fatalf("%d cases: want 2", len(file.Cases))
	}
	for _, c := range file.Cases {
		options, err := OptimizerOptions{Optimizer: AdamW, Beta2: c.Beta2, Epsilon: c.Epsilon}.complete()
		if err != nil {
			t.Fatal(err)
		}
		g := newGraph[float64](1)
		var parameters []*parameter[float64]
		var model []gorgonia.ValueGrad
		for i, first := range c.First {
			p := &parameter[float64]{variable: g.leaf("p", true, len(first)), trainable: true, decays: i == 0}
			for j, v := range first {
				p.data[j] = float64(v)
			}
			p.gradient = make([]float64, len(first))
			parameters, model = append(parameters, p), append(model, p)
		}
		s := newSolver(solver[float64]{options: options, momentum: c.Beta1, weightDecay: c.WeightDecay}, parameters)
		for n, step := range c.Steps {
			s.rate = step.Rate
			for i, p := range parameters {
				for j, v := range step.Gradients[i] {
					p.gradient[j] = float64(v)
				}
			}
			if err := s.Step(model); err != nil {
				t.Fatal(err)
			}
			for i, p := range parameters {
				for j, v := range p.data {
					if math.Abs(v-step.After[i][j]) > 1e-12 {
						t.Fatalf("step %d: value %d of parameter %d is %v: PyTorch has %v", n+1, j, i, v, step.After[i][j])
					}
				}
			}
		}
	}
}
