package kernel

import (
	"runtime"
	"sync/atomic"
	"time"
)

// spinning is for how long a goroutine stays awake that waits for the end of a job, or that has helped with one: waking one
// takes as long as many a job does. It gives way to all others meanwhile.
const spinning = 100 * time.Microsecond

var (
	spinners atomic.Int32             // goroutines that wait for an offer and are not promised one
	offers   = make(chan *job, 1<<12) // to those that are
)

// offer finds a goroutine to work on a job.
func offer(j *job) {
	for n := spinners.Load(); n > 0; n = spinners.Load() {
		if spinners.CompareAndSwap(n, n-1) {
			offers <- j
			return
		}
	}
	go serve(j)
}

// serve works on a job, and on others that are offered within a while.
func serve(j *job) {
	for j != nil {
		j.helper()
		j = awaitOffer()
	}
}

// awaitOffer returns the next job, nil where there is none for a while. The caller is one of the spinners.
func awaitOffer() *job {
	for begun := time.Now(); ; runtime.Gosched() {
		select {
		case j := <-offers:
			return j
		default:
		}
		if time.Since(begun) > spinning {
			if n := spinners.Load(); n > 0 && spinners.CompareAndSwap(n, n-1) {
				return nil
			}
		}
	}
}
