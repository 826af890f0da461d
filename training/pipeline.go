package training

import (
	"runtime"
	"sync"
	"sync/atomic"

	"imgsearch/internal/kernel"
)

// pipeline fills batches ahead of the arithmetic that uses them, in a bounded number of buffers. What a buffer holds
// depends on its step alone.
//
// One goroutine fills beside the arithmetic, a few rows at a time, and gives way after each piece: it lives on what the
// arithmetic leaves, in the pauses between its parallel parts and on processors that it does not use. A batch that is
// not full when it is wanted is finished by next, on all threads, so that nobody ever waits for a processor that is
// busy elsewhere. It is used by one goroutine at a time.
type pipeline struct {
	filler       filler
	rows, length int // full-size images
	small        int // more rows, behind them
	smallLength  int
	threads      int
	upcoming     int // the next step to begin
	end          int

	batches [batchesAhead + 1]pendingBatch
	current int // which of batches is next
	beside  chan *pendingBatch
	stopped atomic.Bool
	running sync.WaitGroup
}

// batchesAhead is how many batches are full or being filled while one is in use. One is enough, since what it lacks is
// filled when it is wanted; more would cost memory.
const batchesAhead = 1

// pieceValues is about how many values are filled without giving way: those of a few small images, some 30
// microseconds.
const pieceValues = 1 << 16

// filler writes the inputs of a step's rows. begin is called once a step, in their order, from one goroutine; the row
// function that it returns is then called for each row from several goroutines, those of different steps at the same
// time. worker is below the number of workers and no two goroutines have the same at a time.
type filler interface {
	begin(step int) func(worker, row int, dst []float32)
}

// pendingBatch is a buffer that is being filled.
type pendingBatch struct {
	buffer []float32
	fill   func(worker, row int, dst []float32)
	next   atomic.Int64 // the piece to fill next
	left   atomic.Int64 // how many pieces are not full yet
	full   chan struct{}
}

// startPipeline fills the steps from first to before end: rows rows of length values each. The filler has threads+1
// workers.
func startPipeline(f filler, first, end, rows, length, threads int) *pipeline {
	return startMixedPipeline(f, first, end, rows, length, 0, 0, threads)
}

// startMixedPipeline is startPipeline with so many more rows of another length behind the others.
func startMixedPipeline(f filler, first, end, rows, length, small, smallLength, threads int) *pipeline {
	p := &pipeline{
		filler: f, rows: rows, length: length, small: small, smallLength: smallLength, threads: threads, upcoming: first, end: end,
		beside: make(chan *pendingBatch, batchesAhead+1),
	}
	p.running.Go(func() {
		for b := range p.beside {
			for !p.stopped.Load() && p.piece(b, p.threads) {
				runtime.Gosched()
			}
		}
	})
	for i := range p.batches {
		b := &p.batches[i]
		b.buffer, b.full = make([]float32, rows*length+small*smallLength), make(chan struct{}, 1)
		p.begin(b)
	}
	return p
}

// rowsPerPiece is at least 1.
func (p *pipeline) rowsPerPiece() int { return max(1, pieceValues/p.length) }

func (p *pipeline) pieces() int { return (p.rows + p.small + p.rowsPerPiece() - 1) / p.rowsPerPiece() }

// row returns the part of a buffer that a row is.
func (p *pipeline) row(buffer []float32, row int) []float32 {
	if row < p.rows {
		return buffer[row*p.length:][:p.length]
	}
	return buffer[p.rows*p.length+(row-p.rows)*p.smallLength:][:p.smallLength]
}

// begin hands a buffer over to be filled for the upcoming step, if there is one.
func (p *pipeline) begin(b *pendingBatch) {
	if p.upcoming == p.end {
		return
	}
	b.fill = p.filler.begin(p.upcoming)
	p.upcoming++
	b.left.Store(int64(p.pieces()))
	b.next.Store(0)
	select {
	case p.beside <- b:
	default: // so far behind that next will fill it
	}
}

// piece fills the next piece of a batch, and tells whether there was one left.
func (p *pipeline) piece(b *pendingBatch, worker int) bool {
	i := int(b.next.Add(1)) - 1
	if i >= p.pieces() {
		return false
	}
	for row := i * p.rowsPerPiece(); row < min(p.rows+p.small, (i+1)*p.rowsPerPiece()); row++ {
		b.fill(worker, row, p.row(b.buffer, row))
	}
	if b.left.Add(-1) == 0 {
		b.full <- struct{}{}
	}
	return true
}

// next returns the following step's batch, valid until the call of release that must come before the next one. It must
// not be called after the last step.
func (p *pipeline) next() []float32 {
	b := &p.batches[p.current]
	if missing := p.pieces() - int(b.next.Load()); missing > 0 {
		kernel.Parallel(p.threads, min(p.threads, missing), func(worker int) {
			for p.piece(b, worker) {
			}
		})
	}
	<-b.full
	return b.buffer
}

// release gives back what next returned.
func (p *pipeline) release() {
	p.begin(&p.batches[p.current])
	p.current = (p.current + 1) % len(p.batches)
}

// close ends the filling and waits for it.
func (p *pipeline) close() {
	p.stopped.Store(true)
	close(p.beside)
	p.running.Wait()
}

// batches is the filler of training: all anchors, then all positives, then, with three rows a group, all negatives; where
// there are more views, all third views and so on, and then the small crops, the first ones of all groups first.
type batches struct {
	corpus   *corpus
	rows     []int32 // the training images' places in the corpus
	sampler  *sampler
	views    ViewOptions
	seed     uint64
	perGroup int       // full-size rows a group
	negative bool      // whether the third one is a negative
	viewers  []*viewer // one for each worker
	crops    int       // a group
	croppers []*viewer // one for each worker
}

// newBatches is for views of the images' own size.
func newBatches(c *corpus, rows []int32, o Options, batch, perGroup int) *batches {
	return newBatchesOf(c, rows, o, batch, perGroup, c.size)
}

// newBatchesOf is for views with the given side.
func newBatchesOf(c *corpus, rows []int32, o Options, batch, perGroup, side int) *batches {
	b := &batches{
		corpus: c, rows: rows, sampler: newSampler(o.Seed, len(rows), batch), views: o.Views, seed: o.Seed, perGroup: perGroup,
		negative: o.Loss.rows() == 3, crops: o.MultiView.Crops,
	}
	for range o.Threads + 1 {
		b.viewers = append(b.viewers, newViewerTo(o.Views, c.size, side, o.Architecture.Mean, o.Architecture.Std))
		if m := o.MultiView; m.Crops > 0 {
			b.croppers = append(b.croppers, newViewerTo(m.crops(o.Views), c.size, m.cropSide(side), o.Architecture.Mean, o.Architecture.Std))
		}
	}
	return b
}

// view returns the generator of a view: which is 0 for anchors, 1 for positives, 2 for negatives, or any more for more
// views.
func (b *batches) view(step, group, which int) rng {
	if which >= 2 && !b.negative {
		return newRNG(b.seed, streamMoreViews, uint64(step), uint64(b.perGroup*group+which))
	}
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
		if which >= b.perGroup {
			which -= b.perGroup
			b.croppers[worker].random(b.corpus.pixels(b.rows[image]), dst, newRNG(b.seed, streamCrop, uint64(step), uint64(b.crops*group+which)))
			return
		}
		if which == 2 && b.negative {
			image = b.sampler.negative(step, group, anchor)
		}
		pix := b.corpus.pixels(b.rows[image])
		if b.views.AnchorPlain && (which == 0 || which == 2 && b.negative) {
			v.plain(pix, dst)
			return
		}
		v.random(pix, dst, b.view(step, group, which))
		if b.views.Dropout > 0 && which > 0 && !(which == 2 && b.negative) {
			dropout(dst, b.views.Dropout, newRNG(b.seed, streamDropout, uint64(step), uint64(group+(which-1)*batch)))
		}
	}
}
