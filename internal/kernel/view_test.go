package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// viewSizes have every kind of remainder, below and above what the assembly takes.
var viewSizes = []int{1, 2, 3, 7, 8, 15, 16, 17, 23, 24, 25, 31, 32, 33, 40, 47, 48, 63, 64, 65, 96, 100}

// viewSides are sides of images and of results: equal ones, and all kinds of others.
func viewSides() [][2]int {
	var out [][2]int
	for _, size := range viewSizes {
		out = append(out, [2]int{size, size})
	}
	for _, source := range []int{7, 15, 16, 17, 32, 48, 50, 96} {
		for _, size := range []int{3, 8, 15, 16, 17, 24, 25, 40, 48} {
			if source != size {
				out = append(out, [2]int{source, size})
			}
		}
	}
	return out
}

// TestResamplerHalves: at half the side the result is the mean of four pixels, wherever the window lies.
func TestResamplerHalves(t *testing.T) {
	forEachPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(9, 10))
		m := &ColorMap{Matrix: [3][3]float32{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}, High: [3]float32{255, 255, 255}}
		for _, size := range []int{8, 9, 16, 24, 33} {
			source := 2*size + 6
			image, out := randomImage(rng, source), make([]float32, 3*size*size)
			r := NewResampler(source, size)
			for shift := range 7 {
				r.Columns(float64(shift), 2*float64(size), false)
				r.Rows(float64(shift), 2*float64(size))
				r.Stretch(image)
				r.Paint(m, out)
				for i, got := range out {
					c, y, x := i/size/size, i/size%size, i%size
					var want float32
					for k := range 4 {
						want += float32(image[(c*source+2*y+shift+k/2)*source+2*x+shift+k%2]) / 4
					}
					if math.Abs(float64(got-want)) > 1e-3 {
						t.Fatalf("size %d shift %d: value %d is %v, want %v", size, shift, i, got, want)
					}
				}
			}
		}
	})
}

// viewWindow is one extent of a window.
type viewWindow struct{ start, length float64 }

func randomWindow(rng *rand.Rand, size int) viewWindow {
	side := float64(size)
	switch rng.IntN(4) {
	case 0:
		return viewWindow{0, side}
	case 1: // within
		length := side * (0.05 + 0.95*rng.Float64())
		return viewWindow{rng.Float64() * (side - length), length}
	case 2: // hanging over
		length := side * (0.05 + 0.95*rng.Float64())
		return viewWindow{rng.Float64()*side - length/2, length}
	}
	if rng.IntN(2) == 0 { // next to where rounding decides which pixel a sample falls onto
		return viewWindow{math.Nextafter(float64(rng.IntN(size))+0.5, 0), side}
	}
	return viewWindow{rng.Float64()*2*side - side, side}
}

func randomImage(rng *rand.Rand, size int) []uint8 {
	front := rng.IntN(5)
	image := make([]uint8, front+3*size*size)
	for i := range image {
		image[i] = uint8(rng.Uint32())
	}
	return image[front:]
}

func randomColors(rng *rand.Rand) *ColorMap {
	m := &ColorMap{}
	for c := range 3 {
		for k := range 3 {
			m.Matrix[c][k] = float32(rng.NormFloat64()) / 100
		}
		m.Shift[c], m.Low[c], m.High[c] = float32(rng.NormFloat64()), -2, 2+rng.Float32()
	}
	return m
}

// bilinear is the definition of a sample at x, y.
func bilinear(plane []uint8, size int, x, y float64) float64 {
	x0, y0 := math.Floor(x), math.Floor(y)
	at := func(x, y float64) float64 {
		return float64(plane[mirror(int(y), size-1)*size+mirror(int(x), size-1)])
	}
	wx, wy := x-x0, y-y0
	return (at(x0, y0)*(1-wx)+at(x0+1, y0)*wx)*(1-wy) + (at(x0, y0+1)*(1-wx)+at(x0+1, y0+1)*wx)*wy
}

// TestResampler holds all code paths against the definition, and AVX2 against AVX-512 bit for bit.
func TestResampler(t *testing.T) {
	first := map[string][]float32{} // what the first path made
	forEachPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		for _, sides := range viewSides() {
			source, size := sides[0], sides[1]
			r := NewResampler(source, size)
			side := float64(size)
			for round := range 20 {
				x, y, flip := randomWindow(rng, source), randomWindow(rng, source), rng.IntN(2) == 0
				x.length, y.length = min(x.length, MaxShrink*side), min(y.length, MaxShrink*side)
				image, m := randomImage(rng, source), randomColors(rng)
				out := guarded[float32](t, rng, 3*size*size)
				r.Columns(x.start, x.length, flip)
				r.Rows(y.start, y.length)
				mean := r.Stretch(image)
				r.Paint(m, out)
				name := fmt.Sprintf("size %d to %d window %v %v flip %v", source, size, x, y, flip)

				var sum [3]float64
				for i := range size * size {
					px, py := i%size, i/size
					if flip {
						px = size - 1 - px
					}
					var v [3]float64
					for c := range v {
						v[c] = bilinear(image[c*source*source:][:source*source], source,
							x.start+(float64(px)+0.5)*x.length/side-0.5, y.start+(float64(py)+0.5)*y.length/side-0.5)
						sum[c] += v[c]
					}
					for c := range v {
						want := float64(m.Shift[c])
						for k := range v {
							want += float64(m.Matrix[c][k]) * v[k]
						}
						want = min(max(want, float64(m.Low[c])), float64(m.High[c]))
						if got := float64(out[c*size*size+i]); !(math.Abs(got-want) < 1e-4) {
							t.Fatalf("%s: channel %d pixel %d: got %v, want %v", name, c, i, got, want)
						}
					}
				}
				for c := range sum {
					if want := sum[c] / side / side; !(math.Abs(float64(mean[c])-want) < 1e-3) {
						t.Fatalf("%s: mean of channel %d: got %v, want %v", name, c, mean[c], want)
					}
				}

				key := fmt.Sprint(sides, round)
				got := append(slices.Clone(out), mean[:]...)
				if Name() == pathNames[vector256] && first[key] != nil && !slices.Equal(got, first[key]) {
					t.Fatalf("%s: AVX2 and AVX-512 differ", name)
				}
				if first[key] == nil {
					first[key] = got
				}
			}
		}
	})
}

// TestResamplerIdentity: the whole image comes out as it is.
func TestResamplerIdentity(t *testing.T) {
	forEachPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(3, 4))
		m := &ColorMap{Matrix: [3][3]float32{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}, High: [3]float32{255, 255, 255}}
		for _, size := range viewSizes {
			image, out := randomImage(rng, size), make([]float32, 3*size*size)
			r := NewResampler(size, size)
			r.Stretch(image)
			r.Paint(m, out)
			for i, v := range out {
				if v != float32(image[i]) {
					t.Fatalf("size %d: value %d is %v, want %d", size, i, v, image[i])
				}
			}
		}
	})
}

func TestResamplerRefuses(t *testing.T) {
	r, half := NewResampler(20, 20), NewResampler(20, 8)
	for name, call := range map[string]func(){
		"size 0":      func() { NewResampler(0, 5) },
		"to size 0":   func() { NewResampler(5, 0) },
		"shrunk":      func() { half.Columns(0, 16.5, false) },
		"long window": func() { r.Columns(0, 20.5, false) },
		"no window":   func() { r.Rows(3, 0) },
		"no number":   func() { r.Rows(math.NaN(), 5) },
		"far away":    func() { r.Columns(21, 5, false) },
		"image":       func() { r.Stretch(make([]uint8, 5)) },
		"output":      func() { r.Paint(&ColorMap{}, make([]float32, 5)) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			call()
		}()
	}
}

func TestDropout(t *testing.T) {
	forEachPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(5, 6))
		for n := range 100 {
			key, limit := rng.Uint64(), rng.Uint32()
			if n%10 == 0 {
				limit = uint32(n) << 25
			}
			x := guarded[float32](t, rng, n)
			want := slices.Clone(x)
			dropoutGo(want, key, limit, 1.5)
			Dropout(x, key, limit, 1.5)
			for i := range x {
				if math.Float32bits(x[i]) != math.Float32bits(want[i]) {
					t.Fatalf("value %d of %d: got %v, want %v", i, n, x[i], want[i])
				}
			}
		}
	})
}

// TestDropoutIsEven: every place is dropped equally often, neighbouring places and neighbouring keys independently.
func TestDropoutIsEven(t *testing.T) {
	const keys, n, p = 4000, 64, 0.4
	limit := uint32(math.Round(p * (1 << 32)))
	counts := make([]int, n)
	var pairs, across int
	var before []float32
	for key := range uint64(keys) {
		x := slices.Repeat([]float32{1}, n)
		Dropout(x, key*0x9e3779b97f4a7c15, limit, 1)
		for i, v := range x {
			if v == 0 {
				counts[i]++
				if i > 0 && x[i-1] == 0 {
					pairs++
				}
				if before != nil && before[i] == 0 {
					across++
				}
			}
		}
		before = x
	}
	for i, c := range counts {
		if d := float64(c) - keys*p; math.Abs(d) > 5*math.Sqrt(keys*p*(1-p)) {
			t.Errorf("place %d dropped %d times of %d", i, c, keys)
		}
	}
	for what, c := range map[string]int{"places": pairs, "keys": across} {
		total := float64(keys * n)
		if d := float64(c)/total - p*p; math.Abs(d) > 0.01 {
			t.Errorf("neighbouring %s: both dropped in a share of %.4f, want %.4f", what, float64(c)/total, p*p)
		}
	}
}

func BenchmarkView(b *testing.B) {
	rng := rand.New(rand.NewPCG(7, 8))
	for _, size := range []int{32, 96} {
		r, image, out := NewResampler(size, size), randomImage(rng, size), make([]float32, 3*size*size)
		m, side := randomColors(rng), float64(size)
		r.Columns(side*0.1, side*0.8, true)
		r.Rows(side*0.1, side*0.8)
		x := make([]float32, 3*size*size)
		for name, call := range map[string]func(){
			"window":  func() { r.Columns(side*0.1, side*0.8, true); r.Rows(side*0.1, side*0.8) },
			"stretch": func() { r.Stretch(image) },
			"paint":   func() { r.Paint(m, out) },
			"dropout": func() { Dropout(x, 1, 1<<30, 1) },
		} {
			b.Run(fmt.Sprintf("%s-%d", name, size), func(b *testing.B) {
				benchmarkPaths(b, func(b *testing.B) {
					for b.Loop() {
						call()
					}
				})
			})
		}
	}
}
