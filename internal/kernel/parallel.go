package kernel

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
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

// piecesPerThread is how many pieces [Parallel] cuts a thread's share into.
const piecesPerThread = 8

// Parallel calls fn(i) once for each i in [0, n) on at most [Threads](threads) goroutines, the caller's own among them,
// and returns when all calls have returned. The indices are cut into pieces of neighbours, each worked off in rising
// order. A goroutine begins with a share of pieces of its own, neighbours too, and then takes over what is left of the
// others': so a core that is disturbed, or starts late, does less. Where fn panics, the rest of its piece is left out,
// the other pieces are finished, and Parallel then panics with the value of the lowest piece that panicked; with one
// goroutine all indices are one piece.
func Parallel(threads, n int, fn func(i int)) {
	threads = min(Threads(threads), n)
	if threads <= 1 {
		for i := range n {
			fn(i)
		}
		return
	}
	j := newJob(threads, n, min(n, threads*piecesPerThread))
	j.each = fn
	j.run()
}

// ParallelRanges is [Parallel] for a caller that works on whole pieces: there is one for each goroutine, their lengths
// differ by at most one, and fn(worker, from, to) is called once for each [from, to) that is not empty, worker counting
// them from 0, so that each can have scratch memory of its own.
func ParallelRanges(threads, n int, fn func(worker, from, to int)) {
	threads = min(Threads(threads), n)
	if threads <= 1 {
		if n > 0 {
			fn(0, 0, n)
		}
		return
	}
	j := newJob(threads, n, threads)
	j.ranges, j.byPiece = fn, true
	j.run()
}

// ParallelPieces is [Parallel] for a caller that works on whole pieces, of at most size indices: they depend on n and
// size only. fn(worker, from, to) is called once for each, worker being below [Threads](threads) and never the same in
// two calls at the same time, so that each worker can have scratch memory of its own.
func ParallelPieces(threads, n, size int, fn func(worker, from, to int)) {
	pieces := (n + size - 1) / size
	threads = min(Threads(threads), pieces)
	if threads <= 1 {
		for p := range pieces {
			fn(0, p*n/pieces, (p+1)*n/pieces)
		}
		return
	}
	j := newJob(threads, n, pieces)
	j.ranges = fn
	j.run()
}

// job is one call of a function above. It is shared by the goroutines that work on it: one that starts when nothing is
// left to do may hold it longer than the call takes.
type job struct {
	each    func(i int)
	ranges  func(worker, from, to int) // where each is nil
	byPiece bool                       // ranges gets the number of the piece for a worker
	n       int
	pieces  int
	shares  []share
	joined  atomic.Int32 // goroutines that have begun, the caller's apart
	left    atomic.Int64 // pieces that are not finished
	holders atomic.Int32
	done    chan struct{} // gets a value from the goroutine that finishes the last piece, unless it is the caller's

	failing sync.Mutex
	failed  int // the lowest piece that panicked, or pieces
	failure any
}

// share is the pieces that a goroutine begins with.
type share struct {
	next atomic.Int64 // may run beyond end
	end  int64
	_    [48]byte // no two in one line of the cache
}

// take returns the next piece of a share.
func (s *share) take() (piece int, ok bool) {
	p := s.next.Add(1) - 1
	return int(p), p < s.end
}

var jobs sync.Pool // of *job

func newJob(threads, n, pieces int) *job {
	j, _ := jobs.Get().(*job)
	if j == nil {
		j = &job{done: make(chan struct{}, 1)}
	}
	j.each, j.ranges, j.byPiece, j.n, j.pieces = nil, nil, false, n, pieces
	if cap(j.shares) < threads {
		j.shares = make([]share, threads)
	}
	j.shares = j.shares[:threads]
	for w := range j.shares {
		j.shares[w].next.Store(int64(w * pieces / threads))
		j.shares[w].end = int64((w + 1) * pieces / threads)
	}
	j.joined.Store(0)
	j.left.Store(int64(pieces))
	j.holders.Store(int32(threads))
	j.failed, j.failure = pieces, nil
	return j
}

// run works on the job and returns, or panics, when all of it is done.
func (j *job) run() {
	for range len(j.shares) - 1 {
		offer(j)
	}
	if !j.finish(j.work(0)) {
		j.wait()
	}
	failed, failure := j.failed < j.pieces, j.failure
	j.release()
	if failed {
		panic(failure)
	}
}

// helper is what the other goroutines do.
func (j *job) helper() {
	finished := j.work(int(j.joined.Add(1)))
	spinners.Add(1) // before the caller can know that all is done, and offer its next job
	if j.finish(finished) {
		j.done <- struct{}{}
	}
	j.release()
}

// wait returns when the last piece is finished.
func (j *job) wait() {
	for begun := time.Now(); time.Since(begun) < spinning; runtime.Gosched() {
		select {
		case <-j.done:
			return
		default:
		}
	}
	<-j.done
}

// release gives the job back when nobody holds it any more.
func (j *job) release() {
	if j.holders.Add(-1) == 0 {
		j.each, j.ranges, j.failure = nil, nil, nil
		jobs.Put(j)
	}
}

// work works off pieces until none is left, and returns how many.
func (j *job) work(worker int) int {
	finished := 0
	for i := range j.shares {
		s := &j.shares[(worker+i)%len(j.shares)]
		for p, ok := s.take(); ok; p, ok = s.take() {
			j.piece(worker, p)
			finished++
		}
	}
	return finished
}

// finish notes that pieces are finished, and reports whether these were the last ones.
func (j *job) finish(pieces int) bool { return pieces > 0 && j.left.Add(-int64(pieces)) == 0 }

// piece works off one piece and notes a panic.
func (j *job) piece(worker, p int) {
	done := false
	defer func() {
		if done {
			return
		}
		failure := recover()
		j.failing.Lock()
		defer j.failing.Unlock()
		if p < j.failed {
			j.failed, j.failure = p, failure
		}
	}()
	from, to := p*j.n/j.pieces, (p+1)*j.n/j.pieces
	switch {
	case j.each != nil:
		for i := from; i < to; i++ {
			j.each(i)
		}
	case j.byPiece:
		j.ranges(p, from, to)
	default:
		j.ranges(worker, from, to)
	}
	done = true
}
