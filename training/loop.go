package training

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"time"
)

func (t *trainer) pipeline(first, end int) *pipeline {
	b := newBatchesOf(t.corpus, t.train, t.Options, t.batch, t.perGroup, t.side)
	crops, side := t.MultiView.Crops, t.MultiView.cropSide(t.side)
	return startMixedPipeline(b, first, end, t.perGroup*t.batch, 3*t.side*t.side, crops*t.batch, 3*side*side, t.Threads)
}

// recordLines is about how many step lines a run record has.
const recordLines = 500

// loop runs the steps that are left.
func (t *trainer) loop(ctx context.Context) error {
	p, err := t.enter()
	if err != nil {
		return err
	}
	defer func() { p.close() }()
	every := max(1, t.planned()/recordLines)
	var spentMeasuring time.Duration
	if t.held != nil && t.at.Step == 0 {
		spent, err := t.measure(ctx, nil)
		if err != nil {
			return t.interrupted(err)
		}
		spentMeasuring = spent
	}
	t.report(Training)
	last := t.now()
	for t.at.Step < t.at.Steps {
		if err := ctx.Err(); err != nil {
			return t.interrupted(err)
		}
		if t.stopDue() {
			if err := t.judge(ctx); err != nil {
				return err
			}
			if last = t.now(); t.at.Step == t.at.Steps {
				break
			}
		}
		step := t.at.Step
		rate := t.rate(step)
		if _, end := t.sizeAt(step); end != p.end {
			larger, err := t.enter()
			if err != nil {
				return fmt.Errorf("step %d of %d: %w", step+1, t.at.Steps, err)
			}
			p.close()
			p = larger
		}
		asked := t.now()
		buffer := p.next()
		t.spent.waiting += t.now().Sub(asked)
		if err := t.corpus.err(); err != nil {
			return fmt.Errorf("step %d of %d: %w", step+1, t.at.Steps, err)
		}
		t.advance()
		result, err := t.net.step(buffer, rate)
		if err != nil {
			return fmt.Errorf("step %d of %d at learning rate %.3g: %w", step+1, t.at.Steps, rate, err)
		}
		p.release()
		t.at.Step++
		t.at.Meter.add(result)
		now := t.now()
		t.speed.add(now.Sub(last))
		last = now
		if text := t.at.Watch.step(t.at.Step, result, t.normalised, t.trainedDim, t.equal, t.Loss.rows() == 3); text != "" {
			if err := t.warned(text); err != nil {
				return err
			}
		}
		if t.at.Step%every == 0 || t.at.Step == t.at.Steps {
			if err := t.recordStep(rate); err != nil {
				return err
			}
		}
		if t.held != nil && t.at.Step < t.at.Steps && t.Stop.Patience == 0 && t.measurementDue(now, spentMeasuring) {
			if spentMeasuring, err = t.measure(ctx, nil); err != nil {
				return t.interrupted(err)
			}
			last = t.now()
		}
		if t.afterStep != nil {
			t.afterStep(t.at.Step)
		}
		if now.Sub(t.saved) >= t.CheckpointEvery && t.at.Step < t.at.Steps {
			if err := t.save(); err != nil {
				return err
			}
			last = t.now()
		}
		t.report(Training)
	}
	return nil
}

// heldBackShare is the share of the training's time, at most, that measurements on the held-back images take.
const heldBackShare = 0.01

// heldBackLeast and heldBackMost bound the time between two measurements.
const (
	heldBackLeast = 5 * time.Second
	heldBackMost  = 5 * time.Minute
)

// measurementDue says whether it is time for another look at the held-back images: about twenty of them over a run,
// fewer where they are dear.
func (t *trainer) measurementDue(now time.Time, cost time.Duration) bool {
	total := t.seconds() + t.speed.left(t.stepsLeft()).Seconds()
	interval := min(max(time.Duration(total/20*1e9), heldBackLeast), heldBackMost)
	interval = max(interval, time.Duration(float64(cost)/heldBackShare))
	return now.Sub(t.measured) >= interval
}

// measure looks at the held-back images and returns the time that it took. finished is the finished encoder, nil before.
func (t *trainer) measure(ctx context.Context, finished *trainedNet) (time.Duration, error) {
	begun := t.now()
	h, err := t.held.measure(ctx, trainedNet{t.Architecture, t.net.weights()}, t.net.headWeights(), finished, t.at.Step)
	if err == nil {
		err = t.corpus.err()
	}
	if err != nil {
		return 0, err
	}
	// What the encoder worked with is gone only after two collections, since it was pooled.
	runtime.GC()
	debug.FreeOSMemory()
	t.at.HeldBack = h
	t.measured = t.now()
	t.spent.measuring += t.measured.Sub(begun)
	err = t.record.add(heldBackLine{Kind: "held_back", HeldBack: *h, Seconds: rounded(t.seconds())})
	return t.measured.Sub(begun), err
}

// recordStep writes a line of means to the run record.
func (t *trainer) recordStep(rate float64) error {
	m := &t.at.Meter
	return t.record.add(stepLine{
		Kind: "step", Step: t.at.Step, Epoch: t.epoch(), Loss: m.LossMean.take(), Active: m.ActiveMean.take(),
		Positive: m.PositiveMean.take(), Negative: m.NegativeMean.take(), Spread: m.SpreadMean.take(),
		LearningRate: rate, Seconds: rounded(t.seconds()),
	})
}

// warned writes a warning to the run record.
func (t *trainer) warned(text string) error {
	return t.record.add(eventLine{Kind: "warning", Time: t.now(), Step: t.at.Step, Text: text, Seconds: rounded(t.seconds())})
}

// seconds is the time spent in training so far.
func (t *trainer) seconds() float64 { return t.before + t.now().Sub(t.started).Seconds() }

// epoch is the number of passes over the training images so far.
func (t *trainer) epoch() float64 {
	return float64(t.at.Step) / float64(max(1, len(t.train)/t.batch))
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// rounded cuts seconds to milliseconds, for the run record.
func rounded(s float64) float64 { return math.Round(s*1000) / 1000 }
