package training

import (
	"sync"
	"sync/atomic"
)

// pipeline fills batches ahead of the arithmetic that uses them: a bounded number of buffers, in order, on several
// goroutines. What a buffer holds depends on its step alone.
type pipeline struct {
	ready, free chan []float32
	stop        chan struct{}
	stopped     sync.WaitGroup
}

// batchesAhead is how many batches wait or are being filled while one is in use.
const batchesAhead = 2

// filler writes the inputs of a step's rows. begin is called once a step from one goroutine; the row function that it
// returns is then called for each row, by worker number, from several goroutines.
type filler interface {
	begin(step int) func(worker, row int, dst []float32)
}

// startPipeline fills the steps from first to before end: rows rows of length values each.
func startPipeline(f filler, first, end, rows, length, workers int) *pipeline {
	p := &pipeline{
		ready: make(chan []float32, batchesAhead), // room for all, so that filling never waits here
		free:  make(chan []float32, batchesAhead+1),
		stop:  make(chan struct{}),
	}
	for range cap(p.free) {
		p.free <- make([]float32, rows*length)
	}
	p.stopped.Go(func() {
		defer close(p.ready)
		for step := first; step < end; step++ {
			var buffer []float32
			select {
			case buffer = <-p.free:
			case <-p.stop:
				return
			}
			fill := f.begin(step)
			var next atomic.Int64
			var group sync.WaitGroup
			for worker := range min(workers, rows) {
				group.Go(func() {
					for {
						row := int(next.Add(1)) - 1
						if row >= rows {
							return
						}
						fill(worker, row, buffer[row*length:(row+1)*length])
					}
				})
			}
			group.Wait()
			select {
			case p.ready <- buffer:
			case <-p.stop:
				return
			}
		}
	})
	return p
}

// next returns the following step's batch, to be given back by release. It must not be called after the last one.
func (p *pipeline) next() []float32 { return <-p.ready }

func (p *pipeline) release(buffer []float32) { p.free <- buffer }

// close ends the filling and waits for it.
func (p *pipeline) close() {
	close(p.stop)
	p.stopped.Wait()
}

// batches is the filler of training: all anchors, then all positives, then, with three rows a group, all negatives.
type batches struct {
	corpus   *corpus
	rows     []int32 // the training images' places in the corpus
	sampler  *sampler
	views    ViewOptions
	seed     uint64
	perGroup int // rows a group: 2 or 3
	viewers  []*viewer
}

func newBatches(c *corpus, rows []int32, o Options, batch, perGroup int) *batches {
	b := &batches{
		corpus: c, rows: rows, sampler: newSampler(o.Seed, len(rows), batch), views: o.Views, seed: o.Seed, perGroup: perGroup,
	}
	for range o.Threads {
		b.viewers = append(b.viewers, newViewer(o.Views, c.size, o.Architecture.Mean, o.Architecture.Std))
	}
	return b
}

// view returns the generator of a view: which is 0 for anchors, 1 for positives, 2 for negatives.
func (b *batches) view(step, group, which int) rng {
	return newRNG(b.seed, streamView, uint64(step), uint64(3*group+which))
}

func (b *batches) begin(step int) func(worker, row int, dst []float32) {
	anchors := b.sampler.anchors(step)
	batch := len(anchors)
	return func(worker, row int, dst []float32) {
		v := b.viewers[worker]
		which, group := row/batch, row%batch
		anchor := anchors[group]
		image := anchor
		if which == 2 {
			image = b.sampler.negative(step, group, anchor)
		}
		pix := b.corpus.pixels(b.rows[image])
		if which != 1 && b.views.AnchorPlain {
			v.plain(pix, dst)
			return
		}
		v.random(pix, dst, b.view(step, group, which))
		if which == 1 && b.views.Dropout > 0 {
			dropout(dst, b.views.Dropout, newRNG(b.seed, streamDropout, uint64(step), uint64(group)))
		}
	}
}
