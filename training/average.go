package training

import (
	"slices"

	"imgsearch/internal/kernel"
)

// AverageOptions says how weights are averaged over the steps of a run. Averages of weights that jump about a good place
// lie nearer to it than any of them (Polyak and Juditsky 1992); the encoder, and what is measured on held-back images, is
// the average then, of batch normalisation's running statistics too. Steps go on from the weights themselves.
type AverageOptions struct {
	// Decay is the share that the average keeps of itself in a step, 0 to below 1; 0 is no average: the encoder has the
	// weights of the last step. 0.999 looks back on about 1,000 steps. Larger ones are smoother and lag behind: it should be
	// so that 1/(1-Decay) is a small share of all steps. The first steps keep less, (1+t)/(10+t) after t steps, so that the
	// average leaves the first weights quickly.
	Decay float64 `json:"decay,omitempty"`
}

// validate names the first field that is out of range.
func (o AverageOptions) validate() error {
	if !(o.Decay >= 0 && o.Decay < 1) {
		return optionError("average decay", o.Decay, "0 to below 1")
	}
	return nil
}

// averager keeps the exponentially weighted average of all parameters.
type averager[T kernel.Float] struct {
	decay   float64
	threads int
	// count holds the number of steps; one value, part of the state. float32 lets it grow to 2^24, when the decay has
	// long been reached.
	count  []T
	values [][]T // by parameter
	tasks  []averageTask[T]
	n      int // of all values
	// scratch is memory of each thread.
	scratch [][]T
}

// averageTask is a piece of a parameter.
type averageTask[T kernel.Float] struct{ value, average []T }

// newAverager starts averages at the values of the parameters.
func newAverager[T kernel.Float](o AverageOptions, threads int, parameters []*parameter[T]) *averager[T] {
	a := &averager[T]{decay: o.Decay, threads: kernel.Threads(threads), count: make([]T, 1)}
	for _, p := range parameters {
		average := slices.Clone(p.data)
		a.values = append(a.values, average)
		a.n += len(average)
		for from := 0; from < len(average); from += solverPiece {
			to := min(from+solverPiece, len(average))
			a.tasks = append(a.tasks, averageTask[T]{p.data[from:to], average[from:to]})
		}
	}
	a.scratch = make([][]T, a.threads)
	for i := range a.scratch {
		a.scratch[i] = make([]T, solverPiece)
	}
	return a
}

// step takes in what the parameters are now.
func (a *averager[T]) step() {
	done := float64(a.count[0])
	share := T(1 - min(a.decay, (1+done)/(10+done)))
	a.count[0]++
	threads := min(a.threads, 1+a.n/(1<<16))
	kernel.ParallelPieces(threads, len(a.tasks), 1+len(a.tasks)/(threads*8), func(worker, from, to int) {
		for _, t := range a.tasks[from:to] {
			// By the difference, so that values that stay the same have themselves as average.
			difference := a.scratch[worker][:len(t.value)]
			copy(difference, t.value)
			kernel.Axpy(-1, t.average, difference)
			kernel.Axpy(share, difference, t.average)
		}
	})
}
