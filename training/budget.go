package training

import (
	"context"
	"fmt"
	"math"
	"time"
)

// reserve is the share of a budget of minutes that is kept for measurements on the held-back images, checkpoints and the end.
const reserve = 0.03

// measureSteps turns the minutes of the budget that are left into a number of steps, by running steps for a little
// while, which are then undone: those of each size that the run has, for a share of the steps is not that share of the
// time.
func (t *trainer) measureSteps(ctx context.Context) (int, error) {
	start := t.net.state()
	budget := time.Duration(t.Minutes * float64(time.Minute))
	within := min(max(budget/100, 300*time.Millisecond), 5*time.Second)
	var each time.Duration
	if stages := t.Sizes.Stages; len(stages) == 0 {
		var err error
		if each, err = t.measureStep(ctx, within); err != nil {
			return 0, err
		}
	} else {
		for _, s := range stages {
			if err := t.resize(s.Size); err != nil {
				return 0, err
			}
			d, err := t.measureStep(ctx, within/time.Duration(len(stages)))
			if err != nil {
				return 0, err
			}
			each += time.Duration(s.Share * float64(d))
		}
		if err := t.resize(stages[0].Size); err != nil {
			return 0, err
		}
	}
	if err := t.net.setState(start); err != nil {
		return 0, fmt.Errorf("measure the speed: %w", err)
	}
	left := budget - t.now().Sub(t.begun) - time.Duration(reserve*float64(budget))
	return stepsWithin(left, each), nil
}

// measureStep returns how long a step at the present size takes, after running some for a while.
func (t *trainer) measureStep(ctx context.Context, within time.Duration) (time.Duration, error) {
	const warmUp = 2
	p := t.pipeline(0, maxSteps)
	defer p.close()
	var begun time.Time
	for step := 0; ; step++ {
		if err := ctx.Err(); err != nil {
			return 0, fmt.Errorf("training interrupted before its first step: %w", err)
		}
		if step == warmUp {
			begun = t.now()
		}
		if done := step - warmUp; done > 0 {
			if spent := t.now().Sub(begun); done >= 3 && spent >= within {
				return spent / time.Duration(done), nil
			}
		}
		buffer := p.next()
		if err := t.corpus.err(); err != nil {
			return 0, fmt.Errorf("measure the speed: %w", err)
		}
		// The learning rate is small, so that no weight runs off: that would change the speed.
		if _, err := t.net.step(buffer, 1e-6); err != nil {
			return 0, fmt.Errorf("measure the speed: %w", err)
		}
		p.release()
	}
}

// stepsFor turns a budget of epochs into steps.
func stepsFor(epochs, perEpoch int) (int, error) {
	if float64(epochs)*float64(perEpoch) > maxSteps {
		return 0, optionError("epochs", epochs, fmt.Sprintf("at most %d", maxSteps/perEpoch))
	}
	return epochs * perEpoch, nil
}

// stepsWithin returns how many steps fit in a time, at least 1.
func stepsWithin(left, each time.Duration) int {
	return int(math.Max(1, math.Min(maxSteps, math.Floor(left.Seconds()/math.Max(each.Seconds(), 1e-9)))))
}
