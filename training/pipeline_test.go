package training

import (
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// numbers is a filler whose values tell step, row and place, and which checks how it is called.
type numbers struct {
	t     *testing.T
	last  int
	busy  []atomic.Bool // of each worker
	rows  []atomic.Int64
	delay time.Duration
}

func (n *numbers) begin(step int) func(worker, row int, dst []float32) {
	if step != n.last+1 {
		n.t.Errorf("step %d begun after step %d", step, n.last)
	}
	n.last = step
	return func(worker, row int, dst []float32) {
		if !n.busy[worker].CompareAndSwap(false, true) {
			n.t.Errorf("worker %d is called twice at a time", worker)
		}
		if n.delay > 0 {
			time.Sleep(n.delay)
		}
		for i := range dst {
			dst[i] = float32(step*1000 + row*10 + i)
		}
		n.rows[step].Add(1)
		n.busy[worker].Store(false)
	}
}

// TestPipelineFillsAll: every batch is that of its step, every row is filled once.
func TestPipelineFillsAll(t *testing.T) {
	const first, end, length = 3, 40, 5
	for _, threads := range []int{1, 2, 5} {
		for _, rows := range []int{1, 2, 7, 64} {
			for _, delay := range []time.Duration{0, 20 * time.Microsecond} {
				if delay > 0 && rows != 7 { // a short sleep takes a millisecond
					continue
				}
				t.Run(fmt.Sprintf("threads %d rows %d delay %v", threads, rows, delay), func(t *testing.T) {
					n := &numbers{t: t, last: first - 1, busy: make([]atomic.Bool, threads+1), rows: make([]atomic.Int64, end), delay: delay}
					p := startPipeline(n, first, end, rows, length, threads)
					defer p.close()
					want := make([]float32, rows*length)
					for step := first; step < end; step++ {
						for i := range want {
							want[i] = float32(step*1000 + i/length*10 + i%length)
						}
						if got := p.next(); !slices.Equal(got, want) {
							t.Fatalf("step %d: %v, want %v", step, got, want)
						}
						if got := n.rows[step].Load(); got != int64(rows) {
							t.Fatalf("step %d: %d rows filled, want %d", step, got, rows)
						}
						if step%7 == 0 {
							time.Sleep(100 * time.Microsecond)
						}
						p.release()
					}
				})
			}
		}
	}
}

// TestPipelineManyPieces: rows that are longer than a piece, and many of them.
func TestPipelineManyPieces(t *testing.T) {
	const steps, rows, length = 6, 9, pieceValues/3 + 1
	n := &numbers{t: t, last: -1, busy: make([]atomic.Bool, 3), rows: make([]atomic.Int64, steps)}
	p := startPipeline(n, 0, steps, rows, length, 2)
	defer p.close()
	if p.pieces() != 5 {
		t.Errorf("%d pieces, want 5", p.pieces())
	}
	for step := range steps {
		b := p.next()
		for row := range rows {
			for _, i := range []int{0, length - 1} {
				if got, want := b[row*length+i], float32(step*1000+row*10+i); got != want {
					t.Fatalf("step %d row %d value %d: %v, want %v", step, row, i, got, want)
				}
			}
		}
		p.release()
	}
}

// TestPipelineStops: closing in the midst of it leaves no goroutine behind.
func TestPipelineStops(t *testing.T) {
	before := runtime.NumGoroutine()
	for used := range 3 {
		n := &numbers{t: t, last: -1, busy: make([]atomic.Bool, 3), rows: make([]atomic.Int64, 1000), delay: 10 * time.Microsecond}
		p := startPipeline(n, 0, 1000, 50, 4, 2)
		for range used {
			p.next()
			p.release()
		}
		p.close()
	}
	for range 100 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
}

// TestPipelineAllocates: a step costs next to no memory.
func TestPipelineAllocates(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	c := testCorpus(stripes(64, 16, 3), 16)
	o := Options{Seed: 1, Views: strong, Threads: 1}
	o.Architecture.Std = [3]float32{1, 1, 1}
	p := startPipeline(newBatches(c, allRows(64), o, 32, 2), 0, maxSteps, 64, 3*16*16, 1)
	defer p.close()
	for range 10 {
		p.next()
		p.release()
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const steps = 200
	for range steps {
		p.next()
		p.release()
	}
	runtime.ReadMemStats(&after)
	if got := (after.TotalAlloc - before.TotalAlloc) / steps; got > 1<<10 {
		t.Errorf("%d bytes allocated a step", got)
	}
}

func BenchmarkBatch(b *testing.B) {
	c := testCorpus(stripes(1024, 32, 3), 32)
	for _, threads := range []int{1, 2} {
		b.Run(fmt.Sprintf("threads=%d", threads), func(b *testing.B) {
			o := Options{Seed: 1, Views: twoViews, Threads: threads}
			o.Architecture.Std = [3]float32{1, 1, 1}
			p := startPipeline(newBatches(c, allRows(1024), o, 256, 2), 0, maxSteps, 512, 3*32*32, threads)
			defer p.close()
			b.ReportAllocs()
			for b.Loop() {
				p.next()
				p.release()
			}
			b.ReportMetric(512*float64(b.N)/b.Elapsed().Seconds(), "views/s")
		})
	}
}
