package training

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"imgsearch/embedder"
	"imgsearch/internal/kernel"
)

// streamPredictor is that of the predictor's first weights.
const streamPredictor stream = 64

// predictorPrefix begins the names of the predictor's parameters.
const predictorPrefix = "predictor."

// predictor reports whether only queries see the parameter.
func (p *parameter[T]) predictor() bool { return strings.HasPrefix(p.name, predictorPrefix) }

// momentumEncoder is a net whose weights are an exponential moving average of the trained net's.
type momentumEncoder[T kernel.Float] struct {
	keyNet[T]
	threads    int
	decay      float64
	decayToOne bool
	done       float64 // the share of the run that is behind
	updates    int     // at most rampUpdates
	pieces     []momentumPiece[T]
	frozen     []momentumPiece[T] // whole parameters that training leaves as they are
	names      []string
	shapes     [][]int
	averaged   [][]T // by name: what of the net changes in training
}

// keyNet runs the averaged net.
type keyNet[T kernel.Float] interface {
	// dim is the number of values that it makes of an image.
	dim() int
	// parameter returns the values of the parameter of that name, to be changed in place.
	parameter(name string) []T
	// refresh takes in changes of parameters.
	refresh() error
	// embed writes what the net makes of images, [n, 3, S, S], to out.
	embed(images, out []T) error
	close() error
}

// momentumPiece is a piece of a parameter that one thread averages: small enough to stay in the cache between two passes.
type momentumPiece[T kernel.Float] struct{ averaged, trained []T }

const (
	// momentumPieceLen is the number of values of a piece.
	momentumPieceLen = 1 << 12
	// rampUpdates is the number of updates from which on the decay is not lowered any more, that of the largest decay below
	// 1 being hardly touched; the number is exact in float32.
	rampUpdates = 1 << 24
	// rampOffset says how soon first weights are forgotten.
	rampOffset = 10
)

// newMomentumEncoder starts with the weights of the config. n is the net that is trained.
func newMomentumEncoder[T kernel.Float](c networkConfig, n *netOf[T], images int) (*momentumEncoder[T], error) {
	net, err := newKeyNet[T](c, images)
	if err != nil {
		return nil, err
	}
	m := &momentumEncoder[T]{keyNet: net, threads: n.graph.threads, decay: c.Target.Decay, decayToOne: c.Target.DecayToOne}
	for _, p := range n.parameters {
		if p.predictor() {
			continue
		}
		averaged := net.parameter(p.name)
		if !p.changes {
			m.frozen = append(m.frozen, momentumPiece[T]{averaged, p.data})
			continue
		}
		m.names, m.shapes, m.averaged = append(m.names, p.name), append(m.shapes, p.shape), append(m.averaged, averaged)
		for from := 0; from < p.len(); from += momentumPieceLen {
			to := min(p.len(), from+momentumPieceLen)
			m.pieces = append(m.pieces, momentumPiece[T]{averaged[from:to], p.data[from:to]})
		}
	}
	return m, net.refresh()
}

// share returns how much of the averaged weights the next update keeps.
func (m *momentumEncoder[T]) share() float64 {
	d := m.decay
	if m.decayToOne {
		d = 1 - (1-d)*(1+math.Cos(math.Pi*m.done))/2
	}
	return min(d, float64(m.updates)/float64(m.updates+rampOffset))
}

// update moves the averaged weights towards the trained ones.
func (m *momentumEncoder[T]) update() error {
	keep := m.share()
	kernel.ParallelPieces(m.threads, len(m.pieces), 1, func(_, from, to int) {
		for _, p := range m.pieces[from:to] {
			kernel.Scale(T(keep), p.averaged)
			kernel.Axpy(T(1-keep), p.trained, p.averaged)
		}
	})
	m.updates = min(m.updates+1, rampUpdates)
	return m.refresh()
}

// restored takes in that the averaged weights, and the trained net's, have become others.
func (m *momentumEncoder[T]) restored() error {
	for _, p := range m.frozen {
		copy(p.averaged, p.trained)
	}
	return m.refresh()
}

// newKeyNet returns the inference path of package embedder for float32, a graph for float64. Its weights are the
// config's.
func newKeyNet[T kernel.Float](c networkConfig, images int) (keyNet[T], error) {
	c.Target = TargetOptions{}
	if any(T(0)) == any(float32(0)) {
		fast, err := newFastKeys(c)
		if err != nil {
			return nil, err
		}
		return any(fast).(keyNet[T]), nil
	}
	return newPlainKeys[T](c, images)
}

// fastKeys runs the net as inference does, a few images at a time.
type fastKeys struct {
	inference *embedder.Inference
	weights   embedder.Weights
	imageLen  int
}

func newFastKeys(c networkConfig) (*fastKeys, error) {
	inference, err := embedder.NewInference(c.Architecture, embedder.InferenceOptions{
		Head: c.Head, BFloat16: c.Precision == BFloat16, Threads: c.Threads,
	})
	if err != nil {
		return nil, fmt.Errorf("set up the momentum encoder: %w", err)
	}
	return &fastKeys{inference: inference, weights: c.Weights.Clone(), imageLen: c.Architecture.InputShape().Len()}, nil
}

func (k *fastKeys) dim() int { return k.inference.Dim() }

func (k *fastKeys) parameter(name string) []float32 { return k.weights[name].Data }

func (k *fastKeys) refresh() error {
	if err := k.inference.SetWeights(k.weights); err != nil {
		return fmt.Errorf("%w: momentum encoder: %w", ErrDiverged, err)
	}
	return nil
}

func (k *fastKeys) embed(images, out []float32) error {
	k.inference.Run(len(images)/k.imageLen, images, out)
	return nil
}

func (k *fastKeys) close() error { return nil }

// plainKeys runs a graph that is not trained.
type plainKeys[T kernel.Float] struct {
	net *netOf[T]
	out *variable[T]
}

func newPlainKeys[T kernel.Float](c networkConfig, images int) (*plainKeys[T], error) {
	b, err := buildNet[T](c, images, true)
	if err != nil {
		return nil, err
	}
	b.lossInput.root().keep = true
	return &plainKeys[T]{b.net, b.lossInput}, b.net.graph.compile()
}

func (k *plainKeys[T]) dim() int { return k.out.shape[1] }

func (k *plainKeys[T]) parameter(name string) []T {
	i := slices.IndexFunc(k.net.parameters, func(p *parameter[T]) bool { return p.name == name })
	return k.net.parameters[i].data
}

func (k *plainKeys[T]) refresh() error { return nil }

func (k *plainKeys[T]) embed(images, out []T) error {
	if err := k.net.setInput(images); err != nil {
		return err
	}
	if err := k.net.graph.runAll(); err != nil {
		return fmt.Errorf("momentum encoder: %w", err)
	}
	copy(out, k.out.data)
	return nil
}

func (k *plainKeys[T]) close() error { return k.net.close() }

// targets joins the parts of [TargetOptions] in a net.
type targets[T kernel.Float] struct {
	scorer   *targetScorer[T]
	momentum *momentumEncoder[T] // nil without averaged weights
	keys     []T                 // of the images of a batch that the momentum encoder makes keys of
	images   int                 // of a batch, all views
	imageLen int
	at       []T // what [targets.tensors] shows of the numbers
}

// setKeys computes the targets of a batch of all views, where they do not come from the graph, and returns the views that
// are queries.
func (t *targets[T]) setKeys(images []T) ([]T, error) {
	if t.momentum == nil {
		return images, nil
	}
	s := t.scorer
	half := s.groups * t.imageLen
	if s.queries == s.groups {
		if err := t.momentum.embed(images[half:], t.keys); err != nil {
			return nil, err
		}
		s.setKeys(t.keys)
		return images[:half], nil
	}
	if err := t.momentum.embed(images, t.keys); err != nil {
		return nil, err
	}
	s.setKeysOfBoth(t.keys)
	return images, nil
}

// finish ends a step, once the trained weights have moved.
func (t *targets[T]) finish() error {
	t.scorer.enqueue()
	if t.momentum == nil {
		return nil
	}
	return t.momentum.update()
}

func (t *targets[T]) close() error {
	if t.momentum == nil {
		return nil
	}
	return t.momentum.close()
}

// momentumPrefix names an averaged parameter in [network.state].
const momentumPrefix = "momentum."

// tensors returns what of the targets the steps to come depend on; [targets.restored] must be called after changes.
func (t *targets[T]) tensors() []stateTensor[T] {
	t.at = make([]T, 3)
	out := []stateTensor[T]{{"targets", []int{len(t.at)}, t.at}}
	if m := t.momentum; m != nil {
		t.at[0] = T(m.updates)
		for i, name := range m.names {
			out = append(out, stateTensor[T]{momentumPrefix + name, m.shapes[i], m.averaged[i]})
		}
	}
	if q := t.scorer.queue; q != nil {
		t.at[1], t.at[2] = T(q.next), T(q.count)
		out = append(out, stateTensor[T]{"queue", []int{q.capacity, q.dim}, q.data})
	}
	return out
}

// check reports numbers, as tensors shows them, that no run leaves.
func (t *targets[T]) check(state embedder.Weights) error {
	at := state["targets"].Data // its shape has been checked
	limits := [3]int{}
	if t.momentum != nil {
		limits[0] = rampUpdates
	}
	if q := t.scorer.queue; q != nil {
		limits[1], limits[2] = q.capacity-1, q.capacity
	}
	for i, v := range at {
		if !(v >= 0 && v <= float32(limits[i])) || v != float32(int(v)) {
			return fmt.Errorf("restore the training state: number %d of the targets is %v: must be whole and 0 to %d", i, v, limits[i])
		}
	}
	return nil
}

// restored takes in what was written to the memory of tensors.
func (t *targets[T]) restored() error {
	if q := t.scorer.queue; q != nil {
		q.next, q.count = int(t.at[1]), int(t.at[2])
	}
	if t.momentum == nil {
		return nil
	}
	t.momentum.updates = int(t.at[0])
	return t.momentum.restored()
}

// advance tells the net which share of the run is behind it.
func (n *netOf[T]) advance(done float64) {
	if n.targets != nil && n.targets.momentum != nil {
		n.targets.momentum.done = done
	}
}

// advance tells the net how far the run is, where it wants to know.
func (t *trainer) advance() {
	if n, ok := t.net.(interface{ advance(done float64) }); ok {
		n.advance(float64(t.at.Step) / float64(t.at.Steps))
	}
}
