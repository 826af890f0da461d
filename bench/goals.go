package main

import (
	"math"
	"slices"
	"strings"
)

// goal is a figure that imgsearch is meant to reach.
type goal struct {
	what       string
	least, aim float64
	smaller    bool // is better
	format     func(float64) string
	of         func(r *record) []float64
}

func megabytes(v float64) string { return number(v/1e6, "%.0f MB") }

var goals = []goal{
	{what: "training step, N77, 128 and 512 images, against PyTorch", least: 1.2, aim: 2, format: times, of: ratios("n77-128", "n77-512")},
	{what: "training step, the study's net, 32 triplets, against PyTorch", least: 1, aim: 1.5, format: times, of: ratios("seed")},
	{what: "training step, the default preset's net, share of the FMA peak", least: 0.6, aim: 0.8, format: percent, of: peakShares("default")},
	{what: "inference of 10,000 images, default net, against PyTorch", least: 1.5, aim: 2.5, format: times, of: ratios("embed")},
	{what: "from 1 to 2 threads, training step", least: 1.8, aim: 1.95, format: times, of: scalings},
	{what: "AVX2 against PyTorch held to AVX2", least: 1, aim: 1.3, format: times, of: ratios(isaAVX2+"-n77-128", isaAVX2+"-default")},
	{what: "`imgsearch train` against the bare step", least: 0.9, aim: 0.97, format: percent, of: func(r *record) []float64 {
		return collect(r.Programs, wholeRun.share)
	}},
	{what: "peak memory of training at batch 256", least: 1e9, aim: 400e6, smaller: true, format: megabytes, of: func(r *record) []float64 {
		return collect(r.Programs, func(p wholeRun) float64 { return float64(p.Memory) })
	}},
}

// goalTable sets the figures to be reached beside what was measured, for all rows and numbers of threads that the goal is
// about.
func (r *record) goalTable() *table {
	t := &table{header: []string{"goal", "measured", "at least", "aim", ""}}
	for _, g := range goals {
		values := slices.DeleteFunc(g.of(r), func(v float64) bool { return v == 0 || math.IsNaN(v) })
		if len(values) == 0 {
			continue
		}
		t.add(g.what, strings.Join(formatted(values, g.format), ", "), g.format(g.least), g.format(g.aim), g.verdict(values))
	}
	return t
}

// verdict says what the worst of the values reaches.
func (g goal) verdict(values []float64) string {
	worst := slices.Min(values)
	reaches := func(v float64) bool { return worst >= v }
	if g.smaller {
		worst = slices.Max(values)
		reaches = func(v float64) bool { return worst <= v }
	}
	switch {
	case reaches(g.aim):
		return "aim reached"
	case reaches(g.least):
		return "reached"
	}
	return "missed"
}

func formatted(values []float64, format func(float64) string) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = format(v)
	}
	return out
}

// ofRows returns what of tells of the comparisons of some rows.
func ofRows(of func(comparison) float64, rows ...string) func(r *record) []float64 {
	return func(r *record) []float64 {
		var out []float64
		for _, c := range r.Comparisons {
			if slices.Contains(rows, c.Row) {
				out = append(out, of(c))
			}
		}
		return out
	}
}

func ratios(rows ...string) func(r *record) []float64 {
	return ofRows(func(c comparison) float64 { return c.Ratio }, rows...)
}

func peakShares(rows ...string) func(r *record) []float64 {
	return ofRows(func(c comparison) float64 { return c.PeakShare }, rows...)
}

// scalings returns how much faster two threads are than one.
func scalings(r *record) []float64 {
	var out []float64
	for _, row := range r.Rows {
		if row.Kind != "train" || row.ISA != "" {
			continue
		}
		if one, two := row.ours(1), row.ours(2); one != nil && two != nil {
			out = append(out, ratio(two, one))
		}
	}
	return out
}
