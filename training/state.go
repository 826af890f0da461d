package training

import (
	"fmt"
	"slices"
	"strings"

	"imgsearch/embedder"
)

// What is beside weights in [network.state]: by parameter, what the solver keeps of gradients and the averaged value; and
// how many steps the solver and the averaging have made.
const (
	velocityPrefix = "velocity."
	squarePrefix   = "square."
	averagePrefix  = "average."
	solverCount    = "solver.steps"
	averageCount   = "average.steps"
)

// weights returns a copy of the encoder's weights, running statistics included, the head left out: averaged ones where
// weights are averaged.
func (n *netOf[T]) weights() embedder.Weights { return n.averagedWeights(false) }

// headWeights returns the same of the projection head.
func (n *netOf[T]) headWeights() embedder.Weights { return n.averagedWeights(true) }

func (n *netOf[T]) averagedWeights(head bool) embedder.Weights {
	out := embedder.Weights{}
	for i, p := range n.parameters {
		if strings.HasPrefix(p.name, "head.") == head && !p.predictor() {
			out[p.name] = tensorOf(p.shape, n.averaged(i))
		}
	}
	return out
}

// averaged returns the value of parameter i that an encoder gets.
func (n *netOf[T]) averaged(i int) []T {
	if n.averager != nil {
		return n.averager.values[i]
	}
	return n.parameters[i].data
}

// stateTensor is a part of the state, where it lies.
type stateTensor[T any] struct {
	name  string
	shape []int
	data  []T
}

// stateTensors lists all that the steps to come depend on.
func (n *netOf[T]) stateTensors() []stateTensor[T] {
	var out []stateTensor[T]
	for i, p := range n.parameters {
		out = append(out, stateTensor[T]{p.name, p.shape, p.data})
		if p.trainable {
			out = append(out, stateTensor[T]{velocityPrefix + p.name, p.shape, p.velocity})
		}
		if p.square != nil {
			out = append(out, stateTensor[T]{squarePrefix + p.name, p.shape, p.square})
		}
		if n.averager != nil {
			out = append(out, stateTensor[T]{averagePrefix + p.name, p.shape, n.averager.values[i]})
		}
	}
	switch n.config.Optimizer.Optimizer {
	case AdamW, Muon:
		out = append(out, stateTensor[T]{solverCount, []int{1}, n.solver.count})
	}
	if n.averager != nil {
		out = append(out, stateTensor[T]{averageCount, []int{1}, n.averager.count})
	}
	if n.targets != nil {
		out = append(out, n.targets.tensors()...)
	}
	return out
}

// state returns a copy of all that the steps to come depend on: weights, running statistics, the head, what the solver
// keeps of gradients, averages.
func (n *netOf[T]) state() embedder.Weights {
	out := embedder.Weights{}
	for _, t := range n.stateTensors() {
		out[t.name] = tensorOf(t.shape, t.data)
	}
	return out
}

// setState restores what state returned; the network must have been made with the same config, its weights apart. The
// tensors are copied. A state that does not fit changes nothing.
func (n *netOf[T]) setState(state embedder.Weights) error {
	all := n.stateTensors()
	for _, to := range all {
		from, ok := state[to.name]
		if !ok || !slices.Equal(from.Shape, to.shape) || len(from.Data) != len(to.data) {
			return fmt.Errorf("restore the training state: no %s of shape %v", to.name, to.shape)
		}
	}
	if n.targets != nil {
		if err := n.targets.check(state); err != nil {
			return err
		}
	}
	if len(all) != len(state) {
		return fmt.Errorf("restore the training state: %d tensors: must be %d", len(state), len(all))
	}
	for _, to := range all {
		for i, v := range state[to.name].Data {
			to.data[i] = T(v)
		}
	}
	if n.front != nil {
		n.front.forget()
	}
	if n.crops != nil && n.crops.front != nil {
		n.crops.front.forget()
	}
	if n.targets != nil {
		return n.targets.restored()
	}
	return nil
}
