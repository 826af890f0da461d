package embedder

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
)

// Tensor is an array of float32 in row-major order: len(Data) is the product of Shape.
type Tensor struct {
	Shape []int
	Data  []float32
}

// NewTensor returns a tensor of zeros.
func NewTensor(shape ...int) Tensor {
	return Tensor{Shape: slices.Clone(shape), Data: make([]float32, product(shape))}
}

// Clone returns a deep copy.
func (t Tensor) Clone() Tensor {
	return Tensor{Shape: slices.Clone(t.Shape), Data: slices.Clone(t.Data)}
}

// Weights holds tensors by name; those of an encoder are named by [Architecture.Parameters].
type Weights map[string]Tensor

// Clone returns a deep copy.
func (w Weights) Clone() Weights {
	out := make(Weights, len(w))
	for name, t := range w {
		out[name] = t.Clone()
	}
	return out
}

// Check reports whether the weights are those that the architecture needs: each parameter with its shape, none left
// over, all values finite, no negative variance. The error wraps [ErrWeights] and names the tensor, or wraps
// [ErrArchitecture].
func (w Weights) Check(a Architecture) error {
	steps, err := a.trace()
	if err != nil {
		return err
	}
	return w.check(parametersOf(steps))
}

func (w Weights) check(parameters []Parameter) error {
	for _, p := range parameters {
		t, ok := w[p.Name]
		if !ok {
			return fmt.Errorf("%w: %s is missing", ErrWeights, p.Name)
		}
		if !slices.Equal(t.Shape, p.Shape) {
			return fmt.Errorf("%w: %s has shape %v: must be %v", ErrWeights, p.Name, t.Shape, p.Shape)
		}
		if len(t.Data) != p.Len() {
			return fmt.Errorf("%w: %s has %d values: must be %d", ErrWeights, p.Name, len(t.Data), p.Len())
		}
		if i := slices.IndexFunc(t.Data, func(x float32) bool { return !finite(x) }); i >= 0 {
			return fmt.Errorf("%w: value %d of %s is %v: must be finite", ErrWeights, i, p.Name, t.Data[i])
		}
		if p.Role == RoleRunningVar {
			if i := slices.IndexFunc(t.Data, func(x float32) bool { return x < 0 }); i >= 0 {
				return fmt.Errorf("%w: value %d of %s is %v: a variance must not be negative", ErrWeights, i, p.Name, t.Data[i])
			}
		}
	}
	if len(w) > len(parameters) {
		names := make(map[string]bool, len(parameters))
		for _, p := range parameters {
			names[p.Name] = true
		}
		for _, name := range slices.Sorted(maps.Keys(w)) {
			if !names[name] {
				return fmt.Errorf("%w: %.100q belongs to no layer", ErrWeights, name)
			}
		}
	}
	return nil
}

// InitWeights draws first weights, parameter by parameter in the order of [Architecture.Parameters], as each layer's
// Init says; [BatchNorm] gets scale 1, shift 0, mean 0 and variance 1. Where a layer's Init is [InitWhiten], the weight
// is drawn as for [InitKaiming] and the trainer replaces it. The result depends on the architecture and the state of
// the generator alone. The architecture must be valid; the result is empty otherwise.
func InitWeights(a Architecture, rng *rand.Rand) Weights {
	w := Weights{}
	for _, p := range a.Parameters() {
		t := NewTensor(p.Shape...)
		switch p.Role {
		case RoleWeight, RoleBias:
			switch {
			case p.Layer.Init == InitUniform:
				bound := 1 / math.Sqrt(float64(p.FanIn))
				for i := range t.Data {
					t.Data[i] = float32((2*rng.Float64() - 1) * bound)
				}
			case p.Role == RoleWeight:
				std := math.Sqrt(2 / float64(p.FanIn))
				for i := range t.Data {
					t.Data[i] = float32(rng.NormFloat64() * std)
				}
			}
		case RoleScale, RoleRunningVar:
			for i := range t.Data {
				t.Data[i] = 1
			}
		}
		w[p.Name] = t
	}
	return w
}
