package training

import (
	"fmt"
	"math"
	"math/rand/v2"

	"imgsearch/embedder"
)

// Target names what the view of an image is compared with where gradients flow through one side only.
type Target string

const (
	// TargetNone compares the views with each other, as [LossOptions] says; gradients flow through all of them.
	TargetNone Target = ""
	// TargetMomentum compares with what an encoder makes of the image's other view whose weights are an exponential
	// moving average of the trained ones: He et al. 2019, arXiv 1911.05722 (MoCo); Grill et al. 2020, arXiv 2006.07733
	// (BYOL). That encoder runs forward only, on the inference path: batch normalisation takes running statistics, averaged
	// like the weights (Cai et al. 2021, arXiv 2101.08482), so that a batch tells a key nothing of the queries beside it.
	TargetMomentum Target = "momentum"
	// TargetStopGradient compares with what the trained net itself makes of the other view, which gets no gradient from
	// that: Chen and He 2020, arXiv 2011.10566 (SimSiam). Both views go through the net in one batch.
	TargetStopGradient Target = "stop-gradient"
)

// Targets returns all targets.
func Targets() []Target { return []Target{TargetNone, TargetMomentum, TargetStopGradient} }

// TargetLoss names how a query, the trained side, is compared with its target. Both are taken at length 1.
type TargetLoss string

const (
	// TargetInfoNCE is the cross entropy of a query's target against the targets of the other images of the batch, and
	// what the queue holds, over cosines divided by the temperature (van den Oord et al. 2018, arXiv 1807.03748). With
	// Neighbour it is, for each neighbour, that of its query against the other queries (Dwibedi et al. 2021, arXiv
	// 2104.14548, equation 4).
	TargetInfoNCE TargetLoss = "info-nce"
	// TargetCosine is the squared distance of query and target, 2 - 2 cos (Grill et al. 2020, equation 2; Chen and He take
	// -cos, whose gradient is half as long). There are no negatives: what holds embeddings apart is that only the query
	// goes through a predictor.
	TargetCosine TargetLoss = "cosine"
)

// TargetOptions says what makes the targets of views, and how queries are compared with them. The zero value is to have
// none. With a target the loss is that of these options, and [Options].Loss must be zero.
//
// MoCo is TargetMomentum with TargetInfoNCE and a queue; NNCLR is TargetStopGradient or TargetMomentum with TargetInfoNCE,
// a queue, Neighbour and a predictor; BYOL is TargetMomentum, SimSiam TargetStopGradient, each with TargetCosine and a
// predictor.
type TargetOptions struct {
	// Target makes the targets.
	Target Target `json:"target,omitempty"`
	// Loss compares with them; required with a target.
	Loss TargetLoss `json:"loss,omitempty"`
	// Temperature divides the cosines of TargetInfoNCE: 0.001 to 1000; 0 is 0.1. Lower ones make the nearest negatives
	// count for more. TargetCosine wants 0.
	Temperature float64 `json:"temperature,omitempty"`
	// Decay is the share of the averaged weights of TargetMomentum that a step keeps, above 0 to below 1; 0 is 0.99. Higher
	// ones make steadier targets that learn later: with s steps to come, 1-Decay should be well above 1/s. In the first
	// steps the share is smaller, n/(n+10) at most after n steps, so that first weights are soon forgotten.
	Decay float64 `json:"decay,omitempty"`
	// DecayToOne moves Decay to 1 along half a cosine over the run, as BYOL does.
	DecayToOne bool `json:"decay_to_one,omitempty"`
	// Queue is the number of the newest targets of earlier steps that are kept, at most 262144: as negatives of
	// TargetInfoNCE, or for Neighbour to choose from. 0 is none: negatives are those of the batch. Memory and time for the
	// comparison grow in proportion, and the oldest targets come from ever older weights; more than the training images
	// hold an image twice.
	Queue int `json:"queue,omitempty"`
	// Neighbour compares with the one of the queue that is nearest to the target, instead of with the target itself.
	Neighbour bool `json:"neighbour,omitempty"`
	// Predictor lists flat layers that only queries go through, behind the projection head, and only during training; they
	// must leave as many values as enter. Required with TargetCosine, otherwise default none.
	Predictor []embedder.Layer `json:"predictor,omitempty"`
	// Symmetric makes queries of both views, each with the other as target, where otherwise anchors are queries and
	// positives targets. With TargetMomentum that doubles the cost of a step; TargetStopGradient always does it.
	Symmetric bool `json:"symmetric,omitempty"`
}

const (
	defaultTargetTemperature = 0.1
	defaultTargetDecay       = 0.99
	maxQueue                 = 1 << 18
)

// on reports whether there is a target.
func (o TargetOptions) on() bool { return o.Target != TargetNone }

// complete fills in defaults and checks all fields, and the loss beside them, which must be zero where there is a target.
func (o TargetOptions) complete(loss LossOptions) (TargetOptions, error) {
	fail := func(name string, value any, allowed string) (TargetOptions, error) {
		return TargetOptions{}, optionError(name, value, allowed)
	}
	switch o.Target {
	case TargetNone:
		if o.Loss != "" || o.Temperature != 0 || o.Decay != 0 || o.DecayToOne || o.Queue != 0 || o.Neighbour ||
			len(o.Predictor) > 0 || o.Symmetric {
			return fail("target", `""`, "momentum or stop-gradient where any other target option is given")
		}
		return o, loss.validate()
	case TargetMomentum, TargetStopGradient:
	default:
		return fail("target", fmt.Sprintf("%q", string(o.Target)), `"", momentum or stop-gradient`)
	}
	if loss != (LossOptions{}) {
		return fail("loss", string(loss.Loss), "empty, with no miner, margin or temperature, where there is a target")
	}
	switch o.Loss {
	case TargetInfoNCE:
		if o.Temperature == 0 {
			o.Temperature = defaultTargetTemperature
		}
		if !(o.Temperature >= 0.001 && o.Temperature <= 1000) { // written so that NaN fails
			return fail("target temperature", o.Temperature, "0.001 to 1000, or 0 for the default")
		}
	case TargetCosine:
		if o.Temperature != 0 {
			return fail("target temperature", o.Temperature, "0: only info-nce has one")
		}
		if len(o.Predictor) == 0 {
			return fail("predictor", "without layers", "given with the loss cosine, which collapses otherwise")
		}
	default:
		return fail("target loss", fmt.Sprintf("%q", string(o.Loss)), "info-nce or cosine")
	}
	if o.Target == TargetMomentum {
		if o.Decay == 0 {
			o.Decay = defaultTargetDecay
		}
		if !(o.Decay > 0 && o.Decay < 1) {
			return fail("decay", o.Decay, "above 0 to below 1, or 0 for the default")
		}
	} else {
		if o.Decay != 0 || o.DecayToOne {
			return fail("decay", o.Decay, "0, and not move to 1, without averaged weights")
		}
		o.Symmetric = true
	}
	if o.Queue < 0 || o.Queue > maxQueue {
		return fail("queue", o.Queue, fmt.Sprintf("0 to %d", maxQueue))
	}
	if o.Neighbour && o.Queue == 0 {
		return fail("queue", 0, "at least 1 to take neighbours from")
	}
	if o.Loss == TargetCosine && !o.Neighbour && o.Queue > 0 {
		return fail("queue", o.Queue, "0 with the loss cosine, which has no negatives, but for neighbours")
	}
	return o, nil
}

// queries returns the number of images of a batch of two views that go through the trained net.
func (o TargetOptions) queries(groups int) int {
	if o.on() && !o.Symmetric {
		return groups
	}
	return 2 * groups
}

// equalLoss is what the loss gives where all embeddings are equal, and the queue is full; NaN where that is the best that
// there is.
func (o TargetOptions) equalLoss(batch int) float64 {
	switch {
	case o.Loss != TargetInfoNCE:
		return math.NaN()
	case o.Neighbour:
		return math.Log(float64(batch))
	}
	return math.Log(float64(batch + o.Queue))
}

// initWeights draws the first weights of the predictor, "predictor.0.weight" and so on, on what the head leaves of
// embeddings of dim values.
func (o TargetOptions) initWeights(dim int, head []embedder.Layer, rng *rand.Rand) embedder.Weights {
	if dim = flatDim(dim, head); dim == 0 {
		return nil // networkConfig's check names what is wrong
	}
	return initFlatWeights("predictor", dim, o.Predictor, rng)
}

// stepFLOPs returns the operations for one image of a batch: of the forward pass, and of a whole step, as
// [BareStep.FLOPs] counts them.
func (o TargetOptions) stepFLOPs(a embedder.Architecture, head []embedder.Layer) (forward, whole int64) {
	forward, whole = stepFLOPs(a, head)
	if !o.on() {
		return forward, whole
	}
	keys := forward
	if len(o.Predictor) > 0 {
		steps, _ := headArchitecture(flatDim(a.OutputDim(), head), o.Predictor).Steps() // valid: checked before
		for _, s := range steps[2:] {
			n := s.FLOPs()
			forward += n
			whole += 2 * n
			if !s.Layer.Frozen {
				whole += n
			}
		}
	}
	switch {
	case o.Target != TargetMomentum:
	case o.Symmetric:
		whole += keys
	default:
		whole = (whole + keys) / 2
	}
	return forward, whole
}
