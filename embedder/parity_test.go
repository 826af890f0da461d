package embedder

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"imgsearch/dataset"
	"imgsearch/internal/kernel"
)

// hashed is the formula of testdata/make_seed_parity.py: splitmix64 of stream*2^32 + i.
func hashed(stream, i int) uint64 {
	z := uint64(stream)<<32 + uint64(i) + 0x9E3779B97F4A7C15
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

// formulaWeights returns the weights that the script gives PyTorch's net.
func formulaWeights(a Architecture) Weights {
	w := Weights{}
	for p, parameter := range a.Parameters() {
		t := NewTensor(parameter.Shape...)
		root := math.Sqrt(float64(parameter.FanIn))
		for i := range t.Data {
			u := float64(hashed(p, i)>>40) / (1 << 24)
			t.Data[i] = float32((2*u - 1) / root)
		}
		w[parameter.Name] = t
	}
	return w
}

// formulaImage returns the script's image n.
func formulaImage(n int) *dataset.Image {
	img := dataset.NewImage(32, 32)
	for y := range 32 {
		for x := range 32 {
			for c := range 3 {
				at := (y*32+x)*3 + c
				from := at
				if n%2 == 1 {
					from = (y/4*4*32+x/4*4)*3 + c
				}
				img.Pix[at] = byte(hashed(1000+n, from) >> 56)
			}
		}
	}
	return img
}

// The net of the study gives PyTorch's numbers for the same weights.
func TestSeedNetEqualsPyTorch(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "seed_parity.json"))
	if err != nil {
		t.Fatal(err)
	}
	var fixture struct {
		Images      int
		Pixels      [][]number
		Activations []struct {
			Layer  string
			Shape  []int
			Mean   []float64
			RMS    []float64
			Values [][]float64
		}
		Embeddings [][]float64
	}
	if err := json.Unmarshal(data, &fixture); err != nil {
		t.Fatal(err)
	}
	a := SeedArchitecture()
	e, err := newEncoder(a, formulaWeights(a), Metadata{Preset: "seed"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	images := make([]*dataset.Image, fixture.Images)
	for i := range images {
		images[i] = formulaImage(i)
		for k, want := range fixture.Pixels[i] {
			if images[i].Pix[k] != byte(want) {
				t.Fatalf("image %d, byte %d: %d, want %d: not the script's formula", i, k, images[i].Pix[k], want)
			}
		}
	}
	got, err := e.Embed(context.Background(), images, 2)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range fixture.Embeddings {
		requireClose(t, fmt.Sprintf("image %d", i), got[i*e.Dim():][:e.Dim()], want, 1e-5)
	}
	// The plain definition is held to the activations in between; it is too slow for all images.
	input := make([]float32, 3*32*32)
	e.Input(images[1], input)
	all := reference(a, e.weights, input)
	if len(fixture.Activations) != len(a.Layers) {
		t.Fatalf("%d layers in the fixture, want %d", len(fixture.Activations), len(a.Layers))
	}
	for i, want := range fixture.Activations {
		x := all[want.Layer]
		if s := e.steps[i].Out.Sides(); fmt.Sprint(s) != fmt.Sprint(want.Shape) {
			t.Fatalf("%s: shape %v, want %v", want.Layer, s, want.Shape)
		}
		var mean, square float64
		for _, v := range x {
			mean += v / float64(len(x))
			square += v * v / float64(len(x))
		}
		rms := math.Sqrt(square)
		if math.Abs(mean-want.Mean[1]) > 1e-5*rms || math.Abs(rms-want.RMS[1]) > 1e-5*rms {
			t.Errorf("%s: mean %g and root mean square %g, want %g and %g", want.Layer, mean, rms, want.Mean[1], want.RMS[1])
		}
		for k, v := range want.Values[1] {
			if d := math.Abs(x[k*(len(x)/8)] - v); d > 1e-5*rms {
				t.Errorf("%s: value %d is %g, want %g", want.Layer, k*(len(x)/8), x[k*(len(x)/8)], v)
			}
		}
	}
}

// number keeps JSON from taking a list of bytes for a base64 text.
type number uint16

// A net of every kind of layer, its file written by Python, gives PyTorch's numbers layer by layer.
func TestLayersEqualPyTorch(t *testing.T) {
	e, err := Load(filepath.Join("testdata", "compat", "python_v1.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	if m := e.Metadata(); m.Preset != "python" || m.Seed != 1 || m.FinalLoss != 0.125 || m.Program != "make_layers_parity.py" || m.Dataset != "" {
		t.Errorf("metadata %+v", m)
	}
	data, err := os.ReadFile(filepath.Join("testdata", "layers_parity.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	fixture, _, err := UnmarshalTensors(data)
	if err != nil {
		t.Fatal(err)
	}
	size := e.InputSize()
	pixels := fixture["images"] // [N, size, size, 3], values 0 to 255
	n := pixels.Shape[0]
	images := make([]*dataset.Image, n)
	input := make([]float32, 3*size*size)
	of := func(name string, i int) []float32 {
		x := fixture[name].Data
		return x[i*len(x)/n:][:len(x)/n]
	}
	for i := range images {
		images[i] = dataset.NewImage(size, size)
		for k, v := range of("images", i) {
			images[i].Pix[k] = byte(v)
		}
		e.Input(images[i], input)
		requireClose(t, fmt.Sprintf("input %d", i), input, of("input", i), 1e-6)
		all := reference(e.Architecture(), e.Weights(), input)
		for k := range e.Architecture().Layers {
			name := "layers." + itoa(k)
			requireClose(t, fmt.Sprintf("image %d, %s", i, name), all[name], of(name, i), 1e-5)
		}
		// The inference path, cut off after each layer.
		for k := range e.Architecture().Layers {
			requireClose(t, fmt.Sprintf("image %d, cut after layer %d", i, k), runLayers(t, e, k+1, input), of("layers."+itoa(k), i), 1e-5)
		}
	}
	got, err := e.Embed(context.Background(), images, 2)
	if err != nil {
		t.Fatal(err)
	}
	requireClose(t, "embeddings", got, fixture[finalName(e.Architecture())].Data, 1e-5)
}

// runLayers returns what the inference path makes of an image with the first count layers alone.
func runLayers(t *testing.T, e *Encoder, count int, input []float32) []float32 {
	t.Helper()
	a := e.Architecture()
	a.Layers = a.Layers[:count]
	ops, out, err := (&compiler{}).compile("layers", a.Layers, a.InputShape())
	if err == nil {
		err = (&filler{weights: e.weights, threads: 1}).fill(ops)
	}
	if err != nil {
		t.Fatal(err)
	}
	w := newWorker(&net{inputPixels: a.InputSize * a.InputSize, segments: segments(ops)})
	x := make([]float32, memoryLen(out))
	w.embed(1, func(int) []float32 { return input }, x)
	if out.Flat() {
		return x[:out.Len()]
	}
	plain := make([]float32, out.Len())
	kernel.Unblock(1, out.C, out.H*out.W, x, plain)
	return plain
}
