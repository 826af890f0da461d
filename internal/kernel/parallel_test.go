package kernel

import (
	"runtime"
	"sync"
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

func TestParallelPieces(t *testing.T) {
	for _, threads := range []int{1, 2, 3, 7} {
		for _, n := range []int{0, 1, 5, 64, 101} {
			for _, size := range []int{1, 3, 64, 200} {
				seen := make([]atomic.Int32, n)
				busy := make([]atomic.Int32, threads)
				var pieces atomic.Int32
				ParallelPieces(threads, n, size, func(worker, from, to int) {
					if busy[worker].Add(1) != 1 {
						t.Errorf("worker %d has two pieces at a time", worker)
					}
					if from >= to || to-from > size {
						t.Errorf("piece [%d, %d) of %d in pieces of %d", from, to, n, size)
					}
					for i := from; i < to; i++ {
						seen[i].Add(1)
						runtime.Gosched()
					}
					pieces.Add(1)
					busy[worker].Add(-1)
				})
				for i := range seen {
					if got := seen[i].Load(); got != 1 {
						t.Fatalf("%d threads, n %d: index %d was in %d pieces", threads, n, i, got)
					}
				}
				if got, want := int(pieces.Load()), (n+size-1)/size; got != want {
					t.Errorf("%d threads, n %d: %d pieces, want %d", threads, n, got, want)
				}
			}
		}
	}
}

// TestParallelNested: calls within calls, and from many goroutines, come to an end.
func TestParallelNested(t *testing.T) {
	var calls atomic.Int32
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 50 {
				Parallel(3, 5, func(int) {
					Parallel(4, 7, func(int) { calls.Add(1) })
				})
			}
		})
	}
	group.Wait()
	if got := calls.Load(); got != 8*50*5*7 {
		t.Errorf("%d calls", got)
	}
}

// TestParallelStealing: where one goroutine is held up, the others do its share.
func TestParallelStealing(t *testing.T) {
	const n = 64
	var calls atomic.Int32
	Parallel(2, n, func(i int) {
		calls.Add(1)
		if i == 0 {
			for calls.Load() < n-n/(2*piecesPerThread)+1 { // all but the rest of its piece
				runtime.Gosched()
			}
		}
	})
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

func BenchmarkParallel(b *testing.B) {
	x, y := make([]float32, 1<<16), make([]float32, 1<<16)
	b.ReportAllocs()
	for b.Loop() {
		Parallel(2, 16, func(i int) { ReLU(y[i<<12:][:1<<12], x[i<<12:][:1<<12]) })
	}
}
