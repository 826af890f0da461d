package training

import "imgsearch/embedder"

// withLoss checks the loss, or what is in its place, and fills in what it leaves to the default: weights, and the
// projection head of one that cannot have outputs of length 1.
func (o Options) withLoss() (Options, error) {
	var err error
	if o.Target, err = o.Target.complete(o.Loss); err != nil {
		return Options{}, err
	}
	if o.Target.on() {
		switch {
		case o.MultiView.many():
			return Options{}, optionError("multi view", "more than two views", "two views and no crops where there is a target")
		case o.Stop.Patience > 0:
			return Options{}, optionError("stop: patience", o.Stop.Patience, "0 where there is a target: its loss is not measured on held-back images")
		}
		return o, nil
	}
	o.Loss = o.Loss.complete()
	if !o.Loss.onColumns() {
		return o, nil
	}
	if n := len(o.Head); n > 0 {
		if o.Head[n-1].Kind == embedder.L2Norm {
			return Options{}, optionError("head", "ends in l2norm", "without it at the end with "+string(o.Loss.Loss))
		}
		return o, nil
	}
	if layers := o.Architecture.Layers; o.Finish.PCA || layers[len(layers)-1].Kind == embedder.L2Norm {
		o.Head = projectionHead(o.Dim)
	}
	return o, nil
}

// projectionHead returns the projection head that stands in for a missing one, on embeddings of dim values.
func projectionHead(dim int) []embedder.Layer {
	width := max(dim, min(4*dim, 512))
	return []embedder.Layer{
		{Kind: embedder.Linear, Out: width},
		{Kind: embedder.BatchNorm},
		{Kind: embedder.ReLU},
		{Kind: embedder.Linear, Out: width, Bias: true},
	}
}
