package training

import (
	"math"
	"slices"
	"time"
)

// Phase says what a run is busy with.
type Phase string

const (
	// Loading decodes the images: Progress.Loaded of Progress.Images.
	Loading Phase = "loading"
	// Preparing sets up the net and, for a budget of minutes, measures the speed.
	Preparing Phase = "preparing"
	// Training runs steps.
	Training Phase = "training"
	// Finishing computes what Options.Finish adds to the encoder, where that takes time.
	Finishing Phase = "finishing"
	// Finished comes once, at the end.
	Finished Phase = "finished"
)

// Progress is a snapshot of a run. Numbers that are not known yet are NaN, counts and times 0.
type Progress struct {
	Phase Phase
	// Loaded of Images are decoded (Loading); later Images is the number of training images.
	Loaded, Images int
	// ImagesFile is the file that the decoded images are in; "" while they are loaded, and where they are in memory.
	ImagesFile string

	// Step steps of Steps are done, which become fewer where a run stops early; Epoch counts passes over the training images, with fraction.
	Step, Steps int
	Epoch       float64
	// Loss is the mean over about the last hundred steps.
	Loss float64
	// Active is the share of triplets that still have a loss, 0 to 1, over about the last hundred steps; NaN where the
	// loss has no triplets.
	Active float64
	// LearningRate is that of the last step.
	LearningRate float64
	// ImagesPerSecond counts anchors; each goes through the net two or three times a step.
	ImagesPerSecond float64
	// Elapsed is the time spent in training, that before a resume counted; Left is how much longer it will take.
	Elapsed, Left time.Duration

	// HeldBack is the newest measurement on the held-back images; nil where there is none.
	HeldBack *HeldBack
	// Collapsed is true while all images get nearly the same embedding.
	Collapsed bool
	// Warnings lists what there was to warn of so far. The slice must not be changed.
	Warnings []string
}

// HeldBack is a measurement on images that were held back from the training. Nothing depends on it, but for Loss the end
// of a run with [StopOptions].
type HeldBack struct {
	// Step is the number of steps done before.
	Step int `json:"step"`
	// Images is how many there are.
	Images int `json:"images"`
	// Purity is there where the images have labels.
	Purity *Purity `json:"purity,omitempty"`
	// Match is the share of images whose random view has the image itself as the nearest of all held-back images. It
	// needs no labels; random embeddings have 1/Images.
	Match float64 `json:"match"`
	// Loss is that of the training for two views of each image, always the same ones, in batches of the training's size;
	// batch normalisation uses its running statistics. nil where there are too few images.
	Loss *float64 `json:"loss,omitempty"`
}

// Purity is the mean share of an image's nearest neighbours among the held-back images, itself excluded, that have its
// label.
type Purity struct {
	At1  float64 `json:"1"`
	At10 float64 `json:"10"`
	// Chance is what embeddings without any meaning would have.
	Chance float64 `json:"chance"`
}

// average is an exponentially weighted mean that is right from the first value on.
type average struct {
	Sum    float64 `json:"sum"`
	Weight float64 `json:"weight"`
}

func (a *average) add(x, decay float64) {
	a.Sum = decay*a.Sum + (1-decay)*x
	a.Weight = decay*a.Weight + (1 - decay)
}

func (a average) value() float64 {
	if a.Weight == 0 {
		return math.NaN()
	}
	return a.Sum / a.Weight
}

// mean adds up values between two lines of the run record.
type mean struct {
	Sum   float64 `json:"sum"`
	Count int     `json:"count"`
}

func (m *mean) add(x float64) {
	if !math.IsNaN(x) {
		m.Sum += x
		m.Count++
	}
}

// take returns the mean, or nil of no values, and starts anew.
func (m *mean) take() *float64 {
	if m.Count == 0 {
		return nil
	}
	x := m.Sum / float64(m.Count)
	*m = mean{}
	return &x
}

// meter keeps what Progress and the run record show of the steps. It is part of the checkpoint, so that a resumed run
// shows what an uninterrupted one would have shown.
type meter struct {
	Loss   average `json:"loss"`
	Active average `json:"active"`

	LossMean     mean `json:"loss_mean"`
	ActiveMean   mean `json:"active_mean"`
	PositiveMean mean `json:"positive_mean"`
	NegativeMean mean `json:"negative_mean"`
	SpreadMean   mean `json:"spread_mean"`
}

// smoothing makes averages forget with a half-life of about 70 steps.
const smoothing = 0.99

func (m *meter) add(r stepResult) {
	m.Loss.add(r.Loss, smoothing)
	if !math.IsNaN(r.Active) {
		m.Active.add(r.Active, smoothing)
	}
	m.LossMean.add(r.Loss)
	m.ActiveMean.add(r.Active)
	m.PositiveMean.add(r.PositiveDistance)
	m.NegativeMean.add(r.NegativeDistance)
	m.SpreadMean.add(r.Spread)
}

// speed measures the time of steps.
type speed struct {
	seconds average // a step's
}

func (s *speed) add(d time.Duration) { s.seconds.add(d.Seconds(), 0.95) }

func (s *speed) imagesPerSecond(batch int) float64 { return float64(batch) / s.seconds.value() }

func (s *speed) left(steps float64) time.Duration {
	seconds := s.seconds.value() * steps
	if !(seconds < math.MaxInt64/1e9) {
		return 0
	}
	return time.Duration(seconds * 1e9)
}

// progressEvery is the least time between two calls of OnProgress in one phase.
const progressEvery = 200 * time.Millisecond

// due says whether it is time to call OnProgress again.
func (t *trainer) due() bool {
	now := t.now()
	if now.Sub(t.shown) < progressEvery {
		return false
	}
	t.shown = now
	return true
}

// report calls OnProgress: at once when the phase is new, otherwise when it is time.
func (t *trainer) report(phase Phase) {
	if !t.due() && t.phase == phase {
		return
	}
	t.phase = phase
	p := Progress{
		Phase: phase, Loaded: t.corpus.len(), Images: len(t.train), Step: t.at.Step, Steps: t.at.Steps, Epoch: t.epoch(),
		Loss: t.at.Meter.Loss.value(), Active: t.at.Meter.Active.value(), LearningRate: math.NaN(),
		ImagesPerSecond: t.speed.imagesPerSecond(t.batch), HeldBack: t.at.HeldBack, Collapsed: t.at.Watch.Collapsed,
		Warnings: slices.Clip(t.at.Watch.Warnings),
	}
	if t.corpus.file != nil {
		p.ImagesFile = t.corpus.file.path
	}
	if t.at.Step > 0 {
		p.LearningRate = t.rate(t.at.Step - 1)
	}
	if phase != Preparing {
		p.Elapsed = seconds(t.seconds())
		p.Left = t.speed.left(t.stepsLeft())
	}
	t.OnProgress(p)
}
