package training

import "imgsearch/embedder"

// Tensors returns copies of all that another program needs to make the same steps: the weights and running statistics of
// net and head, named as [embedder.Architecture.Parameters] names them ("head.0.weight" for the head's), and as "input"
// the batch, [images, 3, S, S]: all anchors, then all positives, then, with three images a group, all negatives.
func (b *BareStep) Tensors() embedder.Weights {
	out := embedder.Weights{}
	for _, p := range b.net.parameters {
		out[p.name] = tensorOf(p.shape, p.data)
	}
	size := b.net.config.Architecture.InputSize
	out["input"] = tensorOf([]int{b.images, 3, size, size}, b.input)
	return out
}

// Losses makes steps at a learning rate of its own and returns the loss of each, before the weights change.
func (b *BareStep) Losses(steps int, rate float64) ([]float64, error) {
	losses := make([]float64, steps)
	for i := range losses {
		r, err := b.net.step(b.input, rate)
		if err != nil {
			return nil, err
		}
		losses[i] = r.Loss
	}
	return losses, nil
}
