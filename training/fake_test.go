package training

import (
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"imgsearch/dataset"
	"imgsearch/embedder"
)

// memory is a data set of images in memory. Its images are stripes whose direction and colour are the class, with
// noise, so that there is something to learn.
type memory struct {
	images  []*dataset.Image
	labels  []dataset.Label
	damaged map[int]bool
}

func (m *memory) Name() string { return "memory" }
func (m *memory) Len() int     { return len(m.images) }
func (m *memory) Close() error { return nil }

func (m *memory) Entry(i int) dataset.Entry {
	return dataset.Entry{Source: fmt.Sprintf("memory/%d", i), Label: m.labels[i]}
}

func (m *memory) Read(ctx context.Context, i int) (dataset.Sample, error) {
	if m.damaged[i] {
		return dataset.Sample{}, fmt.Errorf("memory/%d: damaged", i)
	}
	return dataset.Sample{Image: m.images[i]}, ctx.Err()
}

func stripes(n, size, classes int) *memory {
	m := &memory{}
	for i := range n {
		r := newRNG(77, 98, uint64(i), 0)
		class := i % classes
		sin, cos := math.Sincos(math.Pi * float64(class) / float64(classes))
		phase := r.between(0, 2*math.Pi)
		img := dataset.NewImage(size, size)
		for y := range size {
			for x := range size {
				wave := math.Sin(phase + (cos*float64(x)+sin*float64(y))*(0.5+0.2*float64(class%3)))
				for k := range 3 {
					v := 128 + 60*wave*(1-0.2*float64((k+class)%3)) + r.between(-25, 25)
					img.Pix[3*(y*size+x)+k] = uint8(max(0, min(255, v)))
				}
			}
		}
		m.images = append(m.images, img)
		m.labels = append(m.labels, dataset.Label(fmt.Sprintf("class %d", class)))
	}
	return m
}

// fakeNet is a stepper whose weights depend on all inputs and learning rates that it ever saw, in order.
type fakeNet struct {
	w      embedder.Weights
	names  []string
	loss   float64
	closed bool
}

func newFake(c networkConfig) (stepper, error) {
	f := &fakeNet{w: c.Weights.Clone(), loss: 1}
	for _, p := range c.Architecture.Parameters() {
		if p.Trainable() {
			f.names = append(f.names, p.Name)
		}
	}
	return f, nil
}

func (f *fakeNet) step(input []float32, rate float64) (stepResult, error) {
	h := fnv.New64a()
	for _, x := range input[:min(len(input), 4096)] {
		b := math.Float32bits(x)
		h.Write([]byte{byte(b), byte(b >> 8), byte(b >> 16), byte(b >> 24)})
	}
	r := rng{state: h.Sum64()}
	for _, name := range f.names {
		data := f.w[name].Data
		for i := range data {
			data[i] = 0.99*data[i] + float32(rate*r.between(-1, 1))
		}
	}
	f.loss = float64(float32(f.loss * 0.99))
	return stepResult{Loss: f.loss, Active: 0.5, PositiveDistance: 1, NegativeDistance: 2, Spread: 0.1}, nil
}

func (f *fakeNet) headWeights() embedder.Weights { return f.part(true) }
func (f *fakeNet) weights() embedder.Weights     { return f.part(false) }
func (f *fakeNet) close() error                  { f.closed = true; return nil }

func (f *fakeNet) part(head bool) embedder.Weights {
	w := f.w.Clone()
	maps.DeleteFunc(w, func(name string, _ embedder.Tensor) bool { return strings.HasPrefix(name, "head.") != head })
	return w
}

func (f *fakeNet) state() embedder.Weights {
	s := f.w.Clone()
	s["fake.loss"] = embedder.Tensor{Shape: []int{1}, Data: []float32{float32(f.loss)}}
	return s
}

func (f *fakeNet) setState(s embedder.Weights) error {
	s = s.Clone()
	f.loss = float64(s["fake.loss"].Data[0])
	delete(s, "fake.loss")
	f.w = s
	return nil
}

// miniNet is an encoder of few operations.
func miniNet(size int) embedder.Architecture {
	return embedder.Architecture{
		InputSize: size, Mean: [3]float32{0.5, 0.5, 0.5}, Std: [3]float32{0.25, 0.25, 0.25},
		Layers: []embedder.Layer{
			{Kind: embedder.Conv, Out: 8, Kernel: 3, Stride: 2, Pad: 1}, {Kind: embedder.BatchNorm}, {Kind: embedder.ReLU},
			{Kind: embedder.Conv, Out: 16, Kernel: 3, Stride: 2, Pad: 1}, {Kind: embedder.BatchNorm}, {Kind: embedder.ReLU},
			{Kind: embedder.GlobalMean}, {Kind: embedder.Linear, Out: 8, Bias: true}, {Kind: embedder.L2Norm},
		},
	}
}

// miniOptions is a complete small run of 40 steps.
func miniOptions(t *testing.T) Options {
	t.Helper()
	return Options{
		Data: stripes(60, 16, 3), Out: filepath.Join(t.TempDir(), "encoder.safetensors"), Architecture: miniNet(16),
		Loss: LossOptions{Loss: LossSmoothTriplet, Temperature: 0.1}, Views: twoViews,
		Steps: 40, Batch: 8, LearningRate: 0.05, Schedule: OneCycle, WarmUp: 0.1, Momentum: 0.9, Nesterov: true, WeightDecay: 1e-4,
		Seed: 3, Threads: 1, HeldBack: 12,
	}
}
