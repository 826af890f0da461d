package training

import (
	"context"
	"fmt"
	"math"
)

// StopOptions says when a run ends before its budget does: when the loss on images that were held back from the training
// improves no more. Labels have no part in it.
//
// A run that has stalled is not broken off: most of what a schedule gains comes at its end, at low learning rates, and
// a loss that stands still at a high rate says no more than that the rate is high. From the step on where it stalls,
// what is left of the schedule's fall is run through in as many steps as make them the share CoolDown of all steps then
// made, and no more than there were left. The Constant schedule has no fall: it ends at once.
type StopOptions struct {
	// Patience is the number of measurements in a row, after the schedule's warm-up, that may find no lower loss on the
	// held-back images than the lowest before; then the run has stalled. 0 is never. A small one may take chance for a
	// stall: weights that are averaged (Options.Average) make the loss steadier.
	Patience int `json:"patience,omitempty"`
	// Every is the number of steps from one of these measurements to the next; 0 is a 25th of all steps. They take the
	// place of those at times. Each costs what it takes to embed the held-back images three times.
	Every int `json:"every,omitempty"`
	// Least is by what share of its size the loss must fall to count as lower, 0 to 0.5.
	Least float64 `json:"least,omitempty"`
}

// validate names the first field that is out of range.
func (o StopOptions) validate() error {
	switch {
	case o.Patience < 0 || o.Patience > 1_000_000:
		return optionError("stop: patience", o.Patience, "1 to 1000000, or 0 for no stop")
	case o.Every < 0 || o.Every > maxSteps:
		return optionError("stop: every", o.Every, "positive, or 0 for a 25th of the steps")
	case !(o.Least >= 0 && o.Least <= 0.5):
		return optionError("stop: least", o.Least, "0 to 0.5")
	case o.Patience == 0 && o.Every != 0:
		return optionError("stop: every", o.Every, "0 without patience")
	case o.Patience == 0 && o.Least != 0:
		return optionError("stop: least", o.Least, "0 without patience")
	}
	return nil
}

// withStop checks what stops a run, and fills in CoolDown where it counts.
func (o Options) withStop() (Options, error) {
	if err := o.Stop.validate(); err != nil {
		return Options{}, err
	}
	switch stops := o.Stop.Patience > 0; {
	case stops && o.TrainOnAll:
		return Options{}, optionError("stop: patience", o.Stop.Patience, "0 where held-back images are trained on")
	case stops && o.HeldBack < 0:
		return Options{}, optionError("stop: patience", o.Stop.Patience, "0 where no images are held back")
	case o.Schedule != Trapezoid && !stops && o.CoolDown != 0:
		return Options{}, optionError("cool-down", o.CoolDown, "0 with this schedule and without a stop")
	case o.Schedule == Trapezoid || stops:
		if o.CoolDown == 0 {
			o.CoolDown = defaultCoolDown
		}
		if !(o.CoolDown > 0 && o.CoolDown <= 0.9) {
			return Options{}, optionError("cool-down", o.CoolDown, "above 0 to 0.9, or 0 for the default")
		}
		if o.Schedule == Trapezoid && o.WarmUp+o.CoolDown > 1 {
			return Options{}, optionError("cool-down", o.CoolDown, fmt.Sprintf("at most %v beside a warm-up of %v", 1-o.WarmUp, o.WarmUp))
		}
	}
	return o, nil
}

// stopMeasurements is how many measurements there are by default in a run that may stop.
const stopMeasurements = 25

// every returns the number of steps between measurements in a run of so many.
func (o StopOptions) every(steps int) int {
	if o.Every > 0 {
		return o.Every
	}
	return max(1, steps/stopMeasurements)
}

// Stopped tells of a run that ended before its budget.
type Stopped struct {
	// Step is the number of steps after which the run had stalled, Planned that of the steps there were to be, Steps that of
	// those that were made, the rest of the schedule being run through.
	Step    int `json:"step"`
	Planned int `json:"planned_steps"`
	Steps   int `json:"steps"`
	// Loss is the lowest loss on the held-back images up to Step, and LossStep the step that it was found after.
	Loss     float64 `json:"loss"`
	LossStep int     `json:"loss_step"`
	// Patience is the number of measurements in a row that found no lower one.
	Patience int `json:"patience"`
}

// String says it in a line.
func (s *Stopped) String() string {
	return fmt.Sprintf("after %d of %d steps the loss on held-back images had not fallen below the %.4g of step %d for %d measurements; "+
		"the schedule was brought to its end in %d more", s.Step, s.Planned, s.Loss, s.LossStep, s.Patience, s.Steps-s.Step)
}

// stopState is what the decision to stop depends on. It is part of the checkpoint.
type stopState struct {
	// Measured is the step of the newest measurement that was taken in.
	Measured int `json:"measured,omitempty"`
	// Best is the lowest loss on the held-back images, nil before the first, BestStep when it was found.
	Best     *float64 `json:"best,omitempty"`
	BestStep int      `json:"best_step,omitempty"`
	// Waited counts the measurements since.
	Waited int `json:"waited,omitempty"`
	// Stopped is not nil once the run has stalled.
	Stopped *Stopped `json:"stopped,omitempty"`
}

// take takes in a measurement and tells whether the run has stalled by now. counts tells that the warm-up is over.
func (s *stopState) take(o StopOptions, step int, loss *float64, counts bool) bool {
	s.Measured = step
	if s.Stopped != nil || loss == nil || !counts {
		return false
	}
	if s.Best == nil || *loss < *s.Best-o.Least*math.Abs(*s.Best) {
		s.Best, s.BestStep, s.Waited = loss, step, 0
		return false
	}
	s.Waited++
	return s.Waited >= o.Patience
}

// planned is the number of steps that the run was to have.
func (t *trainer) planned() int {
	if s := t.at.Stop.Stopped; s != nil {
		return s.Planned
	}
	return t.at.Steps
}

// rate returns the learning rate of a step.
func (t *trainer) rate(step int) float64 {
	done := (float64(step) + 0.5) / float64(t.at.Steps)
	if s := t.at.Stop.Stopped; s != nil {
		// The way from where the fall began to its end, in the steps that were left to it.
		from := t.Schedule.fallFrom(float64(s.Step)/float64(s.Planned), t.CoolDown)
		done = from + (1-from)*(float64(step-s.Step)+0.5)/float64(s.Steps-s.Step)
	}
	return t.Schedule.rate(t.peakRate, t.WarmUp, t.CoolDown, done)
}

// stopDue tells whether the images held back are to be measured now for the decision to stop.
func (t *trainer) stopDue() bool {
	return t.held != nil && t.Stop.Patience > 0 && t.at.Step > 0 && t.at.Step != t.at.Stop.Measured &&
		t.at.Step%t.Stop.every(t.planned()) == 0
}

// judge measures for the decision to stop, and decides.
func (t *trainer) judge(ctx context.Context) error {
	if _, err := t.measure(ctx, nil); err != nil {
		return t.interrupted(err)
	}
	s := &t.at.Stop
	warm := t.Schedule == Constant || float64(t.at.Step) >= t.WarmUp*float64(t.at.Steps)
	if !s.take(t.Stop, t.at.Step, t.at.HeldBack.Loss, warm) {
		return nil
	}
	tail := 0
	if t.Schedule != Constant {
		tail = int(math.Ceil(float64(t.at.Step) * t.CoolDown / (1 - t.CoolDown)))
	}
	tail = min(tail, t.at.Steps-t.at.Step)
	s.Stopped = &Stopped{
		Step: t.at.Step, Planned: t.at.Steps, Steps: t.at.Step + tail, Loss: *s.Best, LossStep: s.BestStep, Patience: s.Waited,
	}
	t.at.Steps = s.Stopped.Steps
	return t.record.add(eventLine{Kind: "stop", Time: t.now(), Step: t.at.Step, Text: s.Stopped.String(), Seconds: rounded(t.seconds())})
}
