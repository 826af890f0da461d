package training

// LossWeights says how much the terms of a loss of several terms count. In each field 0 stands for the default and -1 leaves
// the term out; other values are above 0 to 10000. Fields of other losses than the one that is trained on must be 0.
type LossWeights struct {
	// Uniformity is the weight of the uniformity of [LossAlignUniform] beside its alignment, default 1. A higher one keeps
	// more of what tells images apart, and pulls views of one image together less.
	Uniformity float64 `json:"uniformity,omitempty"`
	// Invariance, Variance and Covariance are lambda, mu and nu of [LossVICReg], by default 1, 1 and 0.04: how much views of
	// one image are pulled together, outputs are kept from becoming all the same, and dimensions from saying the same.
	// These are the paper's 25, 25 and 1 divided by 25, a factor that is one of the learning rate: at the rates that serve the
	// other losses, its own diverge with SGD. Without the second, or with a small one beside the first, training collapses.
	Invariance float64 `json:"invariance,omitempty"`
	Variance   float64 `json:"variance,omitempty"`
	Covariance float64 `json:"covariance,omitempty"`
	// Redundancy is lambda of [LossBarlowTwins], default 0.005 as in the paper, which has 8,192 dimensions: each adds a term,
	// so that fewer dimensions may want more. A higher one keeps dimensions from saying the same, and pulls views of one
	// image together less.
	Redundancy float64 `json:"redundancy,omitempty"`
}

// maxLossWeight is the largest weight of a term.
const maxLossWeight = 10_000

// lossWeight is one field of LossWeights.
type lossWeight struct {
	name     string
	value    *float64
	loss     Loss // the only one that has it
	standard float64
}

func (w *LossWeights) fields() []lossWeight {
	return []lossWeight{
		{"uniformity", &w.Uniformity, LossAlignUniform, 1},
		{"invariance", &w.Invariance, LossVICReg, 1},
		{"variance", &w.Variance, LossVICReg, 1},
		{"covariance", &w.Covariance, LossVICReg, 0.04},
		{"redundancy", &w.Redundancy, LossBarlowTwins, 0.005},
	}
}

// validate names the first field that is out of range.
func (w LossWeights) validate(l Loss) error {
	for _, f := range w.fields() {
		switch v := *f.value; {
		case v == 0:
		case f.loss != l:
			return optionError(f.name, v, "0: only "+string(f.loss)+" has it")
		case v != -1 && !(v > 0 && v <= maxLossWeight):
			return optionError(f.name, v, "above 0 to 10000, 0 for the default or -1 for none")
		}
	}
	return nil
}

// complete fills in the defaults.
func (o LossOptions) complete() LossOptions {
	for _, f := range o.Weights.fields() {
		if f.loss == o.Loss && *f.value == 0 {
			*f.value = f.standard
		}
	}
	return o
}

// factors returns the weights to multiply by: 0 for a term that is left out.
func (w LossWeights) factors() LossWeights {
	for _, f := range w.fields() {
		*f.value = max(*f.value, 0)
	}
	return w
}
