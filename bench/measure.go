package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

// result is what was measured of a row.
type result struct {
	Row   string `json:"row"`
	Net   string `json:"net"`
	Title string `json:"title"`
	Kind  string `json:"kind"` // "train" or "embed"
	ISA   string `json:"isa,omitempty"`
	// Images is how many images a unit of work has, a step or a call; FLOPs the float32 operations for one image,
	// multiplications and additions of convolutions and linear layers counted as if windows were summed up one by one.
	Images   int        `json:"images"`
	FLOPs    int64      `json:"flops_per_image"`
	Entrants []*entrant `json:"entrants"`
	// Losses are those of the first steps on which both sides agree; none for embeddings.
	Losses []float64 `json:"losses,omitempty"`
	// Notes tell what could not be measured, and why.
	Notes []string `json:"notes,omitempty"`
}

// ours returns imgsearch's entrant for a number of threads, or nil.
func (r *result) ours(threads int) *entrant {
	for _, e := range r.Entrants {
		if e.Side == ourSide && e.Variant == "" && e.Threads == threads {
			return e
		}
	}
	return nil
}

// comparison is a row's outcome on a number of threads.
type comparison struct {
	Row     string `json:"row"`
	Threads int    `json:"threads"`
	// Ours and Peer are medians of images a second; Variant names the fastest way of running the peer, "" where there is
	// none; Ratio is the median over the rounds of ours against it.
	Ours    float64 `json:"imgsearch_images_per_second"`
	Peer    float64 `json:"peer_images_per_second,omitempty"`
	Variant string  `json:"peer_variant,omitempty"`
	Ratio   float64 `json:"ratio,omitempty"`
	// ProcessorRatio is the same by the time of processors instead of the clock, on one thread only: it tells more
	// than Ratio where other programs ran at the same time.
	ProcessorRatio float64 `json:"processor_ratio,omitempty"`
	// PeakShare is our operations a second over what the processor can do at most, measured in the same turns.
	PeakShare float64 `json:"share_of_peak"`
}

// compare sums up a row.
func (r *result) compare(threads int) (comparison, bool) {
	ours := r.ours(threads)
	if ours == nil || len(ours.Samples) == 0 {
		return comparison{}, false
	}
	c := comparison{Row: r.Row, Threads: threads, Ours: ours.speed()}
	c.PeakShare = median(collect(ours.Samples, func(s sample) float64 {
		return s.imagesPerSecond() * float64(r.FLOPs) / s.Peak
	}))
	if best := fastest(r.Entrants, threads); best != nil {
		c.Peer, c.Variant, c.Ratio = best.speed(), best.Variant, ratio(ours, best)
		if p := processorRatio(ours, best); threads == 1 && !math.IsNaN(p) && !math.IsInf(p, 0) {
			c.ProcessorRatio = p
		}
	}
	return c, true
}

// measurer measures rows.
type measurer struct {
	workers *workers
	threads []int
	// byProcessor makes all times those of processors; for one thread.
	byProcessor bool
	log         func(format string, args ...any)
}

// measure prepares all entrants of a row and lets them race.
func (m *measurer) measure(ctx context.Context, r row) (*result, error) {
	out := &result{
		Row: r.name, Net: r.net, Title: r.title, Kind: r.work.Kind, ISA: r.isa, Images: r.images, FLOPs: r.flops,
	}
	defer m.forget(ctx, out)
	note := func(format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		m.log("  %s", text)
		out.Notes = append(out.Notes, text)
	}
	var want []float64
	for _, threads := range m.threads {
		ours, err := m.workers.get(ourSide, threads, r.isa)
		if err != nil {
			return nil, err
		}
		e, err := m.enter(ctx, r, out, &entrant{Side: ourSide, Threads: threads, Counted: true, worker: ours}, &want)
		if err != nil {
			return nil, err
		}
		m.log("  imgsearch, %s: %.0f images/s", threadsText(threads), e.Trial)
		if threads > 1 && r.work.Kind == "train" && r.isa == "" {
			e, err := m.enter(ctx, r, out, &entrant{Side: ourSide, Variant: apartVariant, Threads: threads, worker: ours}, &want)
			if err != nil {
				return nil, err
			}
			m.log("  imgsearch, %d steps of 1 thread at a time: %.0f images/s", threads, e.Trial)
		}
		if m.workers.python == "" {
			continue
		}
		peer, err := m.workers.get(peerSide, threads, r.isa)
		if err != nil {
			return nil, err
		}
		best := ""
		var trial float64
		enter := func(variant string, counted bool) error {
			begun := time.Now()
			e, err := m.enter(ctx, r, out, &entrant{
				Side: peerSide, Variant: variant, Threads: threads, Counted: counted, worker: peer,
			}, &want)
			if text, ok := refused(err); ok {
				_, _ = peer.ask(ctx, request{Do: "forget", Job: jobName(r, variant)})
				note("%s, %s: %s", variant, threadsText(threads), text)
				return nil
			}
			if err != nil {
				return err
			}
			m.log("  PyTorch %s, %s: %.0f images/s, ready in %.0f s", variant, threadsText(threads), e.Trial, time.Since(begun).Seconds())
			if counted && e.Trial > trial {
				best, trial = variant, e.Trial
			}
			return nil
		}
		for _, v := range r.variants {
			if err := enter(v, true); err != nil {
				return nil, err
			}
		}
		if r.compiled != "" && best != "" {
			layout, _, _ := strings.Cut(best, "/")
			if err := enter(strings.TrimSuffix(layout, "+jit")+r.compiled, true); err != nil {
				return nil, err
			}
		}
		for _, v := range r.shown {
			if err := enter(v, false); err != nil {
				return nil, err
			}
		}
		preselect(out.Entrants, threads, r.best)
	}
	if r.work.Kind == "train" {
		out.Losses = want
	}
	return out, race(ctx, out.Entrants, r.rounds)
}

// enter prepares an entrant, checks that it does what imgsearch does, and warms it up. The first one that ever enters a
// row is imgsearch's: it makes the files that the others read, and its results are those that all others must have.
func (m *measurer) enter(ctx context.Context, r row, out *result, e *entrant, want *[]float64) (*entrant, error) {
	e.job = jobName(r, e.Variant)
	prepared, err := e.worker.ask(ctx, request{Do: "prepare", Job: e.job, Work: &r.work, Variant: e.Variant})
	if err != nil {
		return nil, err
	}
	first := *want == nil
	if first && r.work.Kind == "train" {
		if _, err := e.worker.ask(ctx, request{Do: "write", Job: e.job}); err != nil {
			return nil, err
		}
		out.FLOPs = prepared.FLOPs
	}
	got, err := results(ctx, e.worker, e.job, r)
	if err != nil {
		return nil, err
	}
	if first {
		*want = got
	}
	if e.Counted {
		if err := agree(r.work.Kind, got, *want); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", e.worker.name, e.job, err)
		}
	}
	e.images, e.byProcessor = r.images, m.byProcessor
	if e.Variant == apartVariant {
		e.images *= e.Threads
	}
	if err := e.warm(ctx, r.warmRuns, r.warm, r.units); err != nil {
		return nil, err
	}
	out.Entrants = append(out.Entrants, e)
	return e, nil
}

func jobName(r row, variant string) string { return strings.TrimSuffix(r.name+" "+variant, " ") }

// forget frees what the entrants hold.
func (m *measurer) forget(ctx context.Context, r *result) {
	for _, e := range r.Entrants {
		if _, err := e.worker.ask(ctx, request{Do: "forget", Job: e.job}); err != nil && !errors.Is(err, errRefused) {
			return // the worker is gone, and its memory with it
		}
	}
}

func threadsText(n int) string {
	if n == 1 {
		return "1 thread"
	}
	return fmt.Sprintf("%d threads", n)
}
