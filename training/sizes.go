package training

import (
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"slices"

	"imgsearch/embedder"
	"imgsearch/internal/kernel"
)

// SizeOptions lets a run begin on smaller images, whose steps cost less in proportion to their pixels, and end on those of
// the encoder's size (progressive resizing; Tan and Le 2021, arXiv 2104.00298, section 4). The zero value has all steps
// at the encoder's size.
//
// The net has the same weights at all sizes, so it must be one that works at any: behind a [embedder.GlobalMean], not
// behind a [embedder.Flatten]. Views are made at the smaller size at once. At a change of size everything goes on as it
// was, the solver's state and running statistics included.
type SizeOptions struct {
	// Stages follow one another, at most 16. Default none.
	Stages []SizeStage `json:"stages,omitempty"`
}

// SizeStage is a part of a run.
type SizeStage struct {
	// Share of the run's steps, above 0; those of all stages add up to 1.
	Share float64 `json:"share"`
	// Size is the side in pixels, from half the encoder's size, and at least 8, to the encoder's. That of the last stage
	// is the encoder's.
	Size int `json:"size"`
}

const (
	maxStages = 16
	leastSide = 8 // of images that a net is trained on
)

// validate checks the stages of a run that trains a.
func (o SizeOptions) validate(a embedder.Architecture) error {
	if len(o.Stages) == 0 {
		return nil
	}
	if len(o.Stages) > maxStages {
		return optionError("sizes: stages", len(o.Stages), fmt.Sprintf("at most %d", maxStages))
	}
	var all float64
	for i, s := range o.Stages {
		if !(s.Share > 0 && s.Share <= 1) {
			return optionError(fmt.Sprintf("sizes: share of stage %d", i+1), s.Share, "above 0 to 1")
		}
		all += s.Share
		name := fmt.Sprintf("sizes: size of stage %d", i+1)
		least := max(leastSide, (a.InputSize+kernel.MaxShrink-1)/kernel.MaxShrink)
		if s.Size < least || s.Size > a.InputSize {
			return optionError(name, s.Size, fmt.Sprintf("%d to %d", least, a.InputSize))
		}
		if err := worksAt(a, s.Size); err != nil {
			return fmt.Errorf("%w: %s %d: %w", ErrOptions, name, s.Size, err)
		}
	}
	if math.Abs(all-1) > 1e-6 {
		return optionError("sizes: shares", all, "1 all together")
	}
	if last := o.Stages[len(o.Stages)-1].Size; last != a.InputSize {
		return optionError("sizes: size of the last stage", last, fmt.Sprintf("%d, the encoder's", a.InputSize))
	}
	return nil
}

// worksAt tells why a net with the weights of a cannot take images of another size.
func worksAt(a embedder.Architecture, size int) error {
	other := a.Clone()
	other.InputSize = size
	if other.Std == [3]float32{} {
		other.Std = [3]float32{1, 1, 1}
	}
	if err := other.Validate(); err != nil {
		return err
	}
	there := other.Parameters()
	for i, p := range a.Parameters() {
		if !slices.Equal(p.Shape, there[i].Shape) {
			return fmt.Errorf("%s would have shape %v in place of %v: only a net with a global mean works at any size", p.Name, there[i].Shape, p.Shape)
		}
	}
	return nil
}

// first is the size that a run begins at, full being the encoder's.
func (o SizeOptions) first(full int) int {
	if len(o.Stages) == 0 {
		return full
	}
	return o.Stages[0].Size
}

// at returns the size of a step, and the step before which it ends.
func (o SizeOptions) at(full, step, steps int) (size, end int) {
	var share float64
	for i := range len(o.Stages) - 1 {
		share += o.Stages[i].Share
		if end := int(math.Round(share * float64(steps))); step < end {
			return o.Stages[i].Size, end
		}
	}
	return full, steps
}

// resize goes on with a net for images of another size, in the state of the one before.
func (t *trainer) resize(side int) error {
	if side == t.side {
		return nil
	}
	state := t.net.state()
	if err := t.net.close(); err != nil {
		return err
	}
	t.net = nil
	runtime.GC() // so that the memory of the one is there for the other
	debug.FreeOSMemory()
	c := t.config
	c.Architecture = c.Architecture.Clone()
	c.Architecture.InputSize, c.Weights = side, state
	net, err := t.makeNet(c)
	if err != nil {
		return fmt.Errorf("set up the net for images of size %d: %w", side, err)
	}
	t.net = net
	if err := net.setState(state); err != nil {
		return fmt.Errorf("set up the net for images of size %d: %w", side, err)
	}
	ratio := float64(side) / float64(t.side)
	t.speed.seconds.Sum *= ratio * ratio
	t.side = side
	return nil
}

// enter brings the net to the size of the step at hand and starts to fill the steps up to the next change.
func (t *trainer) enter() (*pipeline, error) {
	side, end := t.sizeAt(t.at.Step)
	if err := t.resize(side); err != nil {
		return nil, err
	}
	return t.pipeline(t.at.Step, end), nil
}

// sizeAt returns the size of a step, and the step before which it ends. A run that has stalled goes on at the encoder's
// size.
func (t *trainer) sizeAt(step int) (size, end int) {
	if s := t.at.Stop.Stopped; s != nil && step >= s.Step {
		return t.Size, t.at.Steps
	}
	return t.Sizes.at(t.Size, step, t.planned())
}

// stepsLeft is the number of steps that are left, in steps of the present size.
func (t *trainer) stepsLeft() float64 {
	var left float64
	for step := t.at.Step; step < t.at.Steps; {
		side, end := t.sizeAt(step)
		ratio := float64(side) / float64(t.side)
		left += float64(end-step) * ratio * ratio
		step = end
	}
	return left
}
