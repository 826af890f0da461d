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

func scratchOf[T Float]() *scratch[T] {
	if s, ok := any(&scratch32).(*scratch[T]); ok {
		return s
	}
	return any(&scratch64).(*scratch[T])
}

// borrow lends a slice of n values of any content, to be given back by giveBack.
func borrow[T Float](n int) []T { return scratchOf[T]().get(n) }

// giveBack takes back what borrow lent, from its first value on.
func giveBack[T Float](s []T) { scratchOf[T]().put(s) }

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
	return s[:n]
}

func (p *scratch[T]) put(s []T) {
	p.lock.Lock()
	p.free = append(p.free, s)
	p.lock.Unlock()
}
