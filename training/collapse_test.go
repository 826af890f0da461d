package training

import (
	"math"
	"strings"
	"testing"
)

func TestWatch(t *testing.T) {
	nan := math.NaN()
	for _, test := range []struct {
		name       string
		normalised bool
		equal      float64
		result     func(step int) stepResult
		warning    string // part of the only one, "" for none
		collapsed  bool
	}{
		{"healthy", true, 0.5, func(step int) stepResult {
			return stepResult{Loss: 0.5 - 0.0004*float64(step), Active: 0.3, Spread: 0.12}
		}, "", false},
		{"collapse of unit vectors", true, nan, func(step int) stepResult {
			return stepResult{Loss: 1, Active: nan, Spread: 0.12 / (1 + float64(step))}
		}, "collapsed", true},
		{"collapse of free vectors", false, nan, func(step int) stepResult {
			return stepResult{Loss: 1, Active: nan, Spread: 30 * math.Exp(-0.05*float64(step))}
		}, "collapsed", true},
		{"collapse behind a head", false, nan, func(step int) stepResult {
			return stepResult{Loss: 1, Active: nan, Spread: 0.12, NegativeDistance: math.Exp(-0.05 * float64(step))}
		}, "what the loss sees has collapsed", true},
		{"stuck", true, 0.5, func(int) stepResult { return stepResult{Loss: 0.5001, Active: 1, Spread: 0.12} }, "stays at 0.5", true},
		{"solved", false, 0.5, func(step int) stepResult {
			return stepResult{Loss: 0.0001, Active: 1 / float64(1+step), Spread: 1}
		}, "too easy", false},
	} {
		var w watch
		var texts []string
		for step := range 1200 {
			if text := w.step(step, test.result(step), test.normalised, 64, test.equal, true); text != "" {
				texts = append(texts, text)
			}
		}
		switch {
		case test.warning == "" && len(texts) > 0, test.warning != "" && (len(texts) != 1 || !strings.Contains(texts[0], test.warning)):
			t.Errorf("%s: warnings %q", test.name, texts)
		}
		if w.Collapsed != test.collapsed {
			t.Errorf("%s: collapsed %v", test.name, w.Collapsed)
		}
	}
}

func TestWatchRecovers(t *testing.T) {
	var w watch
	spread := func(s float64) {
		w.step(0, stepResult{Loss: 1, Active: math.NaN(), Spread: s}, true, 64, math.NaN(), false)
	}
	for range 30 {
		spread(0.12)
	}
	for range 30 {
		spread(0.0001)
	}
	if !w.Collapsed {
		t.Error("not collapsed")
	}
	spread(0.12)
	if w.Collapsed || len(w.Warnings) != 1 {
		t.Errorf("after recovery: collapsed %v, warnings %q", w.Collapsed, w.Warnings)
	}
}

// TestEqualLoss asks the losses themselves.
func TestEqualLoss(t *testing.T) {
	const groups, dim = 5, 3
	for _, l := range []LossOptions{
		{Loss: LossTriplet, Miner: MinerRandom, Margin: 0.5}, {Loss: LossTriplet, Miner: MinerHard, Margin: 0.3},
		{Loss: LossTriplet, Miner: MinerSemiHard, Margin: 0.3}, {Loss: LossTriplet, Miner: MinerAll, Margin: 0.3},
		{Loss: LossSmoothTriplet, Temperature: 0.1}, {Loss: LossNTXent, Temperature: 0.2},
		{Loss: LossDecoupledNTXent, Temperature: 0.2}, {Loss: LossAlignUniform}, {Loss: LossVICReg},
		{Loss: LossVICReg, Weights: LossWeights{Variance: 3}}, {Loss: LossBarlowTwins},
	} {
		s := newScorer[float64](l, groups, dim, 1)
		embeddings := make([]float64, l.rows()*groups*dim)
		for i := range embeddings {
			embeddings[i] = []float64{0.6, 0, 0.8}[i%dim]
		}
		if got, want := s.score(embeddings).loss, equalLoss(l, groups); math.Abs(got-want) > 1e-9 {
			t.Errorf("%+v: %v, want %v", l, got, want)
		}
	}
	for _, l := range []LossOptions{
		{Loss: LossMSE}, {Loss: LossAlignUniform, Weights: LossWeights{Uniformity: -1}},
		{Loss: LossVICReg, Weights: LossWeights{Variance: -1}},
	} {
		if got := equalLoss(l, 4); !math.IsNaN(got) {
			t.Errorf("%+v: %v, want NaN", l, got)
		}
	}
}
