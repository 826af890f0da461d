package training

import (
	"fmt"
	"math"

	"imgsearch/embedder"
)

// heldBackGroups is the most pairs or triplets whose held-back loss is computed at a time where it does not depend on
// how many there are.
const heldBackGroups = 256

// heldBackLoss is the training's loss on embeddings of held-back images.
type heldBackLoss struct {
	options LossOptions
	head    []embedder.Layer
	batch   int
	threads int
}

// of returns the mean loss over batches of the anchors' and the positives' embeddings, [n, dim], as large as the
// training's, or all images where these are fewer; what is left of the images goes without. Negatives that the
// loss wants to be given are the anchors of the next groups. It is nil where there is no such loss, or too few images, or where it is
// no finite number.
func (l *heldBackLoss) of(anchors, positives []float32, dim int, weights embedder.Weights) (*float64, error) {
	if l.options == (LossOptions{}) { // there are targets instead
		return nil, nil
	}
	n := len(anchors) / dim
	rows, groups := l.options.rows(), min(l.batch, n)
	if rows == 3 {
		groups = min(heldBackGroups, n)
	}
	if groups < 2 {
		return nil, nil
	}
	head, err := newHeadNet(dim, l.head, weights, rows*groups, l.threads)
	if err != nil {
		return nil, err
	}
	defer head.close()
	s := newScorer[float32](l.options, groups, head.output.shape[1], l.threads)
	var total float64
	batches := 0
	for from := 0; from+groups <= n; from += groups {
		size := groups * dim
		a, p := anchors[from*dim:][:size], positives[from*dim:][:size]
		in := head.input.data
		copy(in, a)
		copy(in[size:], p)
		if rows == 3 {
			copy(in[2*size:], a[dim:])
			copy(in[3*size-dim:], a[:dim])
		}
		if err := head.run(); err != nil {
			return nil, err
		}
		total += s.score(head.output.data).loss
		batches++
	}
	loss := total / float64(batches)
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
		return nil, nil
	}
	return &loss, nil
}

// headNet applies a projection head to embeddings, with running statistics.
type headNet struct {
	net           *network
	input, output *variable[float32] // [rows, dim]; the same where there is no head
}

func newHeadNet(dim int, head []embedder.Layer, weights embedder.Weights, rows, threads int) (*headNet, error) {
	layers, parameters, err := headOf(dim, head)
	if err != nil {
		return nil, err
	}
	n := &network{graph: newGraph[float32](threads)}
	b := &netBuilder[float32]{net: n, byName: map[string]*parameter[float32]{}, fixed: true}
	for _, p := range parameters {
		t, ok := weights[p.Name]
		if !ok || len(t.Data) != p.Len() {
			return nil, fmt.Errorf("build the projection head: no weights %s of shape %v", p.Name, p.Shape)
		}
		q := &parameter[float32]{variable: n.graph.leaf(p.Name, false, p.Shape...)}
		copy(q.data, t.Data)
		b.byName[p.Name] = q
	}
	h := &headNet{net: n, input: n.graph.leaf("embeddings", false, rows, dim)}
	if h.output, err = b.layers("head", layers, 0, h.input, nil); err != nil {
		return nil, err
	}
	h.output.root().keep = true
	if h.output == h.input {
		return h, nil
	}
	return h, n.graph.compile()
}

func (h *headNet) run() error {
	if h.output == h.input {
		return nil
	}
	return h.net.graph.runAll()
}

func (h *headNet) close() {
	if h.output != h.input {
		_ = h.net.close()
	}
}
