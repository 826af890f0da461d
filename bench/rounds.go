package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// entrant is one of those that do a row's work in turns.
type entrant struct {
	Side    string `json:"side"` // "imgsearch" or "pytorch"
	Variant string `json:"variant,omitempty"`
	Threads int    `json:"threads"`
	// Counted is false for those that are shown but not compared with.
	Counted bool     `json:"counted"`
	Samples []sample `json:"samples"`
	// Out tells the round before which the entrant was left out, because other variants were clearly faster; 0: never.
	Out int `json:"out,omitempty"`
	// Trial is how many images a second it did in the runs that do not count.
	Trial float64 `json:"trial"`
	// BytesPerStep is how much memory a step allocated, in the last turn; imgsearch only.
	BytesPerStep int64 `json:"bytes_per_step,omitempty"`
	// LastValue is the loss of the last step, or a value of an embedding.
	LastValue float64 `json:"last_value"`

	worker *worker
	job    string
	// byProcessor makes the time of a turn that of processors instead of the clock.
	byProcessor bool
	units       int // steps, or images, in a turn
	images      int // in a unit, all steps of it together
}

// sample is one turn.
type sample struct {
	Round   int     `json:"round"`
	Images  int     `json:"images"`
	Seconds float64 `json:"seconds"`
	// Processor and Peak are those of reply.
	Processor float64 `json:"processor,omitempty"`
	Peak      float64 `json:"peak,omitempty"`
}

func (s sample) imagesPerSecond() float64 { return float64(s.Images) / s.Seconds }

// share is how much of its time on the clock the turn had of so many processors.
func (s sample) share(threads int) float64 { return s.Processor / (s.Seconds * float64(threads)) }

// speed returns the median of images a second, NaN where there is no sample.
func (e *entrant) speed() float64 { return median(collect(e.Samples, sample.imagesPerSecond)) }

// peak returns the median of the peaks, NaN where none was measured.
func (e *entrant) peak() float64 {
	return median(collect(e.Samples, func(s sample) float64 { return s.Peak }))
}

// turn lets the entrant work.
func (e *entrant) turn(ctx context.Context, round int) error {
	a, err := e.ask(ctx, e.units)
	if err != nil {
		return err
	}
	e.Samples = append(e.Samples, sample{Round: round, Images: e.units * e.images, Seconds: a.Seconds, Processor: a.Processor, Peak: a.Peak})
	e.BytesPerStep = a.Bytes
	if e.Side == peerSide {
		e.LastValue = a.Value
	}
	time.Sleep(restTime)
	return nil
}

// ask lets the worker do so many units of work.
func (e *entrant) ask(ctx context.Context, units int) (reply, error) {
	a, err := e.worker.ask(ctx, request{Do: "run", Job: e.job, Count: units})
	if e.byProcessor && a.Processor > 0 {
		a.Seconds = a.Processor
	}
	return a, err
}

const (
	ourSide  = "imgsearch"
	peerSide = "pytorch"

	// apartVariant of imgsearch runs as many steps as there are threads at the same time, which share nothing but the
	// machine: what it reaches is what the machine gives to that many threads.
	apartVariant = "apart"

	// restTime lies between two turns: threads that wait for more to do by spinning have given up by then.
	restTime = 20 * time.Millisecond
	// trials is the number of rounds after which slower variants are left out, and those that do not count at all.
	trials = 3
	// slower says by how much a variant must be slower to be left out.
	slower = 1.1
	// turnTime is about how long a turn of training should last.
	turnTime = 300 * time.Millisecond
)

// warm prepares the entrant's code and memory by runs of so many units of work that do not count, at least one, and
// decides on the length of its turns: units of work, or, where that is 0, as many as fit in turnTime. Trial is that of the
// fastest run; where there are several, the first does not count for it.
func (e *entrant) warm(ctx context.Context, runs, warmUnits, units int) error {
	for i := range runs {
		a, err := e.ask(ctx, warmUnits)
		if err != nil {
			return err
		}
		if i > 0 || runs == 1 {
			e.Trial = max(e.Trial, float64(warmUnits*e.images)/a.Seconds)
		}
	}
	if e.units = units; units == 0 {
		e.units = max(1, int(turnTime.Seconds()*e.Trial/float64(e.images)+0.5))
	}
	return nil
}

// race lets all entrants work in turns. The one to begin moves on from round to round, so that none always follows the
// same one.
func race(ctx context.Context, entrants []*entrant, rounds int) error {
	for round := 1; round <= rounds; round++ {
		for i := range entrants {
			e := entrants[(i+round)%len(entrants)]
			if e.Out > 0 && e.Out <= round {
				continue
			}
			if err := e.turn(ctx, round); err != nil {
				return err
			}
		}
		if round == trials {
			leaveOut(entrants, round)
		}
	}
	return nil
}

// leaveOut leaves out what need not be measured further: variants of the peer that are slower than another one on as
// many threads, and those that do not count.
func leaveOut(entrants []*entrant, round int) {
	for _, e := range entrants {
		if e.Side != peerSide {
			continue
		}
		if e.Out > 0 {
			continue
		}
		if best := fastest(entrants, e.Threads); !e.Counted || e.speed()*slower < best.speed() {
			e.Out = round + 1
		}
	}
}

// preselect leaves out, before the first round, all variants of the peer on so many threads but the best in the runs that do
// not count. Those that do not count stay.
func preselect(entrants []*entrant, threads, best int) {
	var peers []*entrant
	for _, e := range entrants {
		if e.Side == peerSide && e.Counted && e.Threads == threads {
			peers = append(peers, e)
		}
	}
	slices.SortStableFunc(peers, func(a, b *entrant) int { return cmp.Compare(b.Trial, a.Trial) })
	for _, e := range peers[min(best, len(peers)):] {
		e.Out = 1
	}
}

// fastest returns the variant of the peer, among those that count, that is fastest on so many threads; nil where there
// is none.
func fastest(entrants []*entrant, threads int) *entrant {
	var best *entrant
	for _, e := range entrants {
		if e.Side != peerSide || !e.Counted || e.Threads != threads || len(e.Samples) == 0 {
			continue
		}
		if best == nil || e.speed() > best.speed() {
			best = e
		}
	}
	return best
}

// ratio returns the median over the rounds that both took part in of how many times faster a is than b.
func ratio(a, b *entrant) float64 { return pairs(a, b, sample.imagesPerSecond) }

// processorRatio is ratio by the time of processors: what other programs take away does not count.
func processorRatio(a, b *entrant) float64 {
	return pairs(a, b, func(s sample) float64 { return float64(s.Images) / s.Processor })
}

// pairs returns the median over the rounds that both took part in of the quotient of what of tells of their samples.
func pairs(a, b *entrant, of func(sample) float64) float64 {
	var quotients []float64
	for _, x := range a.Samples {
		i := slices.IndexFunc(b.Samples, func(y sample) bool { return y.Round == x.Round })
		if i >= 0 {
			quotients = append(quotients, of(x)/of(b.Samples[i]))
		}
	}
	return median(quotients)
}

// refused tells that a worker could not do something but goes on; the text says what.
func refused(err error) (text string, ok bool) {
	if errors.Is(err, errRefused) {
		return fmt.Sprint(err), true
	}
	return "", false
}
