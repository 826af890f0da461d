package kernel

import (
	"sync/atomic"
	"testing"
)

func TestParallel(t *testing.T) {
	for _, threads := range []int{-1, 0, 1, 2, 3, 7, 100} {
		for _, n := range []int{0, 1, 2, 3, 10, 64} {
			seen := make([]atomic.Int32, n)
			Parallel(threads, n, func(i int) { seen[i].Add(1) })
			for i := range seen {
				if got := seen[i].Load(); got != 1 {
					t.Fatalf("%d threads, n %d: index %d was called %d times", threads, n, i, got)
				}
			}
			var workers atomic.Int32
			ParallelRanges(threads, n, func(worker, from, to int) {
				if from >= to || worker < 0 || worker >= Threads(threads) {
					t.Errorf("%d threads, n %d: worker %d got [%d, %d)", threads, n, worker, from, to)
				}
				workers.Add(1)
			})
			if got := int(workers.Load()); got != min(n, Threads(threads)) {
				t.Errorf("%d threads, n %d: %d runs", threads, n, got)
			}
		}
	}
}

func TestParallelPanics(t *testing.T) {
	for _, threads := range []int{1, 2, 3, 10} {
		func() {
			var calls atomic.Int32
			defer func() {
				if got := recover(); got != "five" {
					t.Errorf("%d threads: recovered %v", threads, got)
				}
				if threads == 10 && calls.Load() != 9 {
					t.Errorf("%d calls returned before the panic arrived, want 9", calls.Load())
				}
			}()
			Parallel(threads, 10, func(i int) {
				if i == 5 {
					panic("five")
				}
				calls.Add(1)
			})
			t.Errorf("%d threads: the panic got lost", threads)
		}()
	}
}
