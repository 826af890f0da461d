package dataset

import (
	"context"
	"errors"
	"runtime"
	"sync"
)

// Loaded is an image of a data set, decoded and cut to a square.
type Loaded struct {
	// Index is the image's place in the data set.
	Index int
	Entry Entry
	Sample
}

// Load decodes all of a data set, in order, each image as a square of the given size (see [Image.Square]); size 0 keeps
// the images as Read returns them. Workers is the number of goroutines that decode, 0 for one a processor. An image that
// cannot be decoded is handed to onProblem (which may be nil, and is called from the calling goroutine) and left out.
// The error is the context's, if it ended early; what was loaded until then comes with it.
func Load(ctx context.Context, ds Dataset, size, workers int, onProblem func(Problem)) ([]Loaded, error) {
	out := make([]Loaded, 0, ds.Len())
	err := each(ctx, ds, size, workers, func(i int, s Sample, err error) error {
		if err != nil {
			if onProblem != nil {
				onProblem(Problem{Source: ds.Entry(i).Source, Err: err})
			}
			return nil
		}
		out = append(out, Loaded{Index: i, Entry: ds.Entry(i), Sample: s})
		return nil
	})
	return out, err
}

// Each decodes all of a data set on workers goroutines (0 for one a processor) and hands every image, or the error that
// it gave, to fn: in order, one at a time, from the calling goroutine. At most a few decoded images a worker wait for
// fn, so a data set of any length passes through little memory. Each stops at the first error that fn returns, and
// returns it; when the context ends, it returns the context's error.
func Each(ctx context.Context, ds Dataset, workers int, fn func(i int, s Sample, err error) error) error {
	return each(ctx, ds, 0, workers, fn)
}

func each(ctx context.Context, ds Dataset, size, workers int, fn func(i int, s Sample, err error) error) error {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	workers = min(workers, max(1, ds.Len()))
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	type result struct {
		sample Sample
		err    error
	}
	type job struct {
		i    int
		done chan result
	}
	jobs := make(chan job)
	waiting := make(chan job, 4*workers) // what bounds the images that are decoded ahead
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel(errStopped)
	running.Go(func() {
		defer close(jobs)
		defer close(waiting)
		for i := range ds.Len() {
			j := job{i, make(chan result, 1)}
			select {
			case waiting <- j:
			case <-ctx.Done():
				return
			}
			select {
			case jobs <- j:
			case <-ctx.Done():
				return
			}
		}
	})
	for range workers {
		running.Go(func() {
			for j := range jobs {
				s, err := ds.Read(ctx, j.i)
				if err == nil && size > 0 {
					s.Image = s.Image.Square(size)
				}
				j.done <- result{s, err}
			}
		})
	}
	for j := range waiting {
		select {
		case r := <-j.done:
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err := fn(j.i, r.sample, r.err); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return ctx.Err()
}

// errStopped ends the workers when fn has returned an error.
var errStopped = errors.New("stopped")
