package training

import (
	"fmt"
	"math"
)

// Schedule names how the learning rate moves over a run.
type Schedule string

const (
	// Constant keeps the learning rate.
	Constant Schedule = "constant"
	// OneCycle rises linearly from near zero to the learning rate over the first WarmUp share of the steps, then falls
	// to zero along half a cosine (after Smith and Topin 2017, arXiv 1708.07120).
	OneCycle Schedule = "one-cycle"
)

// rate returns the learning rate of a step, 0 <= step < steps.
func (s Schedule) rate(peak, warmUp float64, step, steps int) float64 {
	switch s {
	case Constant:
		return peak
	case OneCycle:
		done := (float64(step) + 0.5) / float64(steps)
		if done < warmUp {
			return peak * done / warmUp
		}
		return peak * 0.5 * (1 + math.Cos(math.Pi*(done-warmUp)/(1-warmUp)))
	}
	panic(fmt.Sprintf("training: schedule %q passed validation", string(s)))
}
