package kernel

import (
	"math/rand/v2"
	"testing"
)

func TestNewConvolution(t *testing.T) {
	for _, c := range []struct {
		s        ConvShape
		winograd bool
	}{
		{ConvShape{16, 16, 8, 8, 3, 1, 1, 1}, true},
		{ConvShape{54, 32, 5, 7, 3, 1, 0, 1}, true},
		{ConvShape{15, 32, 8, 8, 3, 1, 1, 1}, false}, // few channels
		{ConvShape{32, 15, 8, 8, 3, 1, 1, 1}, false},
		{ConvShape{16, 16, 8, 8, 3, 2, 1, 1}, false}, // stride
		{ConvShape{16, 16, 8, 8, 3, 1, 2, 2}, false}, // dilation
		{ConvShape{16, 16, 8, 8, 3, 1, 3, 1}, false}, // padding that the transposed convolution would have to cut
		{ConvShape{16, 16, 8, 8, 1, 1, 0, 1}, false},
		{ConvShape{16, 16, 8, 8, 5, 1, 2, 1}, false},
	} {
		if _, got := NewConvolution(c.s).(*Winograd); got != c.winograd {
			t.Errorf("%+v: Winograd %v, want %v", c.s, got, c.winograd)
		}
	}
}

// FuzzConvolution holds convolutions of any small shape to their definition, on every code path.
func FuzzConvolution(f *testing.F) {
	for i, s := range []ConvShape{
		{32, 16, 9, 6, 3, 1, 1, 1}, {3, 54, 8, 8, 3, 2, 1, 1}, {6, 16, 15, 14, 3, 1, 0, 5}, {17, 33, 4, 4, 1, 2, 0, 1}, {20, 20, 13, 9, 3, 1, 2, 1},
	} {
		f.Add(uint64(i), uint8(s.In-1), uint8(s.Out-1), uint8(s.H-1), uint8(s.W-1), uint8(s.Kernel-1), uint8(s.Stride-1), uint8(s.Pad),
			uint8(s.Dilation-1), uint8(i))
	}
	f.Fuzz(func(t *testing.T, seed uint64, in, out, h, w, window, stride, pad, dilation, n uint8) {
		s := ConvShape{
			In: 1 + int(in)%64, Out: 1 + int(out)%64, H: 1 + int(h)%20, W: 1 + int(w)%20,
			Kernel: 1 + int(window)%5, Stride: 1 + int(stride)%4, Pad: int(pad) % 6, Dilation: 1 + int(dilation)%6,
		}
		if ConvSize(s.H, s.Kernel, s.Stride, s.Pad, s.Dilation) < 1 || ConvSize(s.W, s.Kernel, s.Stride, s.Pad, s.Dilation) < 1 {
			t.Skip("the window does not fit")
		}
		images := 1 + int(n)%8
		forEachPath(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			testConv(t, rng, s, images)
			testConvBF16(t, rng, s, images)
			if WinogradServes(s) {
				testConvolution(t, rng, NewWinograd(s), s, images, winogradError)
			}
		})
	})
}
