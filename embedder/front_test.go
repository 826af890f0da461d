package embedder

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"imgsearch/internal/kernel"
)

// frontNet begins with layers that are not trained.
func frontNet() Architecture {
	return Architecture{InputSize: 12, Std: [3]float32{1, 1, 1}, Layers: []Layer{
		{Kind: BatchNorm, Frozen: true},
		{Kind: Conv, Out: 20, Kernel: 3, Pad: 1, Frozen: true, Bias: true},
		{Kind: MaxPool, Kernel: 2, Stride: 2},
		{Kind: ReLU},
		{Kind: Conv, Out: 16, Kernel: 3, Pad: 1},
		{Kind: ReLU},
		{Kind: GlobalMean},
		{Kind: Linear, Out: 4},
	}}
}

func TestFrontLayers(t *testing.T) {
	frozen := func(layers ...int) Architecture {
		a := frontNet()
		for i := range a.Layers {
			a.Layers[i].Frozen = slices.Contains(layers, i)
		}
		return a
	}
	for i, c := range []struct {
		a    Architecture
		want int
	}{
		{frontNet(), 4},
		{frozen(0, 1, 4), 6}, // up to the layer that makes rows
		{frozen(1), 0},
		{frozen(0), 1},
		{convNet(), 0},
		{SeedArchitecture(), 0},
	} {
		if got := c.a.FrontLayers(); got != c.want {
			t.Errorf("net %d: %d layers, want %d", i, got, c.want)
		}
	}
}

func TestFront(t *testing.T) {
	a := frontNet()
	e := mustNew(t, a, 3)
	const n = 37
	rng := rand.New(rand.NewPCG(7, 8))
	input := make([]float32, n*3*a.InputSize*a.InputSize)
	for i := range input {
		input[i] = float32(rng.NormFloat64())
	}
	var first []float32
	for threads := 1; threads <= 3; threads++ {
		f, err := NewFront(a, a.FrontLayers(), e.weights, threads)
		if err != nil {
			t.Fatal(err)
		}
		shape := f.OutputShape()
		if want := (Shape{C: 20, H: 6, W: 6}); shape != want {
			t.Fatalf("shape %v, want %v", shape, want)
		}
		length := kernel.Blocks(shape.C) * kernel.BlockChannels * shape.H * shape.W
		out := make([]float32, n*length)
		f.Run(n, input, out)
		if first == nil {
			first = out
		}
		if !slices.Equal(out, first) {
			t.Fatalf("%d threads: other bits than on one", threads)
		}
	}
	size, length := len(input)/n, len(first)/n
	for i := range n {
		got := make([]float32, 20*36)
		kernel.Unblock(1, 20, 36, first[i*length:][:length], got)
		if want := runLayers(t, e, a.FrontLayers(), input[i*size:][:size]); !slices.Equal(got, want) {
			t.Fatalf("image %d: not what the net makes of it", i)
		}
	}
}

func TestFrontOfRows(t *testing.T) {
	a := frontNet()
	for _, count := range []int{0, 7} {
		if _, err := NewFront(a, count, mustNew(t, a, 1).weights, 1); !errors.Is(err, ErrArchitecture) {
			t.Errorf("%d layers: %v", count, err)
		}
	}
}

func TestSegments(t *testing.T) {
	for name, a := range map[string]Architecture{"every kind": everyKind(), "conv": convNet(), "study": SeedArchitecture(), "front": frontNet()} {
		e := mustNew(t, a, 1)
		ops, block := 0, 1
		for i, s := range e.net.segments {
			ops += len(s.ops)
			if s.block%block != 0 || s.block > maxBlock {
				t.Errorf("%s: segment %d takes %d images, the one before %d", name, i, s.block, block)
			}
			block = s.block
			for j, o := range s.ops {
				if max(o.inLen, o.widest()) > s.widest {
					t.Errorf("%s: segment %d: the widest activation is not that of op %d", name, i, j)
				}
				if j > 0 && s.ops[j-1].outLen != o.inLen || j == 0 && s.inLen != o.inLen {
					t.Errorf("%s: segment %d: op %d does not fit", name, i, j)
				}
			}
		}
		all, _, err := (&compiler{}).compile("layers", a.Layers, a.InputShape())
		if err != nil || ops != len(all) {
			t.Errorf("%s: %d ops of %d (%v)", name, ops, len(all), err)
		}
	}
}
