package training

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"gorgonia.org/gorgonia"

	"imgsearch/embedder"
	"imgsearch/internal/kernel"
)

// networkConfig is what a [network] is made of.
type networkConfig struct {
	Architecture embedder.Architecture
	// Head is a projection head: flat layers on the embedding that only the loss sees. May be nil.
	Head []embedder.Layer
	// Weights holds the first values: those of the architecture and, where there is a head or a predictor, those that
	// [initHeadWeights] and [TargetOptions.initWeights] make. They are copied.
	Weights embedder.Weights
	Loss    LossOptions
	// MultiView is complete.
	MultiView MultiViewOptions
	// Target has views compared with other things than each other. May be zero.
	Target TargetOptions
	// Groups is the number of pairs or triplets in a batch, Rows that of full-size images in each: [MultiViewOptions.rows].
	Groups, Rows int
	// Threads is the most threads that work at the same time; 0 stands for all. Results do not depend on it.
	Threads int
	// Precision is that of the convolutions.
	Precision Precision
	// Momentum, WeightDecay and Nesterov are those of Optimizer. Weight decay leaves alone biases and what batch
	// normalisation learns.
	Momentum, WeightDecay float64
	Nesterov              bool
	Optimizer             OptimizerOptions
	// Average says how weights are averaged over the steps.
	Average AverageOptions
}

// stepResult is what a step tells of its batch, before its weights change.
type stepResult struct {
	// Loss is the mean loss.
	Loss float64
	// Active is the share of all triplets of the batch, whether or not the miner picks them, with
	// d(a,p) - d(a,n) + margin > 0; NaN for LossMSE and LossL1.
	Active float64
	// PositiveDistance and NegativeDistance are the mean d(a,p) and d(a,n), as the loss sees embeddings: behind the
	// projection head, and at length 1 for the losses that take them so.
	PositiveDistance, NegativeDistance float64
	// Spread is the mean over the dimensions of the embedding, before the projection head, of its standard deviation
	// over the batch: near 0 all images have become one.
	Spread float64
}

// network is an encoder in training: gorgonia graph, loss and solver. It is used by one goroutine at a time.
type network = netOf[float32]

// netOf is a network that computes in T; float64 is for checks of gradients.
type netOf[T kernel.Float] struct {
	config     networkConfig
	graph      *graph[T]
	input      *variable[T] // N blocked images, or what the front makes of them
	front      *front       // nil where the first layer is trained
	crops      *cropNet[T]  // nil where there are no small crops
	embeddings *variable[T] // [N, dim]
	loss       *variable[T]
	targets    *targets[T]     // nil without a target
	parameters []*parameter[T] // all, in a fixed order
	model      []gorgonia.ValueGrad
	solver     *solver[T]
	averager   *averager[T] // nil where weights are not averaged
	report     scores
	batch      int // images that go through the graph
}

// newNetwork builds the training graph.
func newNetwork(c networkConfig) (*network, error) { return newNetOf[float32](c) }

func newNetOf[T kernel.Float](c networkConfig) (*netOf[T], error) {
	target, err := c.Target.complete(c.Loss)
	if err != nil {
		return nil, err
	}
	c.Target = target
	if want := c.MultiView.rows(c.Loss); c.Rows != want {
		return nil, optionError("rows", c.Rows, fmt.Sprintf("%d with this loss", want))
	}
	if least := smallestBatch(c.Loss); c.Groups < least {
		return nil, optionError("groups", c.Groups, fmt.Sprintf("at least %d", least))
	}
	for _, f := range []struct {
		name  string
		value float64
		max   float64
	}{{"momentum", c.Momentum, 0.9999}, {"weight decay", c.WeightDecay, 10}} {
		if !(f.value >= 0 && f.value <= f.max) {
			return nil, optionError(f.name, f.value, fmt.Sprintf("0 to %v", f.max))
		}
	}
	if c.Optimizer, err = c.Optimizer.complete(); err != nil {
		return nil, err
	}
	if err := c.Average.validate(); err != nil {
		return nil, err
	}
	batch := c.Rows * c.Groups
	if c.Target.on() {
		batch = c.Target.queries(c.Groups)
	}
	b, err := buildNet[T](c, batch, false)
	if err != nil {
		return nil, err
	}
	n := b.net
	if c.Target.on() {
		err = b.addTargets(c)
	} else {
		err = b.addLoss(c)
	}
	if err != nil {
		return nil, err
	}
	if err := n.prepareGradients(); err != nil {
		return nil, err
	}
	var trainable []*parameter[T]
	for _, p := range n.parameters {
		if p.trainable {
			trainable = append(trainable, p)
			n.model = append(n.model, p)
		}
	}
	n.solver = newSolver(solver[T]{
		options: c.Optimizer, momentum: c.Momentum, weightDecay: c.WeightDecay, nesterov: c.Nesterov, threads: c.Threads,
	}, trainable)
	if c.Average.Decay > 0 {
		n.averager = newAverager(c.Average, c.Threads, n.parameters)
	}
	return n, n.graph.compile()
}

// netBuilder walks through an architecture.
type netBuilder[T kernel.Float] struct {
	net       *netOf[T]
	byName    map[string]*parameter[T]
	lossInput *variable[T]
	// headOutput is what the predictor gets; lossInput where there is none.
	headOutput *variable[T]
	// fixed makes batch normalisation use its running statistics everywhere, as inference does.
	fixed bool
	// channels is the number of channels of the images between the layers at hand.
	channels int
}

// addLoss adds the loss of views that are compared with each other.
func (b *netBuilder[T]) addLoss(c networkConfig) (err error) {
	n := b.net
	s := newScorerOf[T](c.Loss, c.MultiView, c.Groups, b.lossInput.shape[1], c.Threads)
	if c.MultiView.Crops > 0 {
		n.loss, err = addLossWithCrops(n, c, s, b)
	} else {
		n.loss, err = addLoss(n.graph, s, b.lossInput, &n.report)
	}
	return err
}

// buildNet builds the forward part of the graph for batches of the given size. The values of frozen layers and running
// statistics are parameters too.
func buildNet[T kernel.Float](c networkConfig, batch int, fixed bool) (*netBuilder[T], error) {
	return buildNetOn[T](c, batch, fixed, nil)
}

// buildNetOn is buildNet on the memory of the parameters of owner, where that is not nil: a net of the same layers. The
// running statistics are then left as they are.
func buildNetOn[T kernel.Float](c networkConfig, batch int, fixed bool, owner *netOf[T]) (*netBuilder[T], error) {
	if err := c.Architecture.Validate(); err != nil {
		return nil, err
	}
	c.Architecture = c.Architecture.Clone()
	parameters := c.Architecture.Parameters()
	head, headParameters, err := headOf(c.Architecture.OutputDim(), c.Head)
	if err != nil {
		return nil, err
	}
	dim := flatDim(c.Architecture.OutputDim(), head)
	predictor, predictorParameters, err := flatLayersOf("predictor", dim, c.Target.Predictor)
	if err != nil {
		return nil, err
	}
	if to := flatDim(dim, predictor); to != dim {
		return nil, optionError("predictor", fmt.Sprintf("of %d values", to), fmt.Sprintf("one that leaves %d, as many as enter", dim))
	}
	g := newGraph[T](c.Threads)
	g.precision, g.dense, g.guest = c.Precision, c.MultiView.Crops > 0, owner != nil
	n := &netOf[T]{config: c, graph: g, batch: batch}
	n.config.Weights = nil
	b := &netBuilder[T]{net: n, byName: map[string]*parameter[T]{}, fixed: fixed}
	for _, p := range slices.Concat(parameters, headParameters, predictorParameters) {
		t, ok := c.Weights[p.Name]
		if !ok || !slices.Equal(t.Shape, p.Shape) || len(t.Data) != p.Len() {
			return nil, fmt.Errorf("build the training graph: no weights %s of shape %v", p.Name, p.Shape)
		}
		trainable := p.Trainable() && !fixed
		q := &parameter[T]{trainable: trainable, changes: !p.Layer.Frozen, decays: p.Role == embedder.RoleWeight}
		if owner != nil {
			q.variable = g.leafOn(owner.parameters[len(n.parameters)].data, p.Name, trainable, p.Shape...)
		} else {
			q.variable = g.leaf(p.Name, trainable, p.Shape...)
			for i, v := range t.Data {
				q.data[i] = T(v)
			}
		}
		b.byName[p.Name] = q
		n.parameters = append(n.parameters, q)
	}
	x, first, err := b.begin()
	if err != nil {
		return nil, err
	}
	if n.embeddings, err = b.layers("layers", c.Architecture.Layers, first, x, nil); err != nil {
		return nil, err
	}
	n.embeddings.root().keep = true
	if b.headOutput, err = b.layers("head", head, 0, n.embeddings, nil); err != nil {
		return nil, err
	}
	b.lossInput, err = b.layers("predictor", predictor, 0, b.headOutput, nil)
	return b, err
}

// addTargets adds the loss of queries against their targets.
func (b *netBuilder[T]) addTargets(c networkConfig) (err error) {
	n := b.net
	size := c.Architecture.InputShape().Len()
	t := &targets[T]{images: c.Rows * c.Groups, imageLen: size}
	t.scorer = newTargetScorer[T](c.Target, c.Groups, b.lossInput.shape[1], c.Threads)
	trained := b.headOutput
	if c.Target.Target == TargetMomentum {
		trained = nil
		t.keys = make([]T, len(t.scorer.keys))
		if t.momentum, err = newMomentumEncoder(c, n, t.scorer.queries); err != nil {
			return err
		}
	}
	n.targets = t
	n.loss, err = addTargetLoss(n.graph, t.scorer, b.lossInput, trained, &n.report)
	return err
}

// layers adds layers to the graph, from the given one on, and returns what they make of x. A ReLU is fused into the layer
// before it. Where they are the body of a residual layer that ends in a batch normalisation, r lets that add the layer's
// input; it is nil otherwise.
func (b *netBuilder[T]) layers(prefix string, layers []embedder.Layer, first int, x *variable[T], r *residual[T]) (*variable[T], error) {
	g := b.net.graph
	for i := first; i < len(layers); i++ {
		l := layers[i]
		name := fmt.Sprintf("%s.%d", prefix, i)
		relu := false
		switch l.Kind {
		case embedder.Conv, embedder.Linear, embedder.BatchNorm, embedder.MaxPool, embedder.Residual:
			for i+1 < len(layers) && layers[i+1].Kind == embedder.ReLU {
				i++
				relu = true
			}
		}
		parameter := func(what string) *parameter[T] { return b.byName[name+"."+what] }
		var err error
		switch l.Kind {
		case embedder.Conv:
			shape := kernel.ConvShape{
				In: b.channels, Out: l.Out, H: x.shape[2], W: x.shape[3],
				Kernel: l.Kernel, Stride: l.StrideOrOne(), Pad: l.Pad, Dilation: l.DilationOrOne(),
			}
			b.channels = l.Out
			x, err = addConv(g, name, shape, x, parameter("weight"), parameter("bias"), relu)
		case embedder.Linear:
			x, err = addLinear(g, name, x, parameter("weight"), parameter("bias"), relu)
		case embedder.BatchNorm:
			last := r
			if i < len(layers)-1 {
				last = nil
			}
			x, err = addBatchNorm(g, name, x, parameter("weight"), parameter("bias"),
				parameter("running_mean"), parameter("running_var"), b.fixed || l.Frozen, relu, last)
		case embedder.ReLU:
			x, err = addReLU(g, name, x)
		case embedder.MaxPool:
			x, err = addMaxPool(g, name, x, l.Kernel, l.StrideOrOne(), relu)
		case embedder.GlobalMean:
			x, err = addGlobalMean(g, name, x, b.channels)
		case embedder.Flatten:
			x, err = addFlatten(g, name, x, b.channels)
		case embedder.L2Norm:
			x, err = addL2Norm(g, name, x)
		case embedder.Residual:
			r := &residual[T]{graph: g, name: name}
			var body *variable[T]
			if body, err = r.fork(x); err != nil {
				break
			}
			if !relu && endsInBatchNorm(l.Body) {
				x, err = b.layers(name+".body", l.Body, 0, body, r)
				break
			}
			if body, err = b.layers(name+".body", l.Body, 0, body, nil); err != nil {
				break
			}
			x, err = r.join(body, relu)
		default:
			err = fmt.Errorf("build the training graph: %s: kind %q", name, l.Kind)
		}
		if err != nil {
			return nil, err
		}
	}
	return x, nil
}

// endsInBatchNorm reports whether the last layer, ReLU apart, is a batch normalisation.
func endsInBatchNorm(layers []embedder.Layer) bool {
	for len(layers) > 0 && layers[len(layers)-1].Kind == embedder.ReLU {
		layers = layers[:len(layers)-1]
	}
	return len(layers) > 0 && layers[len(layers)-1].Kind == embedder.BatchNorm
}

// headArchitecture returns an architecture whose layers from the third one on are those of a projection head, or a
// predictor, on rows of dim values: so they are checked, and get their first weights, as an architecture does.
func headArchitecture(dim int, head []embedder.Layer) embedder.Architecture {
	return embedder.Architecture{
		InputSize: 1,
		Std:       [3]float32{1, 1, 1},
		Layers: append([]embedder.Layer{
			{Kind: embedder.Conv, Out: dim, Kernel: 1},
			{Kind: embedder.Flatten},
		}, head...),
	}.Clone()
}

// flatDim returns the number of values that flat layers leave of dim values; 0 where they are not valid.
func flatDim(dim int, layers []embedder.Layer) int {
	if len(layers) == 0 {
		return dim
	}
	return headArchitecture(dim, layers).OutputDim()
}

// flatName renames a parameter of headArchitecture to what it is called here: "head.0.weight" for "layers.2.weight" and
// the prefix "head". Parameters that are not the head's give "".
func flatName(prefix, name string) string {
	number, rest, _ := strings.Cut(strings.TrimPrefix(name, "layers."), ".")
	index, err := strconv.Atoi(number)
	if err != nil || index < 2 {
		return ""
	}
	return fmt.Sprintf("%s.%d.%s", prefix, index-2, rest)
}

// headOf checks a projection head and returns its layers and its parameters.
func headOf(dim int, head []embedder.Layer) ([]embedder.Layer, []embedder.Parameter, error) {
	return flatLayersOf("head", dim, head)
}

// flatLayersOf checks flat layers and returns them and their parameters, whose names begin with the prefix.
func flatLayersOf(prefix string, dim int, layers []embedder.Layer) ([]embedder.Layer, []embedder.Parameter, error) {
	if len(layers) == 0 {
		return nil, nil, nil
	}
	a := headArchitecture(dim, layers)
	if err := a.Validate(); err != nil {
		return nil, nil, fmt.Errorf("%s (its layers counted from 2): %w", prefix, err)
	}
	var parameters []embedder.Parameter
	for _, p := range a.Parameters() {
		if p.Name = flatName(prefix, p.Name); p.Name != "" {
			parameters = append(parameters, p)
		}
	}
	return a.Layers[2:], parameters, nil
}

// initHeadWeights draws the first weights of a projection head on embeddings of dim values, to be put beside those of
// the architecture in networkConfig.Weights: "head.0.weight" and so on.
func initHeadWeights(dim int, head []embedder.Layer, rng *rand.Rand) embedder.Weights {
	return initFlatWeights("head", dim, head, rng)
}

// initFlatWeights draws the first weights of flat layers on dim values.
func initFlatWeights(prefix string, dim int, layers []embedder.Layer, rng *rand.Rand) embedder.Weights {
	out := embedder.Weights{}
	if len(layers) == 0 {
		return out
	}
	for name, t := range embedder.InitWeights(headArchitecture(dim, layers), rng) {
		if name = flatName(prefix, name); name != "" {
			out[name] = t
		}
	}
	return out
}

// inputLen returns the number of values of a batch of images, crops included.
func (n *netOf[T]) inputLen() int {
	switch {
	case n.crops != nil:
		return n.imagesLen() + n.crops.imagesLen()
	case n.targets != nil:
		return n.imagesLen() / n.batch * n.targets.images
	}
	return n.imagesLen()
}

// imagesLen returns the number of values of the images that go through the net's own graph.
func (n *netOf[T]) imagesLen() int {
	return n.batch * 3 * n.config.Architecture.InputSize * n.config.Architecture.InputSize
}

// setInput takes normalised images [N, 3, S, S], and crops behind them, to where the graph wants them, and makes targets
// of those that are none of its own.
func (n *netOf[T]) setInput(images []T) error {
	if len(images) != n.inputLen() {
		return fmt.Errorf("training step: input of %d values: must be %d", len(images), n.inputLen())
	}
	if n.crops != nil {
		if err := n.crops.setInput(images[n.imagesLen():]); err != nil {
			return err
		}
		images = images[:n.imagesLen()]
	}
	if n.targets != nil {
		var err error
		if images, err = n.targets.setKeys(images); err != nil {
			return err
		}
	}
	if n.front != nil {
		return n.front.run(n.batch, any(images).([]float32), any(n.input.data).([]float32))
	}
	size, blocked := len(images)/n.batch, n.input.len()/n.batch
	kernel.Parallel(n.graph.threads, n.batch, func(i int) {
		block(1, 3, size/3, images[i*size:][:size], n.input.data[i*blocked:][:blocked])
	})
	return nil
}

// step computes loss and gradients of a batch and moves the weights down. input is [Rows*Groups, 3, S, S]: all anchors,
// then all positives, then, with three rows, all negatives or third views, and so on; then the small crops, [Crops*Groups,
// 3, C, C], the first one of each group first. It is not kept. Where the loss is not finite, the weights
// stay as they are and the error wraps [ErrDiverged]; running statistics have taken in the batch by then.
func (n *netOf[T]) step(input []T, rate float64) (stepResult, error) {
	if err := n.setInput(input); err != nil {
		return stepResult{}, err
	}
	if err := n.run(); err != nil {
		return stepResult{}, fmt.Errorf("training step: %w", err)
	}
	r := n.result()
	if math.IsNaN(r.Loss) || math.IsInf(r.Loss, 0) {
		return r, fmt.Errorf("%w: the loss is %v", ErrDiverged, r.Loss)
	}
	n.solver.rate, n.solver.zero = rate, n.graph.noGradient
	if err := n.solver.Step(n.model); err != nil {
		return r, err
	}
	if n.averager != nil {
		n.averager.step()
	}
	if n.targets != nil {
		return r, n.targets.finish()
	}
	return r, nil
}

func (n *netOf[T]) result() stepResult {
	return stepResult{
		Loss:             n.report.loss,
		Active:           n.report.active,
		PositiveDistance: n.report.positive,
		NegativeDistance: n.report.negative,
		Spread:           spread(n.embeddings.data, n.embeddings.shape[1]),
	}
}

// spread returns the mean over the columns of x [n, dim] of the standard deviation.
func spread[T kernel.Float](x []T, dim int) float64 {
	n := float64(len(x) / dim)
	sums, squares := make([]float64, dim), make([]float64, dim)
	for i := 0; i < len(x); i += dim {
		for j, v := range x[i : i+dim] {
			sums[j] += float64(v)
			squares[j] += float64(v) * float64(v)
		}
	}
	var total float64
	for j, s := range sums {
		mean := s / n
		total += math.Sqrt(max(squares[j]/n-mean*mean, 0))
	}
	return total / float64(dim)
}

func tensorOf[T kernel.Float](shape []int, data []T) embedder.Tensor {
	t := embedder.NewTensor(shape...)
	for i, v := range data {
		t.Data[i] = float32(v)
	}
	return t
}

// close frees what gorgonia holds. The network must not be used any more.
func (n *netOf[T]) close() error {
	err := n.graph.close()
	if n.crops != nil {
		err = errors.Join(err, n.crops.graph.close())
	}
	if n.targets != nil {
		err = errors.Join(err, n.targets.close())
	}
	return err
}

// errAllFrozen is what comes of nothing to train.
var errAllFrozen = errors.New("build the training graph: all layers are frozen")
