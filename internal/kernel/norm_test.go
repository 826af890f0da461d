package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// sameBits holds what a function of two vector paths gives against each other: it must be the same bit for bit. run
// fills what it is given from a generator that starts anew for each path.
func sameBits(t *testing.T, what string, n int, run func(rng *rand.Rand, out []float32)) {
	t.Helper()
	before := Name()
	defer func() { _ = choose(before) }()
	var first []float32
	for path := range vectorNone {
		if !available[path] {
			continue
		}
		_ = choose(pathNames[path])
		out := make([]float32, n)
		run(rand.New(rand.NewPCG(1, uint64(n))), out)
		if first == nil {
			first = out
			continue
		}
		for i, v := range out {
			if math.Float32bits(v) != math.Float32bits(first[i]) {
				t.Fatalf("%s: value %d is %v in %s, %v in %s", what, i, v, Name(), first[i], pathNames[vector512])
			}
		}
	}
}

// randomAffine draws a map whose ReLU lets through about half.
func randomAffine[T Float](rng *rand.Rand, relu bool) *LaneAffine[T] {
	a := &LaneAffine[T]{ReLU: relu}
	for _, s := range []*[BlockChannels]T{&a.Factor, &a.Offset, &a.Center, &a.Slope, &a.Constant} {
		for l := range s {
			s[l] = T(rng.NormFloat64())
		}
	}
	return a
}

func TestLanes(t *testing.T) {
	forEachPath(t, func(t *testing.T) {
		testLanes[float32](t)
		testLanes[float64](t)
	})
}

func testLanes[T Float](t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, pixels := range []int{0, 1, 2, 3, 4, 5, 7, 8, 63, 64, 65, 127, 128, 130, 200} {
		for _, relu := range []bool{false, true} {
			n := pixels * BlockChannels
			x, dy, y := guarded[T](t, rng, n), guarded[T](t, rng, n), guarded[T](t, rng, n)
			a := randomAffine[T](rng, relu)
			// Sums are added to what is there.
			var sums [BlockChannels]float64
			var moments, gradients [2][BlockChannels]float64
			for l := range sums {
				sums[l], moments[0][l], moments[1][l], gradients[0][l], gradients[1][l] = 1, 2, 3, 4, 5
			}
			LaneSums(x, &sums)
			LaneMoments(x, &a.Center, &moments)
			a.GradientMoments(x, dy, &gradients)
			a.Apply(y, x, nil)
			sum := guarded[T](t, rng, n)
			a.Apply(sum, x, dy)
			dx := slices.Clone(dy)
			a.Gradient(dx, dx, x) // in place
			apart := guarded[T](t, rng, n)
			a.Gradient(apart, dy, x)
			for l := range sums {
				want := [5]float64{1, 2, 3, 4, 5}
				scale := want
				for p := range pixels {
					i := p*BlockChannels + l
					v, d := float64(x[i]), float64(dy[i])
					z := float64(a.Factor[l])*v + float64(a.Offset[l])
					size := math.Abs(float64(a.Factor[l])*v) + math.Abs(float64(a.Offset[l]))
					if relu && math.Abs(z) < 1e-6*size {
						t.Fatal("the draw came too near to the kink")
					}
					if relu && z <= 0 {
						z, d = 0, 0
					}
					near(t, y[i], z, size, 1, "Apply %d of %d", i, n)
					if want := y[i] + dy[i]; sum[i] != want {
						t.Fatalf("Apply %d of %d, something added: got %v, want %v", i, n, sum[i], want)
					}
					gradient := []float64{d * float64(a.Factor[l]), v * float64(a.Slope[l]), float64(a.Constant[l])}
					near(t, dx[i], gradient[0]+gradient[1]+gradient[2], math.Abs(gradient[0])+math.Abs(gradient[1])+math.Abs(gradient[2]), 3, "Gradient %d of %d", i, n)
					if apart[i] != dx[i] {
						t.Fatalf("Gradient %d of %d: %v, in place %v", i, n, apart[i], dx[i])
					}
					c := v - float64(a.Center[l])
					for k, term := range []float64{v, c, c * c, d, d * c} {
						want[k] += term
						scale[k] += math.Abs(term) + math.Abs(term/c)*(math.Abs(v)+math.Abs(float64(a.Center[l])))
					}
				}
				for k, got := range []float64{sums[l], moments[0][l], moments[1][l], gradients[0][l], gradients[1][l]} {
					near(t, T(got), want[k], scale[k], 8, "sum %d of lane %d of %d", k, l, n)
				}
			}
		}
	}
}

func TestLanesBits(t *testing.T) {
	for _, pixels := range []int{1, 2, 3, 63, 64, 65, 190} {
		for _, relu := range []bool{false, true} {
			n := pixels * BlockChannels
			sameBits(t, fmt.Sprintf("%d pixels, ReLU %v", pixels, relu), 3*n+5*BlockChannels, func(rng *rand.Rand, out []float32) {
				x, dy := guarded[float32](t, rng, n), guarded[float32](t, rng, n)
				for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), 0, math.Copysign(0, -1), 1e-40} {
					x[rng.IntN(n)] = float32(v)
				}
				a := randomAffine[float32](rng, relu)
				var sums [BlockChannels]float64
				var moments, gradients [2][BlockChannels]float64
				LaneSums(x, &sums)
				LaneMoments(x, &a.Center, &moments)
				a.GradientMoments(x, dy, &gradients)
				a.Apply(out[:n], x, nil)
				a.Apply(out[2*n+5*BlockChannels:], x, dy)
				a.Gradient(out[n:2*n], dy, x)
				for k, s := range [][BlockChannels]float64{sums, moments[0], moments[1], gradients[0], gradients[1]} {
					for l, v := range s {
						out[2*n+k*BlockChannels+l] = float32(v)
					}
				}
			})
		}
	}
}

// TestLanesNaN: what is no number stays none, with and without ReLU.
func TestLanesNaN(t *testing.T) {
	forEachPath(t, func(t *testing.T) {
		for _, relu := range []bool{false, true} {
			a := randomAffine[float32](rand.New(rand.NewPCG(5, 6)), relu)
			x := make([]float32, 3*BlockChannels)
			x[20] = float32(math.NaN())
			y := make([]float32, len(x))
			a.Apply(y, x, nil)
			for i, v := range y {
				if (v != v) != (i == 20) {
					t.Errorf("ReLU %v: value %d is %v", relu, i, v)
				}
			}
		}
	})
}

// TestLanesStream: the way to memory changes no value.
func TestLanesStream(t *testing.T) {
	forEachPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(15, 16))
		for _, pixels := range []int{0, 1, 3, 4, 5, 64, 131} {
			all := make([]float32, pixels*BlockChannels+33)
			for offset := range 32 { // one of 16 is aligned
				x, y, want := guarded[float32](t, rng, pixels*BlockChannels), all[offset:][:pixels*BlockChannels], make([]float32, pixels*BlockChannels)
				a := randomAffine[float32](rng, offset%2 == 0)
				for _, add := range [][]float32{nil, guarded[float32](t, rng, len(x))} {
					a.Stream = false
					a.Apply(want, x, add)
					a.Stream = true
					all[offset+len(y)] = canary
					a.Apply(y, x, add)
					if !slices.Equal(y, want) || all[offset+len(y)] != canary {
						t.Fatalf("%d pixels, offset %d: other values", pixels, offset)
					}
				}
			}
		}
	})
}

func TestWhereAbove(t *testing.T) {
	for _, z := range []float64{1, 1e-40, math.Inf(1), 0, math.Copysign(0, -1), -1e-40, -1, math.Inf(-1)} {
		want := 0.0
		if z > 0 {
			want = 7
		}
		if got := whereAbove(z, 7); got != want {
			t.Errorf("float64 %v: %v: want %v", z, got, want)
		}
		if got := whereAbove(float32(z), 7); got != float32(want) {
			t.Errorf("float32 %v: %v: want %v", z, got, want)
		}
	}
}

func BenchmarkLanes(b *testing.B) {
	const pixels = 1024
	rng := rand.New(rand.NewPCG(1, 2))
	x, dy, y := make([]float32, pixels*BlockChannels), make([]float32, pixels*BlockChannels), make([]float32, pixels*BlockChannels)
	for i := range x {
		x[i], dy[i] = float32(rng.NormFloat64()), float32(rng.NormFloat64())
	}
	a := randomAffine[float32](rng, true)
	var sums [2][BlockChannels]float64
	// Far more than the caches hold.
	source, target := make([]float32, 1<<24), make([]float32, 1<<24)
	ReLU(target, source) // lets the system find the memory
	stream := *a
	stream.Stream = true
	for _, c := range []struct {
		name  string
		moved int // activations read and written
		call  func()
	}{
		{"Far", 2 * len(source) / len(x), func() { a.Apply(target, source, nil) }},
		{"Stream", 2 * len(source) / len(x), func() { stream.Apply(target, source, nil) }},
		{"Sums", 1, func() { LaneSums(x, &sums[0]) }},
		{"Moments", 1, func() { LaneMoments(x, &a.Center, &sums) }},
		{"Apply", 2, func() { a.Apply(y, x, nil) }},
		{"ApplyAdd", 3, func() { a.Apply(y, x, dy) }},
		{"GradientMoments", 2, func() { a.GradientMoments(x, dy, &sums) }},
		{"Gradient", 3, func() { a.Gradient(y, dy, x) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			benchmarkPaths(b, func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(c.moved) * 4 * pixels * BlockChannels)
				for b.Loop() {
					c.call()
				}
			})
		})
	}
}
