package training

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"imgsearch/embedder"
	"imgsearch/internal/kernel"
)

func TestPrecision(t *testing.T) {
	if p, err := Precision("").complete(); p != Float32 || err != nil {
		t.Errorf("none: %q, %v", p, err)
	}
	if _, err := Precision("float16").complete(); !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), `precision "float16": must be float32 or bfloat16`) {
		t.Errorf("float16: %v", err)
	}
	p, err := BFloat16.complete()
	if kernel.HasBF16() && (p != BFloat16 || err != nil) {
		t.Errorf("bfloat16: %q, %v", p, err)
	}
	if !kernel.HasBF16() && (!errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), "AVX512-BF16")) {
		t.Errorf("bfloat16 without the instructions: %v", err)
	}
}

// roundedInput returns values that bfloat16 holds exactly.
func roundedInput(seed uint64, n int) []float64 {
	x := randomInput(seed, n)
	for i, v := range x {
		x[i] = float64(kernel.ToBF16(float32(v)).Float32())
	}
	return x
}

func TestConvBF16(t *testing.T) {
	rng := rand.New(rand.NewPCG(43, 44))
	for range 30 {
		s := kernel.ConvShape{
			In: 16 + rng.IntN(20), Out: 1 + rng.IntN(20), H: 1 + rng.IntN(9), W: 1 + rng.IntN(9),
			Kernel: 1 + rng.IntN(4), Stride: 1 + rng.IntN(3), Pad: rng.IntN(4), Dilation: 1 + rng.IntN(3),
		}
		oh := kernel.ConvSize(s.H, s.Kernel, s.Stride, s.Pad, s.Dilation)
		ow := kernel.ConvSize(s.W, s.Kernel, s.Stride, s.Pad, s.Dilation)
		if oh == 0 || ow == 0 {
			continue
		}
		n := 1 + rng.IntN(4)
		x, w := roundedInput(rng.Uint64(), n*s.In*s.H*s.W), roundedInput(rng.Uint64(), s.Out*s.In*s.Kernel*s.Kernel)
		bias, dy := randomInput(rng.Uint64(), s.Out), roundedInput(rng.Uint64(), n*s.Out*oh*ow)
		y, dx, dw := slowConv(s, n, x, w, dy)
		for i := range y {
			y[i] = max(y[i]+bias[i/(oh*ow)%s.Out], 0)
		}
		c := newPackedConv(s, n, BFloat16)
		tolerance := 1e-4
		switch c.Convolution.(type) {
		case *kernel.ConvBF16:
		case *kernel.WinogradBF16: // which rounds its transforms
			tolerance = 0.2
		default:
			t.Fatalf("%+v is computed by %T", s, c.Convolution)
		}
		testArithmetic[float32](t, c, s, n, x, w, bias, y, dy, dx, dw, tolerance)
	}
	for _, precision := range []Precision{Float32, BFloat16} {
		c := newPackedConv(kernel.ConvShape{In: 15, Out: 9, H: 3, W: 3, Kernel: 1, Stride: 1, Dilation: 1}, 1, precision)
		if _, ok := c.Convolution.(*kernel.Conv); !ok {
			t.Errorf("15 channels in %s are computed by %T", precision, c.Convolution)
		}
	}
}

// wideNet has convolutions that bfloat16 changes.
func wideNet() embedder.Architecture {
	a := embedder.Architecture{InputSize: 16, Std: [3]float32{1, 1, 1}}
	for _, c := range [][2]int{{20, 2}, {33, 1}, {16, 2}} {
		a.Layers = append(a.Layers,
			embedder.Layer{Kind: embedder.Conv, Out: c[0], Kernel: 3, Stride: c[1], Pad: 1},
			embedder.Layer{Kind: embedder.BatchNorm}, embedder.Layer{Kind: embedder.ReLU})
	}
	a.Layers = append(a.Layers, embedder.Layer{Kind: embedder.GlobalMean},
		embedder.Layer{Kind: embedder.Linear, Out: 8, Bias: true}, embedder.Layer{Kind: embedder.L2Norm})
	return a
}

// TestBFloat16Steps: the number of threads does not matter, and the loss stays near that of float32.
func TestBFloat16Steps(t *testing.T) {
	steps := func(precision Precision, threads int) (embedder.Weights, []float64) {
		c := testConfig(wideNet(), LossOptions{Loss: LossSmoothTriplet, Temperature: 0.1}, 9)
		c.Precision, c.Threads, c.Momentum = precision, threads, 0.9
		n := mustNetwork(t, c)
		rng := rand.New(rand.NewPCG(15, 16))
		var losses []float64
		for range 5 {
			r, err := n.step(testImages(rng, n.inputLen()), 0.01)
			if err != nil {
				t.Fatal(err)
			}
			losses = append(losses, r.Loss)
		}
		return n.state(), losses
	}
	want, losses := steps(BFloat16, 1)
	for _, threads := range []int{2, 7} {
		got, _ := steps(BFloat16, threads)
		sameWeights(t, fmt.Sprintf("%d threads", threads), got, want)
	}
	_, full := steps(Float32, 1)
	for i, loss := range losses {
		if d := math.Abs(loss - full[i]); d == 0 || d > 0.02*full[i] {
			t.Errorf("step %d: loss %v, with float32 %v", i, loss, full[i])
		}
	}
}

func TestBFloat16IsRecorded(t *testing.T) {
	if !kernel.HasBF16() {
		t.Skip("this processor has no AVX512-BF16")
	}
	o := miniOptions(t)
	o.Precision = BFloat16
	ctx, cancel := context.WithCancel(t.Context())
	o.afterStep = func(int) { cancel() }
	if _, err := run(ctx, o, newFake); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if got := lines(t, RecordPath(o.Out))[0]["options"].(map[string]any)["precision"]; got != "bfloat16" {
		t.Errorf("recorded precision: %v", got)
	}
	o.Resume, o.afterStep, o.Precision = true, nil, Float32
	const want = `precision is "bfloat16" in the checkpoint and "float32" now`
	if _, err := run(t.Context(), o, newFake); !errors.Is(err, ErrMismatch) || !strings.Contains(err.Error(), want) {
		t.Errorf("resumed in another precision: %v", err)
	}
}
