package training

import (
	"fmt"
	"math"
)

// Optimizer names how weights follow from gradients.
type Optimizer string

const (
	// SGD is stochastic gradient descent with momentum, as torch.optim.SGD has it; weight decay is added to gradients.
	SGD Optimizer = "sgd"
	// AdamW divides the mean of a weight's gradients by the root of their mean square (Kingma and Ba 2015, arXiv
	// 1412.6980), with decoupled weight decay: a step takes the learning rate times the decay off a weight (Loshchilov
	// and Hutter 2019, arXiv 1711.05101, algorithm 2, as torch.optim.AdamW has it). Options.Momentum is its beta1. With
	// Options.Nesterov it goes along the mean as it would be after one more step of the same gradient, after Dozat 2016
	// ("Incorporating Nesterov Momentum into Adam").
	AdamW Optimizer = "adamw"
	// LARS is SGD whose learning rate is, for each weight of a convolution or linear layer, multiplied by Trust times
	// the weight's norm over its gradient's, weight decay included in the latter (You et al. 2017, arXiv 1708.03888). As
	// in SimCLR (Chen et al. 2020, arXiv 2002.05709, appendix B.7) what is smoothed by momentum is the scaled gradient, and
	// biases and batch normalisation have a factor of 1 and no decay.
	LARS Optimizer = "lars"
	// Muon orthogonalises the update of the weights of convolutions, taken as [out, in*k*k], and of linear layers:
	// of the singular value decomposition U S V' of SGD's update only U V' is kept, nearly, by Newton-Schulz iteration
	// (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/); where a matrix has more rows than columns the
	// update is multiplied by the root of the quotient. Weight decay is decoupled as in AdamW. Biases and batch
	// normalisation are left to AdamW at OtherRate times the learning rate.
	Muon Optimizer = "muon"
)

// Optimizers returns all optimisers.
func Optimizers() []Optimizer { return []Optimizer{SGD, AdamW, LARS, Muon} }

// OptimizerOptions says how weights follow from gradients, beside the options that all optimisers share: LearningRate,
// Momentum, Nesterov and WeightDecay of [Options].
type OptimizerOptions struct {
	// Optimizer is the method; "" is SGD.
	Optimizer Optimizer `json:"optimizer,omitempty"`
	// Beta2 is the share of the past in AdamW's mean square, and in that of Muon's other parameters, above 0 to below 1;
	// 0 is 0.999. A lower one follows faster, and is noisier.
	Beta2 float64 `json:"beta2,omitempty"`
	// Epsilon is added to the root of that mean square, above 0 to 1; 0 is 1e-8. A larger one makes the steps of
	// weights with small gradients smaller.
	Epsilon float64 `json:"epsilon,omitempty"`
	// Trust is LARS's coefficient, above 0 to 1; 0 is 0.001. At learning rate 1 a step without momentum changes a weight
	// by this share of its norm.
	Trust float64 `json:"trust,omitempty"`
	// Iterations is the number of Muon's Newton-Schulz iterations, 1 to 20; 0 is 5. With more the singular values come
	// nearer to 1, which is dearer and buys hardly anything.
	Iterations int `json:"iterations,omitempty"`
	// OtherRate is the learning rate of Muon's other parameters as a share of that of the matrices, above 0 to 100; 0
	// is 0.1.
	OtherRate float64 `json:"other_rate,omitempty"`
}

const (
	defaultBeta2      = 0.999
	defaultEpsilon    = 1e-8
	defaultTrust      = 0.001
	defaultIterations = 5
	defaultOtherRate  = 0.1
)

// complete fills in the defaults and names the first field that is out of range.
func (o OptimizerOptions) complete() (OptimizerOptions, error) {
	o.Optimizer = o.name()
	var adam, lars, muon bool
	switch o.Optimizer {
	case SGD:
	case AdamW:
		adam = true
	case LARS:
		lars = true
	case Muon:
		adam, muon = true, true
	default:
		return o, optionError("optimizer", fmt.Sprintf("%q", string(o.Optimizer)), "sgd, adamw, lars or muon")
	}
	below1 := math.Nextafter(1, 0)
	iterations := float64(o.Iterations)
	for _, f := range []struct {
		name          string
		value         *float64
		used          bool
		standard, max float64
		allowed       string
		users         string
	}{
		{"beta2", &o.Beta2, adam, defaultBeta2, below1, "above 0 to below 1", "adamw and muon"},
		{"epsilon", &o.Epsilon, adam, defaultEpsilon, 1, "above 0 to 1", "adamw and muon"},
		{"trust", &o.Trust, lars, defaultTrust, 1, "above 0 to 1", "lars"},
		{"iterations", &iterations, muon, defaultIterations, 20, "1 to 20", "muon"},
		{"other rate", &o.OtherRate, muon, defaultOtherRate, 100, "above 0 to 100", "muon"},
	} {
		switch {
		case !f.used && *f.value != 0:
			return o, optionError("optimizer: "+f.name, *f.value, fmt.Sprintf("0 with %s: it belongs to %s", o.Optimizer, f.users))
		case f.used && *f.value == 0:
			*f.value = f.standard
		case !(*f.value >= 0 && *f.value <= f.max):
			return o, optionError("optimizer: "+f.name, *f.value, f.allowed+", or 0 for the default")
		}
	}
	o.Iterations = int(iterations)
	return o, nil
}

// name returns the method.
func (o OptimizerOptions) name() Optimizer {
	if o.Optimizer == "" {
		return SGD
	}
	return o.Optimizer
}

// learningRate is the default of optimisers that the preset was not made for.
func (o OptimizerOptions) learningRate(batch int) float64 {
	share := float64(batch) / 256
	switch o.Optimizer {
	case AdamW:
		return 0.002 * math.Sqrt(share)
	case LARS:
		return 0.3 * share
	case Muon:
		return 0.03 * math.Sqrt(share)
	}
	return 0.1 * share
}
