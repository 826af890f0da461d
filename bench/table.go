package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// table is a table of Markdown.
type table struct {
	header []string
	rows   [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// write writes the table, its columns aligned, and an empty line. A table without rows is left out.
func (t *table) write(w io.Writer) {
	if len(t.rows) == 0 {
		return
	}
	width := make([]int, len(t.header))
	for _, row := range append([][]string{t.header}, t.rows...) {
		for i, cell := range row {
			width[i] = max(width[i], len([]rune(cell)))
		}
	}
	line := func(cells []string) {
		for i, cell := range cells {
			fmt.Fprintf(w, "| %s%s ", cell, strings.Repeat(" ", width[i]-len([]rune(cell))))
		}
		fmt.Fprintln(w, "|")
	}
	line(t.header)
	for _, n := range width {
		fmt.Fprint(w, "|", strings.Repeat("-", n+2))
	}
	fmt.Fprintln(w, "|")
	for _, row := range t.rows {
		line(row)
	}
	fmt.Fprintln(w)
}

// missing stands for what was not measured.
const missing = "–"

// The ways of writing numbers.

func number(v float64, format string) string {
	if v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return missing
	}
	return fmt.Sprintf(format, v)
}

func perSecond(v float64) string {
	if v >= 9_999.5 {
		return number(v/1000, "%.1f k")
	}
	return number(v, "%.0f")
}

func times(v float64) string        { return number(v, "%.2f ×") }
func percent(v float64) string      { return number(100*v, "%.0f %%") }
func milliseconds(v float64) string { return number(1000*v, "%.1f ms") }

// writeTables prints all that was measured.
func (r *record) writeTables(w io.Writer) {
	fmt.Fprintf(w, "%s; %s, %d processors, kernels %s; %s", orUnknown(r.Commit, "commit unknown"), orUnknown(r.Machine.CPU, r.Machine.System),
		r.Machine.CPUs, r.Machine.Kernel, r.Machine.Go)
	if about := r.Workers[peerSide]; about != nil {
		fmt.Fprintf(w, "; PyTorch %s", about["torch"])
	}
	unit := "second"
	if r.ByProcessor {
		unit = "second of processor time"
	}
	fmt.Fprintf(w, ". Images a %s.\n\n", unit)
	t := r.trainingTable()
	t.write(w)
	if slices.ContainsFunc(t.rows, func(cells []string) bool { return cells[len(cells)-1] != missing }) {
		fmt.Fprint(w, "*PyTorch with bfloat16 products, which are less exact: shown, not compared with.\n\n")
	}
	r.inferenceTable().write(w)
	r.coldTable().write(w)
	r.programTable().write(w)
	r.scalingTable().write(w)
	r.goalTable().write(w)
	if u := r.Undisturbed; u > 0 && u < 0.97 && !r.ByProcessor {
		fmt.Fprintf(w, "Other programs ran at the same time: turns on one thread had a processor for %s of their time.\n", percent(u))
	}
	for _, row := range r.Rows {
		for _, n := range row.Notes {
			fmt.Fprintf(w, "Not measured: %s: %s\n", row.Title, n)
		}
	}
	for _, s := range r.Skipped {
		fmt.Fprintf(w, "Not measured: %s\n", s)
	}
}

func orUnknown(text, unknown string) string {
	if text == "" {
		return unknown
	}
	return text
}

// variantSpeed returns the speed of the variants for which is holds: the fastest.
func (r *result) variantSpeed(threads int, is func(parts []string) bool) float64 {
	var best float64
	for _, e := range r.Entrants {
		if e.Side == peerSide && e.Threads == threads && is(strings.Split(e.Variant, "+")) && len(e.Samples) > 0 {
			best = max(best, e.speed())
		}
	}
	return best
}

// trainingTable has a line for each training step and number of threads.
func (r *record) trainingTable() *table {
	t := &table{header: []string{
		"training step", "images", "threads", "imgsearch", "contiguous", "channels_last", "torch.compile", "ratio",
		"share of peak", "bf16 autocast*",
	}}
	for _, c := range r.Comparisons {
		row := r.row(c.Row)
		if row.Kind != "train" {
			continue
		}
		name := row.Net
		if row.ISA != "" {
			name += ", " + strings.ToUpper(row.ISA)
		}
		has := func(part string) func([]string) bool {
			return func(parts []string) bool { return slices.Contains(parts, part) }
		}
		t.add(name, fmt.Sprint(row.Images), fmt.Sprint(c.Threads), perSecond(c.Ours),
			perSecond(row.variantSpeed(c.Threads, func(p []string) bool { return slices.Equal(p, []string{"contiguous"}) })),
			perSecond(row.variantSpeed(c.Threads, func(p []string) bool { return slices.Equal(p, []string{"channels_last"}) })),
			perSecond(row.variantSpeed(c.Threads, has("compile"))),
			times(c.Ratio), percent(c.PeakShare), perSecond(row.variantSpeed(c.Threads, has("bf16"))))
	}
	return t
}

// inferenceTable has a line for each row of embeddings and number of threads.
func (r *record) inferenceTable() *table {
	t := &table{header: []string{"inference", "threads", "imgsearch", "PyTorch, its best", "ratio", "share of peak", "the best is"}}
	for _, c := range r.Comparisons {
		row := r.row(c.Row)
		if row.Kind != "embed" {
			continue
		}
		ours, peer := perSecond(c.Ours)+" images/s", perSecond(c.Peer)+" images/s"
		if row.Row == latencyRow {
			ours, peer = milliseconds(1/c.Ours), milliseconds(1/c.Peer)
		}
		if c.Peer == 0 {
			peer = missing
		}
		t.add(row.Title, fmt.Sprint(c.Threads), ours, peer, times(c.Ratio), percent(c.PeakShare), c.Variant)
	}
	return t
}

// coldTable tells how long whole processes take.
func (r *record) coldTable() *table {
	t := &table{header: []string{"whole process", "median"}}
	if r.Cold == nil {
		return t
	}
	t.add("`imgsearch version`", milliseconds(median(r.Cold.Version)))
	t.add("`imgsearch query PICTURE`, "+r.Cold.Gallery+" indexed", milliseconds(median(r.Cold.Query)))
	if len(r.Cold.Peer) > 0 {
		t.add("Python with PyTorch, one embedding", milliseconds(median(r.Cold.Peer)))
	}
	return t
}

// programTable compares `imgsearch train` with the bare step.
func (r *record) programTable() *table {
	t := &table{header: []string{"`imgsearch train`", "threads", "program", "bare step", "share", "peak memory"}}
	for _, p := range r.Programs {
		t.add(fmt.Sprintf("preset default, batch %d, %d steps", p.Batch, p.Steps), fmt.Sprint(p.Threads),
			perSecond(median(p.Program)), perSecond(median(p.Bare)), percent(p.share()), number(float64(p.Memory)/1e6, "%.0f MB"))
	}
	return t
}

// scalingTable tells how much faster imgsearch is with more threads, and how much more of the same steps the machine does
// where each has a thread and nothing in common with the others.
func (r *record) scalingTable() *table {
	t := &table{header: []string{"scaling", "threads", "times as fast as 1 thread", "steps of 1 thread each, at a time"}}
	for _, row := range r.Rows {
		if row.Kind != "train" || row.ISA != "" {
			continue
		}
		one := row.ours(1)
		for _, e := range row.Entrants {
			if one == nil || e.Side != ourSide || e.Variant != "" || e.Threads == 1 {
				continue
			}
			apart := missing
			for _, a := range row.Entrants {
				if a.Variant == apartVariant && a.Threads == e.Threads {
					apart = times(ratio(a, one))
				}
			}
			t.add(row.Title, fmt.Sprint(e.Threads), times(ratio(e, one)), apart)
		}
	}
	return t
}

// row returns the result of that name.
func (r *record) row(name string) *result {
	return r.Rows[slices.IndexFunc(r.Rows, func(row *result) bool { return row.Row == name })]
}
