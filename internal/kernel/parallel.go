package kernel

import (
	"runtime"
	"sync"
)

// Threads returns the number of threads that a function of this package uses when it is asked for n: n itself, or
// GOMAXPROCS where n is not positive.
func Threads(n int) int {
	if n > 0 {
		return n
	}
	return runtime.GOMAXPROCS(0)
}

// worthwhile returns how many of so many threads are worth their start for a number of multiply-adds.
func worthwhile(threads, work int) int {
	return max(1, min(Threads(threads), work/threadWork))
}

// threadWork is the number of multiply-adds that is worth a thread's start: some 20 microseconds. Tests lower it.
var threadWork = 1 << 20

// Parallel calls fn(i) once for each i in [0, n) and returns when all calls have returned. The indices are cut into
// at most [Threads](threads) runs of neighbours whose lengths differ by at most one, each run is worked off in rising
// order by one goroutine, and the first run by the caller's own. Which goroutine gets which index depends on threads
// and n only. Where fn panics, the rest of its run is left out, the other runs are finished, and Parallel then panics
// with the value of the lowest run that panicked.
func Parallel(threads, n int, fn func(i int)) {
	ParallelRanges(threads, n, func(_, from, to int) {
		for i := from; i < to; i++ {
			fn(i)
		}
	})
}

// ParallelRanges is [Parallel] for a caller that works on whole runs: fn(worker, from, to) is called once for each run
// [from, to) that is not empty, worker counting the runs from 0, so that a worker can have scratch memory of its own.
func ParallelRanges(threads, n int, fn func(worker, from, to int)) {
	threads = min(Threads(threads), n)
	if threads <= 1 {
		if n > 0 {
			fn(0, 0, n)
		}
		return
	}
	failures := make([]any, threads)
	panicked := make([]bool, threads)
	work := func(worker int) {
		done := false
		defer func() {
			if !done {
				failures[worker], panicked[worker] = recover(), true
			}
		}()
		fn(worker, worker*n/threads, (worker+1)*n/threads)
		done = true
	}
	var group sync.WaitGroup
	group.Add(threads - 1)
	for worker := 1; worker < threads; worker++ {
		go func() {
			defer group.Done()
			work(worker)
		}()
	}
	work(0)
	group.Wait()
	for worker, p := range panicked {
		if p {
			panic(failures[worker])
		}
	}
}
