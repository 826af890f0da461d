package training

import (
	"fmt"

	"imgsearch/internal/kernel"
)

// cropNet is the part of a network that small crops go through: a graph of its own, since their size is another one, on
// the memory of the network's parameters. The loss needs the embeddings of both, so the operation of the network's graph
// that computes it runs all of the crops' graph, forward and backward, before it hands out the gradient of the full-size
// views. The gradients of the parameters are then added up.
type cropNet[T kernel.Float] struct {
	*netOf[T]
	err error // of the last run
}

// addLossWithCrops adds the loss of full-size views and of crops to the graph of n; b is the builder of n.
func addLossWithCrops[T kernel.Float](n *netOf[T], c networkConfig, s *scorer[T], b *netBuilder[T]) (*variable[T], error) {
	c.Architecture = c.Architecture.Clone()
	c.Architecture.InputSize = c.MultiView.cropSide(c.Architecture.InputSize)
	small, err := buildNetOn(c, c.MultiView.Crops*c.Groups, false, n)
	if err != nil {
		return nil, fmt.Errorf("the net for crops: %w", err)
	}
	crops := &cropNet[T]{netOf: small.net}
	n.crops = crops
	first := b.lossInput.len()
	joint := make([]T, first+small.lossInput.len())
	crops.loss, err = addLossOf(crops.graph, "loss of crops", small.lossInput, s.gradient[first:], func() float64 {
		copy(joint[first:], small.lossInput.data)
		n.report = s.score(joint)
		crops.graph.noGradient = allZero(s.gradient)
		return n.report.loss
	})
	if err != nil {
		return nil, err
	}
	if err := crops.prepareGradients(); err != nil {
		return nil, err
	}
	if err := crops.graph.compile(); err != nil {
		return nil, err
	}
	return addLossOf(n.graph, "loss "+string(c.Loss.Loss), b.lossInput, s.gradient[:first], func() float64 {
		copy(joint, b.lossInput.data)
		crops.err = crops.graph.runAll()
		n.graph.noGradient = crops.graph.noGradient
		return n.report.loss
	})
}

// prepareGradients adds the gradients of all trainable parameters to the graph, with memory for them.
func (n *netOf[T]) prepareGradients() error {
	var trainable []*parameter[T]
	for _, p := range n.parameters {
		if p.trainable {
			p.gradient = make([]T, p.len())
			trainable = append(trainable, p)
		}
	}
	if len(trainable) == 0 {
		return errAllFrozen
	}
	return n.graph.differentiate(n.loss, trainable)
}

// run computes loss and gradients of what setInput has taken.
func (n *netOf[T]) run() error {
	err := n.graph.runAll()
	if n.crops == nil || err != nil {
		return err
	}
	if n.crops.err != nil {
		return n.crops.err
	}
	if n.graph.noGradient {
		return nil
	}
	for i, p := range n.parameters {
		if p.trainable {
			kernel.Add(n.crops.parameters[i].gradient, p.gradient)
		}
	}
	return nil
}
