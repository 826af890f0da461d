package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

func TestSquaredL2Codes(t *testing.T) {
	forEachPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(5, 6))
		for _, width := range []int{64, 128, 192, 512, 1024, MaxCodes} {
			for count := range 22 {
				if width > 1024 && count > 5 {
					break
				}
				bytes := make([]uint8, 1+width*(count+1))
				for i := range bytes {
					bytes[i] = uint8(rng.Uint32())
					if width == MaxCodes {
						bytes[i] = 255 // the largest distance
					}
				}
				q, all := bytes[1:1+width], bytes[1+width:] // at odd addresses
				if width == MaxCodes {
					clear(q)
				}
				rows, out := make([]*uint8, count), make([]uint32, count+2)
				out[count], out[count+1] = 77, 77
				for i, j := range rng.Perm(count) {
					rows[i] = &all[j*width]
				}
				want := make([]uint32, count)
				squaredL2CodesGo(q, rows, want)
				SquaredL2Codes(q, rows, out[:count])
				for i := range want {
					if out[i] != want[i] {
						t.Fatalf("width %d, row %d of %d: %d, want %d", width, i, count, out[i], want[i])
					}
				}
				if out[count] != 77 || out[count+1] != 77 {
					t.Fatalf("width %d: wrote past row %d", width, count)
				}
			}
		}
	})
}

func TestSquaredL2CodesByHand(t *testing.T) {
	q, a, b := make([]uint8, 64), make([]uint8, 64), make([]uint8, 64)
	q[0], q[63], a[0], b[63], b[5] = 3, 255, 250, 1, 2
	out := make([]uint32, 2)
	forEachPath(t, func(t *testing.T) {
		SquaredL2Codes(q, []*uint8{&a[0], &b[0]}, out)
		if out[0] != 247*247+255*255 || out[1] != 9+254*254+4 {
			t.Errorf("got %v", out)
		}
	})
}

func TestSquaredL2CodesPanics(t *testing.T) {
	x := make([]uint8, 128)
	for name, call := range map[string]func(){
		"no codes":       func() { SquaredL2Codes(nil, nil, nil) },
		"half a block":   func() { SquaredL2Codes(x[:96], []*uint8{&x[0]}, make([]uint32, 1)) },
		"unequal counts": func() { SquaredL2Codes(x, []*uint8{&x[0]}, make([]uint32, 2)) },
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

func BenchmarkSquaredL2Codes(b *testing.B) {
	for _, count := range []int{16, 1 << 14} {
		q, all, out := make([]uint8, 64), make([]uint8, 64*count), make([]uint32, count)
		rows := make([]*uint8, count)
		for i, j := range rand.New(rand.NewPCG(1, 2)).Perm(count) {
			rows[i] = &all[64*j]
		}
		b.Run(fmt.Sprintf("rows%d", count), func(b *testing.B) {
			benchmarkPaths(b, func(b *testing.B) {
				for b.Loop() {
					SquaredL2Codes(q, rows, out)
				}
				b.ReportMetric(b.Elapsed().Seconds()*1e9/float64(b.N)/float64(count), "ns/row")
			})
		})
	}
}
