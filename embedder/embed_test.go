package embedder

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"imgsearch/dataset"
)

// mustNew returns an encoder with weights that make every layer matter: batch normalisations are not the identity.
func mustNew(tb testing.TB, a Architecture, seed uint64) *Encoder {
	tb.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	w := InitWeights(a, rng)
	for _, p := range a.Parameters() {
		data := w[p.Name].Data
		for i := range data {
			switch p.Role {
			case RoleScale:
				data[i] = float32(0.5 + rng.Float64())
			case RoleShift, RoleRunningMean, RoleBias:
				data[i] = float32(rng.NormFloat64() / 4)
			case RoleRunningVar:
				data[i] = float32(0.2 + rng.Float64())
			}
		}
	}
	e, err := New(a, w, Metadata{})
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

func noise(rng *rand.Rand, width, height int) *dataset.Image {
	img := dataset.NewImage(width, height)
	for i := range img.Pix {
		img.Pix[i] = byte(rng.Uint32())
	}
	return img
}

func noises(seed uint64, n, size int) []*dataset.Image {
	rng := rand.New(rand.NewPCG(seed, 2))
	out := make([]*dataset.Image, n)
	for i := range out {
		out[i] = noise(rng, size, size)
	}
	return out
}

// finalName is the path of an architecture's last layer.
func finalName(a Architecture) string { return "layers." + itoa(len(a.Layers)-1) }

func itoa(i int) string { return fmt.Sprint(i) }

// requireClose demands that no value is further from want than tolerance times want's root mean square.
func requireClose[A, B float32 | float64](tb testing.TB, what string, got []A, want []B, tolerance float64) {
	tb.Helper()
	if len(got) != len(want) {
		tb.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	square := 0.0
	for _, v := range want {
		square += float64(v) * float64(v)
	}
	limit := tolerance * math.Sqrt(square/float64(len(want)))
	for i := range got {
		if d := math.Abs(float64(got[i]) - float64(want[i])); !(d <= limit) {
			tb.Fatalf("%s: value %d is %g, want %g: %g off, at most %g", what, i, got[i], want[i], d, limit)
		}
	}
}

// convNet has 160,000 parameters: 3x3 convolutions with batch normalisation and ReLU, as the default preset's net.
func convNet() Architecture {
	a := Architecture{InputSize: 32, Mean: [3]float32{.49, .48, .45}, Std: [3]float32{.25, .24, .26}}
	for _, c := range []struct{ out, stride int }{{16, 1}, {32, 2}, {32, 1}, {64, 2}, {64, 1}, {128, 2}} {
		a.Layers = append(a.Layers, Layer{Kind: Conv, Out: c.out, Kernel: 3, Stride: c.stride, Pad: 1}, Layer{Kind: BatchNorm}, Layer{Kind: ReLU})
	}
	a.Layers = append(a.Layers, Layer{Kind: GlobalMean}, Layer{Kind: Linear, Out: 64, Bias: true}, Layer{Kind: L2Norm})
	return a
}

func TestEmbedEqualsReference(t *testing.T) {
	dilated := SeedArchitecture()
	dilated.Layers[7].Out, dilated.Layers[9].Out = 40, 70 // the wide linear layers take the reference too long
	rng := rand.New(rand.NewPCG(5, 5))
	nets := map[string]Architecture{
		"every kind": everyKind(), "conv": convNet(), "dilated": dilated,
		"pixels":   {InputSize: 4, Std: [3]float32{1, 1, 1}, Layers: []Layer{{Kind: Flatten}}},
		"one conv": {InputSize: 7, Std: [3]float32{1, 1, 1}, Layers: []Layer{{Kind: Conv, Out: 5, Kernel: 7}, {Kind: ReLU}, {Kind: Flatten}, {Kind: ReLU}}},
		"padding":  {InputSize: 2, Std: [3]float32{1, 1, 1}, Layers: []Layer{{Kind: Conv, Out: 5, Kernel: 3, Pad: 9, Stride: 5, Dilation: 3, Bias: true}, {Kind: Flatten}}},
		"residual rows": {InputSize: 3, Std: [3]float32{1, 1, 1}, Layers: []Layer{
			{Kind: Residual, Body: []Layer{{Kind: BatchNorm}, {Kind: BatchNorm}, {Kind: ReLU}}}, {Kind: MaxPool, Kernel: 2}, {Kind: ReLU}, {Kind: GlobalMean}, {Kind: ReLU},
			{Kind: Residual, Body: []Layer{{Kind: ReLU}, {Kind: Linear, Out: 3}, {Kind: BatchNorm}, {Kind: BatchNorm}}}, {Kind: ReLU},
			{Kind: Residual, Body: []Layer{{Kind: Residual, Body: []Layer{{Kind: Linear, Out: 3, Bias: true}, {Kind: ReLU}}}}}, {Kind: BatchNorm}, {Kind: ReLU},
			{Kind: L2Norm}}},
	}
	for i := range 30 {
		nets[fmt.Sprintf("random %d", i)] = randomNet(rng)
	}
	for name, a := range nets {
		t.Run(name, func(t *testing.T) {
			e := mustNew(t, a, 7)
			images := noises(3, 2, a.InputSize)
			if a.FLOPs() > 1e6 {
				images = images[:1] // the reference is slow
			}
			tolerance := 1e-5
			if strings.HasPrefix(name, "random") {
				tolerance = 1e-4 // a layer of one value may cancel nearly all of its input
			}
			got, err := e.Embed(context.Background(), images, 1)
			if err != nil {
				t.Fatal(err)
			}
			input := make([]float32, a.InputShape().Len())
			for i, img := range images {
				e.Input(img, input)
				want := reference(a, e.weights, input)[finalName(a)]
				requireClose(t, fmt.Sprintf("image %d of %+v", i, a.Layers), got[i*e.Dim():][:e.Dim()], want, tolerance)
			}
		})
	}
}

// randomNet draws a small net of all kinds of layers.
func randomNet(rng *rand.Rand) Architecture {
	a := Architecture{InputSize: 6 + rng.IntN(9), Mean: [3]float32{.5, .5, .5}, Std: [3]float32{.5, .5, .5}}
	pick := func(values ...int) int { return values[rng.IntN(len(values))] }
	yes := func() bool { return rng.IntN(2) == 0 }
	var layers func(n, depth int, in Shape, keep bool) ([]Layer, Shape)
	layers = func(n, depth int, in Shape, keep bool) (out []Layer, _ Shape) {
		for len(out) < n {
			var l Layer
			switch k := rng.IntN(6); {
			case k == 0:
				l = Layer{Kind: BatchNorm}
			case k == 1:
				l = Layer{Kind: ReLU}
			case k == 2 && depth < 2:
				body, _ := layers(1+rng.IntN(3), depth+1, in, true)
				out = append(out, Layer{Kind: Residual, Body: body})
				continue
			case in.Flat():
				l = Layer{Kind: Linear, Out: pick(1, 3, 8, 17, 50), Bias: yes()}
				if keep {
					l.Out = in.C
				}
			case k == 3 && !keep:
				l = Layer{Kind: MaxPool, Kernel: pick(1, 2, 3), Stride: pick(0, 2, 3)}
			default:
				l = Layer{Kind: Conv, Out: pick(1, 5, 8, 16, 33), Kernel: pick(1, 3), Dilation: pick(0, 2), Bias: yes()}
				if !keep {
					l.Stride, l.Pad = pick(0, 1, 2, 3), pick(0, 1, 2)
				} else if l.Out = in.C; l.Kernel == 3 {
					l.Pad = l.DilationOrOne()
				}
			}
			if next, err := l.outputShape(in); err == nil {
				out, in = append(out, l), next
			}
		}
		return out, in
	}
	first, shape := layers(5, 0, a.InputShape(), false)
	a.Layers = append(first, Layer{Kind: []Kind{Flatten, GlobalMean}[rng.IntN(2)]})
	if a.Layers[5].Kind == Flatten {
		shape = Shape{C: shape.Len()}
	} else {
		shape = Shape{C: shape.C}
	}
	if rng.IntN(3) == 0 {
		a.Layers = append(a.Layers, Layer{Kind: L2Norm})
	}
	last, _ := layers(3, 0, shape, false)
	a.Layers = append(a.Layers, last...)
	if yes() {
		at := 6 + rng.IntN(len(a.Layers)-5)
		a.Layers = slices.Insert(a.Layers, at, Layer{Kind: MirrorMean})
	}
	if yes() {
		a.Layers = append(a.Layers, Layer{Kind: L2Norm})
	}
	return a
}

// An image's embedding must be the same bits alone, among others, at any place and on any number of threads.
func TestEmbedDependsOnTheImageAlone(t *testing.T) {
	narrow := SeedArchitecture()
	narrow.Layers[7].Out, narrow.Layers[9].Out = 257, 131 // odd sizes: the edges of the matrix kernels
	for name, a := range map[string]Architecture{"every kind": everyKind(), "conv": convNet(), "linear": narrow} {
		t.Run(name, func(t *testing.T) {
			e := mustNew(t, a, 11)
			images := noises(4, 67, a.InputSize)
			if name != "every kind" {
				images = images[:25]
			}
			alone := make([]float32, 0, len(images)*e.Dim())
			for _, img := range images {
				x, err := e.Embed(context.Background(), []*dataset.Image{img}, 1)
				if err != nil {
					t.Fatal(err)
				}
				alone = append(alone, x...)
			}
			for _, threads := range []int{1, 2, 3, 8, 0} {
				got, err := e.Embed(context.Background(), images, threads)
				if err != nil {
					t.Fatal(err)
				}
				requireEqual(t, fmt.Sprintf("%d threads", threads), got, alone, e.Dim())
			}
			// Other neighbours, other places, other sizes of the batch.
			for from := range 7 {
				got, err := e.Embed(context.Background(), images[from:][:2*from+1], 1)
				if err != nil {
					t.Fatal(err)
				}
				requireEqual(t, fmt.Sprintf("from %d", from), got, alone[from*e.Dim():][:len(got)], e.Dim())
			}
			input := make([]float32, 0, len(images)*a.InputShape().Len())
			for _, img := range images {
				x := make([]float32, a.InputShape().Len())
				e.Input(img, x)
				input = append(input, x...)
			}
			got, err := e.EmbedInput(context.Background(), input, 2)
			if err != nil {
				t.Fatal(err)
			}
			requireEqual(t, "EmbedInput", got, alone, e.Dim())
		})
	}
}

func requireEqual(tb testing.TB, what string, got, want []float32, dim int) {
	tb.Helper()
	if len(got) != len(want) {
		tb.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i := range got {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			tb.Fatalf("%s: image %d, value %d: %v, alone %v", what, i/dim, i%dim, got[i], want[i])
		}
	}
}

func TestEmbedFromManyGoroutines(t *testing.T) {
	e := mustNew(t, everyKind(), 3)
	images := noises(1, 9, 12)
	want, err := e.Embed(context.Background(), images, 1)
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 5 {
				got, err := e.Embed(context.Background(), images, 2)
				if err != nil || !slices.Equal(got, want) {
					t.Errorf("not the same among others: %v", err)
				}
			}
		})
	}
	group.Wait()
}

func TestEmbedOtherSizes(t *testing.T) {
	e := mustNew(t, everyKind(), 3)
	rng := rand.New(rand.NewPCG(1, 1))
	for _, size := range [][2]int{{1, 1}, {40, 25}, {12, 13}, {11, 200}} {
		img := noise(rng, size[0], size[1])
		before := slices.Clone(img.Pix)
		got, err := e.Embed(context.Background(), []*dataset.Image{img}, 1)
		if err != nil {
			t.Fatal(err)
		}
		want, err := e.Embed(context.Background(), []*dataset.Image{img.Square(12)}, 1)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%v: not what the squared image gives", size)
		}
		if !slices.Equal(before, img.Pix) {
			t.Errorf("%v: the image was changed", size)
		}
	}
}

func TestInput(t *testing.T) {
	a := everyKind()
	e := mustNew(t, a, 3)
	img := noises(1, 1, 12)[0]
	x := make([]float32, 3*12*12)
	e.Input(img, x)
	for c := range 3 {
		for i := range 144 {
			want := (float64(img.Pix[3*i+c])/255 - float64(a.Mean[c])) / float64(a.Std[c])
			if got := float64(x[c*144+i]); math.Abs(got-want) > 1e-6 {
				t.Fatalf("channel %d, pixel %d: %v, want %v", c, i, got, want)
			}
		}
	}
}

func TestEmbedBadInput(t *testing.T) {
	e := mustNew(t, everyKind(), 3)
	good := noises(1, 1, 12)[0]
	for name, img := range map[string]*dataset.Image{
		"nil": nil, "empty": {}, "short": {Width: 12, Height: 12, Pix: good.Pix[1:]}, "negative": {Width: -12, Height: -12, Pix: good.Pix},
	} {
		_, err := e.Embed(context.Background(), []*dataset.Image{good, img}, 1)
		if !errors.Is(err, ErrImage) || !strings.Contains(err.Error(), "image 1 of 2") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got, err := e.Embed(context.Background(), nil, 1); err != nil || len(got) != 0 {
		t.Errorf("no images: %v, %v", got, err)
	}
	if _, err := e.EmbedInput(context.Background(), make([]float32, 5), 1); err == nil {
		t.Error("an input of 5 values is accepted")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := e.Embed(ctx, []*dataset.Image{good}, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestEmbedOverflowIsAnError(t *testing.T) {
	a := Architecture{InputSize: 2, Std: [3]float32{1, 1, 1}, Layers: []Layer{
		{Kind: Conv, Out: 4, Kernel: 1}, {Kind: ReLU}, {Kind: Conv, Out: 4, Kernel: 1}, {Kind: ReLU}, {Kind: MaxPool, Kernel: 2}, {Kind: GlobalMean},
		{Kind: Linear, Out: 4}, {Kind: ReLU}, {Kind: L2Norm}}}
	w := InitWeights(a, rand.New(rand.NewPCG(1, 1)))
	for _, t := range w {
		for i := range t.Data {
			t.Data[i] = 3e38 * float32(1-2*(i%2))
		}
	}
	e, err := New(a, w, Metadata{})
	if err != nil {
		t.Fatal(err)
	}
	images := noises(1, 2, 2)
	images[0] = dataset.NewImage(2, 2) // black: all zeros
	if _, err := e.Embed(context.Background(), images, 1); !errors.Is(err, ErrWeights) || !strings.Contains(err.Error(), "image 1 of 2") {
		t.Errorf("got %v", err)
	}
}

func TestFoldingThatOverflowsIsAnError(t *testing.T) {
	a := everyKind()
	w := InitWeights(a, rand.New(rand.NewPCG(1, 1)))
	w["layers.2.weight"].Data[0] = 3e38
	w["layers.2.running_var"].Data[0] = 0
	if _, err := New(a, w, Metadata{}); !errors.Is(err, ErrWeights) || !strings.Contains(err.Error(), "layers.1 ") {
		t.Errorf("got %v", err)
	}
}

func BenchmarkEmbed(b *testing.B) {
	for _, net := range []struct {
		name string
		a    Architecture
	}{{"seed", SeedArchitecture()}, {"conv", benchmarkNet()}} {
		e := mustNew(b, net.a, 1)
		images := noises(1, 128, 32)
		for _, threads := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/threads=%d", net.name, threads), func(b *testing.B) {
				b.ReportAllocs()
				n := 0
				for b.Loop() {
					if _, err := e.Embed(context.Background(), images, threads); err != nil {
						b.Fatal(err)
					}
					n += len(images)
				}
				b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "images/s")
				b.ReportMetric(float64(n)*float64(net.a.FLOPs())/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		}
		b.Run(net.name+"/single", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := e.Embed(context.Background(), images[:1], 1); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// benchmarkNet is a net of 44 MFLOP: six 3x3 convolutions with batch normalisation and ReLU.
func benchmarkNet() Architecture {
	a := convNet()
	for i, c := range []struct{ out, stride int }{{24, 1}, {24, 1}, {48, 2}, {48, 1}, {96, 2}, {96, 1}} {
		a.Layers[3*i].Out, a.Layers[3*i].Stride = c.out, c.stride
	}
	return a
}
