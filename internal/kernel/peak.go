package kernel

import (
	"runtime"
	"time"
)

// Peak measures how many float32 operations a second (a multiply-add counts as two) one thread of this machine can do
// at most on the current code path, by a loop of independent multiply-adds between registers that runs for about d.
// It is what shares of the peak are reckoned from: measure it beside the work, for other load and the clock change it.
func Peak(d time.Duration) float64 {
	count, elapsed := 0, time.Duration(0)
	for start := time.Now(); elapsed < d; elapsed = time.Since(start) {
		count += peakLoop()
	}
	return float64(count) / elapsed.Seconds()
}

// peakGo does a number of operations that it returns.
func peakGo() int {
	const n = 1 << 14
	var s0, s1, s2, s3, s4, s5, s6, s7 float32
	x, y := peakFactor, peakFactor
	for range n {
		s0 += x * y
		s1 += x * y
		s2 += x * y
		s3 += x * y
		s4 += x * y
		s5 += x * y
		s6 += x * y
		s7 += x * y
		x += y
	}
	runtime.KeepAlive(s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7) // or the compiler leaves all of it out
	return n * 17
}

var peakFactor float32
