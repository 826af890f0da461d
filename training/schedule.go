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
	// Trapezoid rises as OneCycle does, keeps the learning rate, and falls linearly to zero over the last CoolDown share
	// of the steps (Zhai et al. 2022, arXiv 2106.04560; Hägele et al. 2024, arXiv 2405.18392). Up to its fall it does not
	// depend on how long the run is: one that stops early (see [StopOptions]) is as good as one that was meant to be that
	// short.
	Trapezoid Schedule = "trapezoid"
)

// Schedules returns all schedules.
func Schedules() []Schedule { return []Schedule{Constant, OneCycle, Trapezoid} }

// defaultCoolDown is Options.CoolDown where it is 0.
const defaultCoolDown = 0.2

// rate returns the learning rate where the share done of a run is over, above 0 and below 1.
func (s Schedule) rate(peak, warmUp, coolDown, done float64) float64 {
	if s != Constant && done < warmUp {
		return peak * done / warmUp
	}
	switch s {
	case Constant:
		return peak
	case OneCycle:
		return peak * 0.5 * (1 + math.Cos(math.Pi*(done-warmUp)/(1-warmUp)))
	case Trapezoid:
		return peak * min(1, (1-done)/coolDown)
	}
	panic(fmt.Sprintf("training: schedule %q passed validation", string(s)))
}

// fallFrom returns from where on a run that has stalled, the share done of it being over, takes the schedule.
func (s Schedule) fallFrom(done, coolDown float64) float64 {
	if s == Trapezoid {
		return max(done, 1-coolDown)
	}
	return done
}
