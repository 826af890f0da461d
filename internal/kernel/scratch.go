package kernel

import "sync"

// scratch keeps memory that functions need while they run, for the next ones to use: unlike a sync.Pool it holds on to
// it, so that a training step or a query leaves nothing to the garbage collector.
type scratch[T Float] struct {
	lock sync.Mutex
	free [][]T
}

var (
	scratch32 scratch[float32]
	scratch64 scratch[float64]
)

// goScratch lends a slice of n values of any content, to be given back by calling release.
func goScratch[T Float](n int) (s []T, release func()) {
	var pool *scratch[T]
	switch any(T(0)).(type) {
	case float32:
		pool = any(&scratch32).(*scratch[T])
	default:
		pool = any(&scratch64).(*scratch[T])
	}
	s = pool.get(n)
	return s[:n], func() { pool.put(s) }
}

// get takes the smallest slice that is long enough, or else makes one in place of the largest.
func (p *scratch[T]) get(n int) []T {
	p.lock.Lock()
	best := -1
	for i, s := range p.free {
		if best < 0 {
			best = i
			continue
		}
		has, had := cap(s), cap(p.free[best])
		if had < n && has > had || has >= n && has < had {
			best = i
		}
	}
	var s []T
	if best >= 0 {
		last := len(p.free) - 1
		s = p.free[best]
		p.free[best] = p.free[last]
		p.free = p.free[:last]
	}
	p.lock.Unlock()
	if cap(s) < n {
		s = make([]T, n)
	}
	return s[:cap(s)]
}

func (p *scratch[T]) put(s []T) {
	p.lock.Lock()
	p.free = append(p.free, s)
	p.lock.Unlock()
}
