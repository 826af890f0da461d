package training

import (
	"fmt"
	"math"
)

// watch looks for runs that learn nothing: embeddings that become one and the same (a collapse), or what a projection head
// makes of them, a loss that stays at what equal embeddings give, and triplets that are all solved. It is part of the
// checkpoint.
type watch struct {
	// Start is the mean spread of the first steps.
	Start mean `json:"start"`
	// Low and Stuck count the last steps in a row with hardly any spread, and with the loss of equal embeddings.
	Low   int `json:"low"`
	Stuck int `json:"stuck"`
	// Apart is the mean distance of negatives in the first steps, as the loss sees them; Blind counts the last steps in a
	// row in which it was next to nothing.
	Apart mean `json:"apart"`
	Blind int  `json:"blind"`
	// Active is the long average of the share of triplets that have a loss.
	Active average `json:"active"`
	Steps  int     `json:"steps"`

	Collapsed bool `json:"collapsed"`
	// Told holds the kinds of warning that were given, Warnings their texts.
	Told     map[string]bool `json:"told,omitempty"`
	Warnings []string        `json:"warnings,omitempty"`
}

const (
	watchStart   = 5    // steps that make Start
	watchLow     = 20   // steps with low spread that are a collapse
	watchStuck   = 300  // steps at the loss of equal embeddings that are one
	watchSolved  = 1000 // steps after which solved triplets are said
	lowSpread    = 0.05 // of the spread that unit vectors in all directions have
	lowRelative  = 0.05 // of the spread at the start, for embeddings of any length
	stuckWithin  = 1e-3 // of the loss of equal embeddings; of 1 where that is 0
	solvedActive = 0.005
)

// warn keeps a warning, once for each kind, and reports whether it is new.
func (w *watch) warn(kind, text string) bool {
	if w.Told[kind] {
		return false
	}
	if w.Told == nil {
		w.Told = map[string]bool{}
	}
	w.Told[kind] = true
	w.Warnings = append(w.Warnings, text)
	return true
}

// step takes in a step's result and returns the text of a new warning, or "". Normalised says that embeddings have
// length 1; equal is the loss that equal embeddings give, or NaN where that says nothing; given says that each anchor has
// one given negative: the share of active triplets is then what the training learns from, and not that of all triplets
// of the batch, of which a good encoder leaves few.
func (w *watch) step(step int, r stepResult, normalised bool, dim int, equal float64, given bool) string {
	w.Steps++
	if w.Start.Count < watchStart {
		w.Start.add(r.Spread)
	}
	low := false
	if normalised {
		low = r.Spread*math.Sqrt(float64(dim)) < lowSpread
	}
	if w.Start.Count > 0 {
		low = low || r.Spread < lowRelative*w.Start.Sum/float64(w.Start.Count) || r.Spread < 1e-9
	}
	if low {
		w.Low++
	} else {
		w.Low = 0
	}
	if w.Apart.Count < watchStart {
		w.Apart.add(r.NegativeDistance)
	}
	if r.NegativeDistance < lowRelative*w.Apart.Sum/float64(w.Apart.Count) { // false where there is no such distance
		w.Blind++
	} else {
		w.Blind = 0
	}
	within := stuckWithin * math.Abs(equal)
	if equal == 0 {
		within = stuckWithin
	}
	if math.Abs(r.Loss-equal) < within { // false where equal is NaN
		w.Stuck++
	} else {
		w.Stuck = 0
	}
	w.Collapsed = w.Low >= watchLow || w.Blind >= watchLow || w.Stuck >= watchStuck
	if given && !math.IsNaN(r.Active) {
		w.Active.add(r.Active, 0.999)
	}
	switch {
	case w.Low >= watchLow:
		text := fmt.Sprintf("the embedding has collapsed (step %d): all images get nearly the same one, so it tells none apart; "+
			"use a lower learning rate or a loss with negatives", step)
		if w.warn("collapse", text) {
			return text
		}
	case w.Blind >= watchLow:
		text := fmt.Sprintf("what the loss sees has collapsed (step %d): the projection head gives all images nearly the same, so nothing is "+
			"learned any more; use a lower learning rate or a loss with negatives", step)
		if w.warn("collapse", text) {
			return text
		}
	case w.Stuck >= watchStuck:
		text := fmt.Sprintf("the loss stays at %.4g (step %d), what equal embeddings give: nothing is learned; "+
			"use a lower learning rate, an easier miner or another loss", equal, step)
		if w.warn("stuck", text) {
			return text
		}
	case w.Steps >= watchSolved && w.Active.value() < solvedActive:
		text := fmt.Sprintf("hardly any triplet has a loss any more (%.2g %%, step %d): the task has become too easy to teach; "+
			"use stronger views, a larger margin, or negatives from the whole batch", 100*w.Active.value(), step)
		if w.warn("solved", text) {
			return text
		}
	}
	return ""
}

// equalLoss is what a loss gives where all embeddings of a batch are equal, with two views of each of its images; NaN
// where that is the best that there is.
func equalLoss(l LossOptions, batch int) float64 {
	switch l.Loss {
	case LossTriplet:
		if l.Margin > 0 {
			return l.Margin
		}
	case LossSmoothTriplet, LossNTXent:
		return math.Log(float64(2*batch - 1))
	case LossDecoupledNTXent:
		return math.Log(float64(2*batch - 2))
	case LossAlignUniform:
		if l.complete().Weights.factors().Uniformity > 0 {
			return 0
		}
	case LossVICReg:
		if w := l.complete().Weights.factors().Variance; w > 0 {
			return w * (1 - math.Sqrt(vicRegEpsilon))
		}
	case LossBarlowTwins:
		return 1
	}
	return math.NaN()
}
