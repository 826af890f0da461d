package training

import (
	"math"
	"strings"

	"imgsearch/internal/kernel"
)

// Loss names what scores the embeddings of a batch.
type Loss string

const (
	// LossTriplet is the triplet margin loss, max(d(a,p) - d(a,n) + margin, 0) with the Euclidean distance d (Balntas et
	// al. 2016), for the triplets that a [Miner] picks: its mean over them, and with [MinerAll] its mean over those that
	// are not zero (Hermans et al. 2017, arXiv 1703.07737).
	LossTriplet Loss = "triplet"
	// LossSmoothTriplet is a triplet loss without margin that sees all negatives at once: the mean over all anchors of
	// log(1 + sum over negatives n of exp((d(a,p) - d(a,n)) / Temperature)), that is, softplus of log-sum-exp. The net
	// should end in L2Norm.
	LossSmoothTriplet Loss = "smooth-triplet"
	// LossNTXent is the normalised temperature-scaled cross entropy of SimCLR (Chen et al. 2020, arXiv 2002.05709,
	// equation 1) over cosine similarities: each image's positive against all others of the batch.
	LossNTXent Loss = "nt-xent"
	// LossDecoupledNTXent is LossNTXent with the positive left out of the denominator (Yeh et al. 2021, arXiv 2110.06848,
	// equation 6): a pair that lies close together keeps its pull, so small batches lose less. It can be below 0.
	LossDecoupledNTXent Loss = "decoupled-nt-xent"
	// LossAlignUniform is alignment plus uniformity (Wang & Isola 2020, arXiv 2005.10242, section 4.1) of embeddings taken at
	// length 1: the mean of d(a,p)^2, plus [LossWeights].Uniformity times the logarithm of the mean of exp(-2 d^2). The
	// latter mean is over all pairs of views of different images, also those of one anchor and one positive, where the
	// paper's program takes each set of views by itself: as many more pairs of the same kind. It is 0 where all are equal
	// and below 0 elsewhere.
	LossAlignUniform Loss = "align-uniform"
	// LossVICReg is variance-invariance-covariance regularisation (Bardes et al. 2021, arXiv 2105.04906, algorithm 1): for
	// outputs of length at will, dim by dim, with the weights Invariance, Variance and Covariance of [LossWeights] on three
	// terms: the mean squared difference of anchor and positive; how far the standard deviation of each dimension over the
	// batch, sqrt(variance + 0.0001), falls short of 1; the squared covariances of different dimensions, summed and divided by
	// dim. As in the authors' program the second term is the mean over anchors and positives and the third the sum.
	//
	// No image is a negative. What it sees must not be scaled to length 1, where no dimension can reach a deviation of 1: it
	// is meant for the outputs of a projection head, see [Options].Head.
	LossVICReg Loss = "vicreg"
	// LossBarlowTwins is that of Barlow Twins (Zbontar et al. 2021, arXiv 2103.03230, equation 1), divided by dim so that
	// one learning rate serves all: with C the correlations over the batch of the anchors' dimensions with the positives',
	// the sum of (1 - C_ii)^2 plus [LossWeights].Redundancy times the sum of C_ij^2 for different i and j. Variances have 1e-5
	// added, as in batch normalisation. Like [LossVICReg] it has no negatives and is meant for the outputs of a projection
	// head.
	LossBarlowTwins Loss = "barlow-twins"
	// LossMSE is the mean squared difference between anchor and positive. Nothing holds embeddings apart: it collapses,
	// and is there to show that.
	LossMSE Loss = "mse"
	// LossL1 is the mean absolute difference between anchor and positive. It collapses as LossMSE does.
	LossL1 Loss = "l1"
	// LossEMP is that of EMP-SSL (Tong et al. 2023, arXiv 2304.03977, equation 5): all views of an image are drawn to
	// their mean, and what holds images apart is the volume that the embeddings of each view fill over the batch. See
	// [EMPOptions]. It is meant for many views: see [MultiViewOptions].
	LossEMP Loss = "emp"
)

// Losses returns all losses.
func Losses() []Loss {
	return []Loss{LossTriplet, LossSmoothTriplet, LossNTXent, LossDecoupledNTXent, LossAlignUniform, LossVICReg, LossBarlowTwins,
		LossMSE, LossL1, LossEMP}
}

// LossOptions says which loss is trained on.
type LossOptions struct {
	// Loss scores the embeddings.
	Loss Loss `json:"loss"`
	// Miner picks the triplets of [LossTriplet]; the other losses have none and want it empty.
	Miner Miner `json:"miner,omitempty"`
	// Margin is by how much the negative of [LossTriplet] should be further off than the positive, as a Euclidean
	// distance: 0 to 1000. With the other losses it only counts for the share of active triplets that is reported.
	Margin float64 `json:"margin,omitempty"`
	// Temperature divides distances ([LossSmoothTriplet]) or similarities ([LossNTXent], [LossDecoupledNTXent]): 0.001 to
	// 1000. Lower ones make the nearest negatives count for more. The other losses want 0.
	Temperature float64 `json:"temperature,omitempty"`
	// Weights are those of the terms of [LossAlignUniform], [LossVICReg] and [LossBarlowTwins]; the other losses want none.
	Weights LossWeights `json:"weights,omitzero"`
	// EMP says more about [LossEMP].
	EMP EMPOptions `json:"emp,omitzero"`
}

// validate names the first field that is out of range.
func (o LossOptions) validate() error {
	usesTemperature := false
	switch o.Loss {
	case LossTriplet:
		switch o.Miner {
		case MinerRandom, MinerSemiHard, MinerHard, MinerAll:
		default:
			return optionError("miner", string(o.Miner), "random, semi-hard, hard or all with the triplet loss")
		}
	case LossSmoothTriplet, LossNTXent, LossDecoupledNTXent:
		usesTemperature = true
	case LossAlignUniform, LossVICReg, LossBarlowTwins, LossMSE, LossL1, LossEMP:
	default:
		return optionError("loss", string(o.Loss), lossNames())
	}
	if err := o.EMP.validate(o.Loss); err != nil {
		return err
	}
	if o.Loss != LossTriplet && o.Miner != "" {
		return optionError("miner", string(o.Miner), "empty: only the triplet loss has miners")
	}
	if !(o.Margin >= 0 && o.Margin <= 1000) { // written so that NaN fails
		return optionError("margin", o.Margin, "0 to 1000")
	}
	if usesTemperature && !(o.Temperature >= 0.001 && o.Temperature <= 1000) {
		return optionError("temperature", o.Temperature, "0.001 to 1000")
	}
	if !usesTemperature && o.Temperature != 0 {
		return optionError("temperature", o.Temperature, "0: only smooth-triplet, nt-xent and decoupled-nt-xent have one")
	}
	return o.Weights.validate(o.Loss)
}

// lossNames lists the losses in words.
func lossNames() string {
	var names []string
	for _, l := range Losses() {
		names = append(names, string(l))
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

// onUnits reports whether the loss takes embeddings at length 1, whatever their length is.
func (o LossOptions) onUnits() bool {
	return o.Loss == LossNTXent || o.Loss == LossDecoupledNTXent || o.Loss == LossAlignUniform
}

// onColumns reports whether the loss compares dimensions over the batch, and so needs outputs of length at will.
func (o LossOptions) onColumns() bool { return o.Loss == LossVICReg || o.Loss == LossBarlowTwins }

// rows returns the number of images in a group: anchor, positive and, for [MinerRandom], the negative.
func (o LossOptions) rows() int {
	if o.Loss == LossTriplet && o.Miner == MinerRandom {
		return 3
	}
	return 2
}

// scores is what a loss tells of a batch.
type scores struct {
	loss float64
	// active is the share of all triplets of the batch, whether or not the miner picks them, whose triplet margin loss
	// is above zero; NaN for LossMSE and LossL1, which keep nothing apart.
	active float64
	// positive and negative are the mean distances of anchors to their positives and to their negatives.
	positive, negative float64
}

// scorer computes a loss and its gradient. Embeddings are [rows*groups, dim]: all anchors, all positives, and with three
// rows all negatives. With two rows every embedding is an anchor in its turn, its positive being the other view of its
// image, its negatives all embeddings of the other images.
type scorer[T kernel.Float] struct {
	options           LossOptions
	rows, groups, dim int
	threads           int
	gradient          []T // [rows*groups, dim], of the last call of score

	// For two rows; n is 2*groups.
	distances []T // [n, n]
	weights   []T // [n, n]: the derivative of the loss by each distance or similarity
	each      []anchorScores
	unit      []T // [n, dim], losses on units: embeddings of length 1
	unitGrad  []T
	scale     []T
	picked    [][]int32   // of each thread
	columns   *columns[T] // losses on columns

	many *manyScorer[T] // nil where there are two views, or a negative with them
}

// anchorScores are the sums over the triplets of one anchor.
type anchorScores struct {
	loss, positive, negative float64
	active, picked           int
}

func newScorer[T kernel.Float](o LossOptions, groups, dim, threads int) *scorer[T] {
	return newScorerOf[T](o, MultiViewOptions{}, groups, dim, threads)
}

// newScorerOf is newScorer for any number of views.
func newScorerOf[T kernel.Float](o LossOptions, m MultiViewOptions, groups, dim, threads int) *scorer[T] {
	s := &scorer[T]{options: o.complete(), rows: o.rows(), groups: groups, dim: dim, threads: kernel.Threads(threads)}
	if m.many() || o.Loss == LossEMP {
		s.many = newManyScorer[T](o, m, groups, dim, threads)
		s.gradient = s.many.gradient
		return s
	}
	s.gradient = make([]T, s.rows*groups*dim)
	if s.rows == 2 {
		n := 2 * groups
		s.distances, s.weights = make([]T, n*n), make([]T, n*n)
		s.each = make([]anchorScores, n)
		s.picked = make([][]int32, s.threads)
		for i := range s.picked {
			s.picked[i] = make([]int32, 0, n)
		}
	}
	if o.onUnits() {
		s.unit, s.unitGrad, s.scale = make([]T, 2*groups*dim), make([]T, 2*groups*dim), make([]T, 2*groups)
	}
	if o.onColumns() {
		s.columns = newColumns[T](groups, dim, threads)
	}
	return s
}

// score computes the loss of a batch, and its gradient into s.gradient.
func (s *scorer[T]) score(embeddings []T) scores {
	switch {
	case s.many != nil:
		return s.many.score(embeddings)
	case s.rows == 3:
		return s.explicitTriplets(embeddings)
	}
	switch s.options.Loss {
	case LossNTXent, LossDecoupledNTXent:
		return s.ntXent(embeddings)
	case LossAlignUniform:
		return s.alignUniform(embeddings)
	case LossVICReg:
		return s.vicReg(embeddings)
	case LossBarlowTwins:
		return s.barlowTwins(embeddings)
	case LossMSE, LossL1:
		return s.pull(embeddings)
	}
	return s.batchTriplets(embeddings)
}

// positiveOf returns the other view of an image.
func (s *scorer[T]) positiveOf(i int) int { return (i + s.groups) % (2 * s.groups) }

// measure fills s.distances and what the anchors tell of them. score, which may be nil, is then called with each anchor
// and its row of distances; it returns its loss and how many triplets it picked.
func (s *scorer[T]) measure(embeddings []T, score func(worker, i int, distances []T) (loss float64, picked int)) {
	n := 2 * s.groups
	kernel.ParallelPieces(s.threads, n, 16, func(worker, from, to int) {
		for i := from; i < to; i++ {
			row := s.distances[i*n:][:n]
			rowDistances(embeddings, s.dim, i, row)
			s.each[i] = s.observe(i, row)
			if score != nil {
				s.each[i].loss, s.each[i].picked = score(worker, i, row)
			}
		}
	})
}

// observe returns what an anchor's distances tell, the loss apart.
func (s *scorer[T]) observe(i int, row []T) anchorScores {
	p := s.positiveOf(i)
	own, positive := row[i], row[p]
	a := anchorScores{positive: float64(positive)}
	row[i], row[p] = 0, 0
	a.negative = float64(kernel.Sum(row))
	bound := activeBound(positive, s.options.Margin)
	row[i], row[p] = T(math.Inf(1)), T(math.Inf(1))
	a.active = kernel.CountBelow(row, bound)
	row[i], row[p] = own, positive
	return a
}

// activeBound returns the value below which the distances of negatives make active triplets: of values of type T, those
// that are below the positive's plus the margin are below this one.
func activeBound[T kernel.Float](positive T, margin float64) T {
	exact := float64(positive) + margin
	bound := T(exact)
	if float64(bound) < exact {
		bound = T(math.Nextafter32(float32(bound), float32(math.Inf(1))))
	}
	return bound
}

// summary adds up what the anchors tell.
func (s *scorer[T]) summary() scores {
	var out scores
	active := 0
	for _, a := range s.each {
		out.loss += a.loss
		out.positive += a.positive
		out.negative += a.negative
		active += a.active
	}
	n := float64(len(s.each))
	out.positive /= n
	negatives := n * (n - 2)
	out.negative /= negatives
	out.active = float64(active) / negatives
	return out
}

// addLoss adds the loss of the embeddings to the graph; after a run, report holds what it tells.
func addLoss[T kernel.Float](g *graph[T], s *scorer[T], embeddings *variable[T], report *scores) (*variable[T], error) {
	return addLossOf(g, "loss "+string(s.options.Loss), embeddings, s.gradient, func() float64 {
		*report = s.score(embeddings.data)
		g.noGradient = allZero(s.gradient)
		return report.loss
	})
}

// addLossOf adds a loss that run returns after it has set its gradient by the embeddings.
func addLossOf[T kernel.Float](g *graph[T], name string, embeddings *variable[T], gradient []T, run func() float64) (*variable[T], error) {
	o := &operation[T]{name: name, stops: -1, overwrites: -1}
	o.run = func() { o.scalar = T(run()) }
	var loss *variable[T]
	o.diff = func(grad *variable[T]) ([]*variable[T], error) {
		// grad is 1: nothing is differentiated but the loss itself.
		var dx *variable[T]
		b := &operation[T]{name: "backward of " + o.name, stops: -1, overwrites: -1, backward: true}
		b.run = func() { copy(dx.data, gradient) }
		dx, err := g.add(b, embeddings.shape, grad, loss)
		return []*variable[T]{dx}, err
	}
	loss, err := g.add(o, nil, embeddings)
	return loss, err
}

func allZero[T kernel.Float](x []T) bool {
	for _, v := range x {
		if v != 0 {
			return false
		}
	}
	return true
}

// pull is LossMSE and LossL1.
func (s *scorer[T]) pull(e []T) scores {
	s.measure(e, nil)
	half := s.groups * s.dim
	count := float64(half)
	var total float64
	for i, a := range e[:half] {
		d := float64(a) - float64(e[half+i])
		var g float64
		if s.options.Loss == LossMSE {
			total += d * d
			g = 2 * d / count
		} else {
			total += math.Abs(d)
			switch {
			case d > 0:
				g = 1 / count
			case d < 0:
				g = -1 / count
			default:
				g = 0 * d // NaN stays NaN
			}
		}
		s.gradient[i], s.gradient[half+i] = T(g), T(-g)
	}
	out := s.summary()
	out.loss, out.active = total/count, math.NaN()
	return out
}
