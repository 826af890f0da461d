package main

import (
	"math"
	"slices"
)

// point is a place on an engine's curve.
type point struct {
	Ef     int     `json:"ef_search"`
	Recall float64 `json:"recall"`
	QPS    float64 `json:"queries_per_second"` // the median over the rounds
}

// missed is the share that a recall misses, as the curves are drawn over it; a recall of 1 counts as if half an answer of
// the given number were missing.
func missed(recall float64, answers int) float64 { return max(1-recall, 0.5/float64(answers)) }

// qpsAt interpolates a curve, sorted by efSearch, at a recall: the most queries a second of a setting with that recall at
// least. ok is false where no setting reaches the recall.
func qpsAt(curve []point, recall float64, answers int) (qps float64, ok bool) {
	for i, p := range curve {
		if p.Recall < recall {
			continue
		}
		if p.QPS > qps {
			qps, ok = p.QPS, true
		}
		if i == 0 || curve[i-1].Recall >= recall {
			continue
		}
		before := curve[i-1]
		a, b := math.Log(missed(before.Recall, answers)), math.Log(missed(p.Recall, answers))
		if a == b {
			continue
		}
		t := (math.Log(missed(recall, answers)) - a) / (b - a)
		at := math.Exp(math.Log(before.QPS) + t*(math.Log(p.QPS)-math.Log(before.QPS)))
		qps = max(qps, at)
	}
	return qps, ok
}

func median(values []float64) float64 {
	n := len(values)
	if n == 0 {
		return math.NaN()
	}
	v := slices.Sorted(slices.Values(values))
	return (v[(n-1)/2] + v[n/2]) / 2
}
