package embedder

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"imgsearch/dataset"
)

// mirrored returns the net with a MirrorMean before the given layer.
func mirrored(a Architecture, at int) Architecture {
	a = a.Clone()
	a.Layers = slices.Insert(a.Layers, at, Layer{Kind: MirrorMean})
	return a
}

// mirroredNets are small ones, one that works on one activation at a time, and one that ends in a MirrorMean.
func mirroredNets() map[string]Architecture {
	conv := convNet()
	wide := Architecture{InputSize: 129, Std: [3]float32{1, 1, 1}, Layers: []Layer{
		{Kind: Conv, Out: 16, Kernel: 3}, {Kind: ReLU}, {Kind: MaxPool, Kernel: 8, Stride: 8},
		{Kind: Conv, Out: 20, Kernel: 3}, {Kind: GlobalMean}, {Kind: L2Norm}, {Kind: Linear, Out: 5}, {Kind: L2Norm},
	}}
	return map[string]Architecture{
		"every kind": mirrored(everyKind(), 12), "conv": mirrored(conv, len(conv.Layers)-2), "last": mirrored(conv, len(conv.Layers)),
		"wide": mirrored(wide, 5),
		"pixels": {InputSize: 5, Std: [3]float32{1, 1, 1}, Layers: []Layer{
			{Kind: Flatten}, {Kind: MirrorMean}, {Kind: ReLU}, {Kind: Linear, Out: 3, Bias: true},
		}},
	}
}

func TestMirrorMean(t *testing.T) {
	for name, a := range mirroredNets() {
		t.Run(name, func(t *testing.T) {
			e := mustNew(t, a, 7)
			if block := e.net.segments[0].block; (block == 1) != (name == "wide") {
				t.Errorf("blocks of %d activations", block)
			}
			images := noises(3, 37, a.InputSize)
			var alone []float32
			input := make([]float32, a.InputShape().Len())
			for i, img := range images {
				x, err := e.Embed(context.Background(), []*dataset.Image{img}, 1)
				if err != nil {
					t.Fatal(err)
				}
				alone = append(alone, x...)
				y, err := e.Embed(context.Background(), []*dataset.Image{mirrorImage(img)}, 1)
				if err != nil {
					t.Fatal(err)
				}
				requireEqual(t, "mirror image", y, x, e.Dim())
				if i < 2 {
					e.Input(img, input)
					requireClose(t, fmt.Sprintf("image %d", i), x, reference(a, e.weights, input)[finalName(a)], 1e-5)
				}
			}
			for _, threads := range []int{1, 2, 3, 8} {
				got, err := e.Embed(context.Background(), images, threads)
				if err != nil {
					t.Fatal(err)
				}
				requireEqual(t, fmt.Sprintf("%d threads", threads), got, alone, e.Dim())
			}
			for from := range 5 {
				got, err := e.Embed(context.Background(), images[from:][:2*from+1], 1)
				if err != nil {
					t.Fatal(err)
				}
				requireEqual(t, fmt.Sprintf("from %d", from), got, alone[from*e.Dim():][:len(got)], e.Dim())
			}
		})
	}
}

func mirrorImage(img *dataset.Image) *dataset.Image {
	out := dataset.NewImage(img.Width, img.Height)
	for y := range img.Height {
		for x := range img.Width {
			copy(out.Pix[3*(y*img.Width+x):][:3], img.Pix[3*(y*img.Width+img.Width-1-x):][:3])
		}
	}
	return out
}

// TestMirrorMeanCounts: twice the operations before the layer, none of its own, no parameters.
func TestMirrorMeanCounts(t *testing.T) {
	plain := convNet()
	a := mirrored(plain, len(plain.Layers)-2)
	last := int64(2 * 128 * 64)
	if got, want := a.FLOPs(), 2*(plain.FLOPs()-last)+last; got != want {
		t.Errorf("%d operations, want %d", got, want)
	}
	if a.ParameterCount() != plain.ParameterCount() || a.OutputDim() != 64 || !a.Normalized() {
		t.Errorf("%d parameters, %d values", a.ParameterCount(), a.OutputDim())
	}
	e := mustNew(t, a, 1)
	d := e.Describe()
	l := d.Layers[len(d.Layers)-3]
	if l.Kind != MirrorMean || l.Detail != "all above computed twice" || l.FLOPs != 0 || d.FLOPs != a.FLOPs() {
		t.Errorf("described as %+v", l)
	}
}

// TestCompatMirror is TestCompat for a net with MirrorMean and an L2Norm within.
func TestCompatMirror(t *testing.T) {
	a := Architecture{InputSize: 6, Mean: [3]float32{.5, .5, .5}, Std: [3]float32{.25, .25, .25}, Layers: []Layer{
		{Kind: Conv, Out: 4, Kernel: 3}, {Kind: ReLU}, {Kind: GlobalMean}, {Kind: MirrorMean}, {Kind: L2Norm},
		{Kind: Linear, Out: 3, Bias: true}, {Kind: L2Norm},
	}}
	e := mustNew(t, a, 5)
	path := filepath.Join("testdata", "compat", "mirror_v1.safetensors")
	if *update {
		if err := e.Save(path); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Read(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.Architecture(), a) {
		t.Errorf("got %+v", got.Architecture())
	}
	if want := "fd03af02e37f"; FormatVersion == 1 && !strings.HasPrefix(got.Fingerprint(), want) {
		t.Errorf("fingerprint %s, want %s…: collections made with version 1 would be refused", got.Fingerprint(), want)
	}
	if runtime.GOARCH == "amd64" && !bytes.Equal(e.Bytes(), golden) {
		t.Error("equal content gives other bytes (run with -update if the change is wanted)")
	}
}

func BenchmarkEmbedMirror(b *testing.B) {
	plain := convNet()
	for _, net := range []struct {
		name string
		net  Architecture
	}{{"plain", plain}, {"mirror", mirrored(plain, len(plain.Layers)-2)}} {
		b.Run(net.name, func(b *testing.B) {
			e := mustNew(b, net.net, 1)
			images := noises(1, 256, net.net.InputSize)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := e.Embed(context.Background(), images, 1); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*len(images)), "µs/image")
		})
	}
}
