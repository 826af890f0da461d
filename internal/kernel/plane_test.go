package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestPlaneForces(t *testing.T) {
	forEachPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(21, 22))
		for n := range 150 {
			x, y, m := guarded[float32](t, rng, n), guarded[float32](t, rng, n), guarded[float32](t, rng, n)
			for i := range m {
				m[i] = max(m[i], -m[i])
			}
			px, py := rng.Float32(), 3*rng.Float32()
			places, at := guarded[float32](t, rng, 2*n+2), make([]int32, n)
			for i := range at {
				at[i] = int32(rng.IntN(n + 1))
			}
			var fx, fy, sum, ax, ay, scale float64
			for i := range x {
				dx, dy := float64(px)-float64(x[i]), float64(py)-float64(y[i])
				w := 1 / (1 + dx*dx + dy*dy)
				mass := float64(m[i])
				sum += mass * w
				fx += mass * w * w * dx
				fy += mass * w * w * dy
				dx, dy = float64(px)-float64(places[2*at[i]]), float64(py)-float64(places[2*at[i]+1])
				w2 := 1 / (1 + dx*dx + dy*dy)
				ax += mass * w2 * dx
				ay += mass * w2 * dy
				scale += mass*(math.Abs(float64(px))+math.Abs(float64(py))+5) + mass*w*(1+math.Abs(float64(px))+math.Abs(float64(x[i]))+math.Abs(float64(py))+math.Abs(float64(y[i])))
			}
			gotX, gotY, gotSum := Repel(x, y, m, px, py)
			near(t, gotX, fx, scale, 8+n, "repulsion along x by %d", n)
			near(t, gotY, fy, scale, 8+n, "repulsion along y by %d", n)
			near(t, gotSum, sum, scale, 8+n, "sum over %d", n)
			gotX, gotY = Attract(places, at, m, px, py)
			near(t, gotX, ax, scale, 8+n, "attraction along x by %d", n)
			near(t, gotY, ay, scale, 8+n, "attraction along y by %d", n)
		}
	})
}

func TestPlaneForcesBits(t *testing.T) {
	for _, n := range []int{1, 7, 8, 15, 16, 17, 31, 64, 100} {
		sameBits(t, "", 5, func(rng *rand.Rand, out []float32) {
			x, y, m := guarded[float32](t, rng, n), guarded[float32](t, rng, n), guarded[float32](t, rng, n)
			out[0], out[1], out[2] = Repel(x, y, m, 0.5, -0.25)
			at := make([]int32, n)
			for i := range at {
				at[i] = int32(rng.IntN(n/2 + 1))
			}
			out[3], out[4] = Attract(append(x, 1, 2), at, m, 0.5, -0.25)
		})
	}
}

func BenchmarkRepel(b *testing.B) {
	const n = 600
	x, y, m := make([]float32, n), make([]float32, n), make([]float32, n)
	for i := range x {
		x[i], y[i], m[i] = float32(i%25), float32(i/25), 1
	}
	benchmarkPaths(b, func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			Repel(x, y, m, 3, 4)
		}
	})
}

func BenchmarkAttract(b *testing.B) {
	const n = 192
	rng := rand.New(rand.NewPCG(1, 1))
	places, at, m := make([]float32, 20_000), make([]int32, n), make([]float32, n)
	for i := range at {
		at[i], m[i] = int32(rng.IntN(10_000)), 1
	}
	benchmarkPaths(b, func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			Attract(places, at, m, 3, 4)
		}
	})
}
