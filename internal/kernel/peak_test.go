package kernel

import (
	"testing"
	"time"
)

func TestPeak(t *testing.T) {
	forEachPath(t, func(t *testing.T) {
		if p := Peak(time.Millisecond); p < 1e8 {
			t.Errorf("%v operations a second", p)
		}
	})
}

func BenchmarkPeak(b *testing.B) {
	benchmarkPaths(b, func(b *testing.B) {
		sum := 0.0
		for b.Loop() {
			sum += Peak(10 * time.Millisecond)
		}
		b.ReportMetric(sum/float64(b.N)/1e9, "GFLOP/s")
	})
}
