package embedder

import (
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// everyKind is a small net that uses every kind of layer.
func everyKind() Architecture {
	return Architecture{
		InputSize: 12,
		Mean:      [3]float32{0.5, 0.4, 0.3},
		Std:       [3]float32{0.25, 0.3, 0.2},
		Layers: []Layer{
			{Kind: BatchNorm},
			{Kind: Conv, Out: 8, Kernel: 3, Pad: 1},
			{Kind: BatchNorm},
			{Kind: ReLU},
			{Kind: MaxPool, Kernel: 2, Stride: 2},
			{Kind: Residual, Body: []Layer{
				{Kind: ReLU},
				{Kind: Conv, Out: 8, Kernel: 3, Pad: 2, Dilation: 2, Bias: true},
				{Kind: BatchNorm, Frozen: true},
				{Kind: Residual, Body: []Layer{{Kind: Conv, Out: 8, Kernel: 1, Init: InitUniform}}},
			}},
			{Kind: ReLU},
			{Kind: Conv, Out: 12, Kernel: 3, Stride: 2, Pad: 1, Bias: true},
			{Kind: GlobalMean},
			{Kind: Linear, Out: 10},
			{Kind: BatchNorm},
			{Kind: ReLU},
			{Kind: Linear, Out: 5, Bias: true, Init: InitUniform},
			{Kind: L2Norm},
		},
	}
}

func TestArchitectureShapes(t *testing.T) {
	steps, err := everyKind().Steps()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range steps {
		got = append(got, s.Path+" "+s.Out.String())
	}
	want := []string{
		"layers.0 3x12x12", "layers.1 8x12x12", "layers.2 8x12x12", "layers.3 8x12x12", "layers.4 8x6x6",
		"layers.5.body.0 8x6x6", "layers.5.body.1 8x6x6", "layers.5.body.2 8x6x6", "layers.5.body.3.body.0 8x6x6",
		"layers.5.body.3 8x6x6", "layers.5 8x6x6", "layers.6 8x6x6", "layers.7 12x3x3", "layers.8 12", "layers.9 10",
		"layers.10 10", "layers.11 10", "layers.12 5", "layers.13 5",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if got := everyKind().OutputDim(); got != 5 {
		t.Errorf("OutputDim %d, want 5", got)
	}
	if !everyKind().Normalized() || SeedArchitecture().Normalized() {
		t.Error("Normalized is wrong")
	}
}

func TestSeedArchitecture(t *testing.T) {
	a := SeedArchitecture()
	if err := a.Validate(); err != nil {
		t.Fatal(err)
	}
	// Counted by hand: 3*6*9+6 + 6*16*9+16 + 16*32*9+32 + 8192*1024+1024 + 1024*512+512 + 512*128+128 + 128*64+64.
	if got := a.ParameterCount(); got != 8994040 {
		t.Errorf("%d parameters, want 8994040", got)
	}
	// 2 * (6*27*900 + 16*54*676 + 32*144*256 + 8192*1024 + 1024*512 + 512*128 + 128*64).
	if got := a.FLOPs(); got != 21792272 {
		t.Errorf("%d FLOPs, want 21792272", got)
	}
	var sum int64
	for _, p := range a.Parameters() {
		sum += int64(p.Len())
	}
	if sum != a.ParameterCount() {
		t.Errorf("parameters hold %d values, want %d", sum, a.ParameterCount())
	}
	var shapes []string
	steps, _ := a.Steps()
	for _, s := range steps {
		if s.Layer.Kind != ReLU {
			shapes = append(shapes, s.Out.String())
		}
	}
	if want := []string{"6x30x30", "16x26x26", "32x16x16", "8192", "1024", "512", "128", "64"}; !slices.Equal(shapes, want) {
		t.Errorf("shapes %v, want %v", shapes, want)
	}
}

func TestParameters(t *testing.T) {
	var got []string
	for _, p := range everyKind().Parameters() {
		if p.Trainable() {
			got = append(got, p.Name)
		} else {
			got = append(got, p.Name+" fixed")
		}
	}
	want := strings.Split("layers.0.weight,layers.0.bias,layers.0.running_mean fixed,layers.0.running_var fixed,"+
		"layers.1.weight,layers.2.weight,layers.2.bias,layers.2.running_mean fixed,layers.2.running_var fixed,"+
		"layers.5.body.1.weight,layers.5.body.1.bias,layers.5.body.2.weight fixed,layers.5.body.2.bias fixed,"+
		"layers.5.body.2.running_mean fixed,layers.5.body.2.running_var fixed,layers.5.body.3.body.0.weight,"+
		"layers.7.weight,layers.7.bias,layers.9.weight,layers.10.weight,layers.10.bias,layers.10.running_mean fixed,"+
		"layers.10.running_var fixed,layers.12.weight,layers.12.bias", ",")
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	p := everyKind().Parameters()[9]
	if !slices.Equal(p.Shape, []int{8, 8, 3, 3}) || p.FanIn != 72 || p.Role != RoleWeight || p.Layer.Dilation != 2 {
		t.Errorf("%+v", p)
	}
}

func TestValidateNamesWhatIsWrong(t *testing.T) {
	flat := func(layers ...Layer) []Layer { return append(layers, Layer{Kind: GlobalMean}) }
	nested := Layer{Kind: ReLU}
	for range MaxDepth + 1 {
		nested = Layer{Kind: Residual, Body: []Layer{nested}}
	}
	for _, test := range []struct {
		name   string
		change func(*Architecture)
		want   string
	}{
		{"input size", func(a *Architecture) { a.InputSize = 0 }, "input_size 0: must be 1 to 1024"},
		{"large input", func(a *Architecture) { a.InputSize = 1 << 40 }, "must be 1 to 1024"},
		{"mean", func(a *Architecture) { a.Mean[1] = float32(math.NaN()) }, "mean of channel 1 is NaN: must be 0 to 1"},
		{"std", func(a *Architecture) { a.Std[2] = 0 }, "std of channel 2 is 0: must be 0.001 to 1000"},
		{"none", func(a *Architecture) { a.Layers = nil }, "no layers"},
		{"kind", func(a *Architecture) { a.Layers = flat(Layer{Kind: "softmax"}) }, "layers.0 (softmax): unknown kind: must be conv, "},
		{"out", func(a *Architecture) { a.Layers = flat(Layer{Kind: Conv, Kernel: 3}) }, "layers.0 (conv): out 0: must be 1 to 65536"},
		{"kernel", func(a *Architecture) { a.Layers = flat(Layer{Kind: Conv, Out: 3, Kernel: 65}) }, "kernel 65: must be 1 to 64"},
		{"pool kernel", func(a *Architecture) { a.Layers = flat(Layer{Kind: MaxPool}) }, "kernel 0: must be 1 to 64"},
		{"stride", func(a *Architecture) { a.Layers = flat(Layer{Kind: Conv, Out: 3, Kernel: 3, Stride: -1}) }, "stride -1: must be 0 to 64"},
		{"pad", func(a *Architecture) { a.Layers = flat(Layer{Kind: Conv, Out: 3, Kernel: 3, Pad: -1}) }, "pad -1: must be 0 to 64"},
		{"dilation", func(a *Architecture) { a.Layers = flat(Layer{Kind: Conv, Out: 3, Kernel: 3, Dilation: 99}) }, "dilation 99: must be 0 to 64"},
		{"unused out", func(a *Architecture) { a.Layers = flat(Layer{Kind: ReLU, Out: 3}) }, "out 3: must be 0"},
		{"unused pad", func(a *Architecture) { a.Layers = flat(Layer{Kind: MaxPool, Kernel: 2, Pad: 1}) }, "pad 1: must be 0"},
		{"unused bias", func(a *Architecture) { a.Layers = flat(Layer{Kind: ReLU, Bias: true}) }, "bias: must be false"},
		{"unused frozen", func(a *Architecture) { a.Layers = flat(Layer{Kind: ReLU, Frozen: true}) }, "frozen: must be false"},
		{"unused init", func(a *Architecture) { a.Layers = flat(Layer{Kind: BatchNorm, Init: InitUniform}) }, "must be empty"},
		{"init", func(a *Architecture) { a.Layers = flat(Layer{Kind: Conv, Out: 3, Kernel: 3, Init: "zero"}) }, `init "zero": must be kaiming, uniform, whiten or empty`},
		{"whiten linear", func(a *Architecture) {
			a.Layers = flat()
			a.Layers = append(a.Layers, Layer{Kind: Linear, Out: 3, Init: InitWhiten})
		}, "only for the first layer, a conv"},
		{"whiten later", func(a *Architecture) {
			a.Layers = flat(Layer{Kind: ReLU}, Layer{Kind: Conv, Out: 54, Kernel: 3, Init: InitWhiten})
		}, "only for the first layer"},
		{"whiten out", func(a *Architecture) { a.Layers = flat(Layer{Kind: Conv, Out: 50, Kernel: 3, Init: InitWhiten}) }, "out 50: must be 54"},
		{"unused body", func(a *Architecture) { a.Layers = flat(Layer{Kind: ReLU, Body: []Layer{{Kind: ReLU}}}) }, "body of 1 layers: must be empty"},
		{"empty body", func(a *Architecture) { a.Layers = flat(Layer{Kind: Residual}) }, "body is empty"},
		{"body's layer", func(a *Architecture) { a.Layers = flat(Layer{Kind: Residual, Body: []Layer{{Kind: "x"}}}) }, "layers.0.body.0 (x)"},
		{"body's shape", func(a *Architecture) {
			a.Layers = flat(Layer{Kind: Residual, Body: []Layer{{Kind: Conv, Out: 4, Kernel: 1}}})
		}, "the body makes 4x32x32 of 3x32x32: it must keep the shape"},
		{"nested", func(a *Architecture) { a.Layers = flat(nested) }, "nested more than 4 deep"},
		{"window", func(a *Architecture) { a.Layers = flat(Layer{Kind: Conv, Out: 3, Kernel: 3, Dilation: 16}) }, "spans 33 pixels: at most 32"},
		{"conv of flat", func(a *Architecture) { a.Layers = append(flat(), Layer{Kind: Conv, Out: 3, Kernel: 1}) }, "[C, H, W] is needed"},
		{"flatten of flat", func(a *Architecture) { a.Layers = append(flat(), Layer{Kind: Flatten}) }, "[C, H, W] is needed"},
		{"linear of image", func(a *Architecture) { a.Layers = []Layer{{Kind: Linear, Out: 3}} }, "flatten or globalmean must come before"},
		{"norm of image", func(a *Architecture) { a.Layers = []Layer{{Kind: L2Norm}} }, "flatten or globalmean must come before"},
		{"mirror of image", func(a *Architecture) { a.Layers = []Layer{{Kind: MirrorMean}} }, "flatten or globalmean must come before"},
		{"mirror twice", func(a *Architecture) { a.Layers = append(flat(), Layer{Kind: MirrorMean}, Layer{Kind: MirrorMean}) }, "layers.2 (mirrormean): only once"},
		{"mirror in body", func(a *Architecture) {
			a.Layers = append(flat(), Layer{Kind: Residual, Body: []Layer{{Kind: MirrorMean}}})
		}, "not within a residual body"},
		{"mirrored operations", func(a *Architecture) {
			a.InputSize = 1024
			a.Layers = append(flat(slices.Repeat([]Layer{{Kind: Conv, Out: 64, Kernel: 1}}, 100)...), Layer{Kind: MirrorMean})
		}, "operations an image"},
		{"norm in body", func(a *Architecture) {
			a.Layers = append(flat(), Layer{Kind: Residual, Body: []Layer{{Kind: L2Norm}}})
		}, "not within a residual body"},
		{"not flat", func(a *Architecture) { a.Layers = []Layer{{Kind: ReLU}} }, "the last layer leaves 3x32x32"},
		{"dim", func(a *Architecture) {
			a.InputSize = 1024
			a.Layers = []Layer{{Kind: Flatten}}
		}, "embeddings of 3145728 values: at most 65536"},
		{"layers", func(a *Architecture) { a.Layers = flat(make([]Layer, MaxLayers)...); fill(a.Layers) }, "more than 1024 layers"},
		{"activation", func(a *Architecture) {
			a.InputSize = 1024
			a.Layers = flat(Layer{Kind: Conv, Out: 65, Kernel: 1})
		}, "output of 65x1024x1024 takes 83886080 values: at most 67108864"},
		{"taps", func(a *Architecture) {
			a.Layers = flat(Layer{Kind: Conv, Out: 64, Kernel: 64, Pad: 64}, Layer{Kind: Conv, Out: 64, Kernel: 64, Pad: 64})
		}, "layers.0 (conv): the net's windows are too large: they meet the borders in more than 16777216 ways"},
		{"parameters", func(a *Architecture) {
			a.InputSize = 128
			a.Layers = []Layer{{Kind: Flatten}, {Kind: Linear, Out: 6000}}
		}, "more than 268435456 parameters"},
		{"operations", func(a *Architecture) {
			a.InputSize = 1024
			a.Layers = flat(slices.Repeat([]Layer{{Kind: Conv, Out: 64, Kernel: 1}}, 200)...)
		}, "operations an image"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := Architecture{InputSize: 32, Mean: [3]float32{.5, .5, .5}, Std: [3]float32{1, 1, 1}, Layers: flat()}
			if err := a.Validate(); err != nil {
				t.Fatal(err)
			}
			test.change(&a)
			err := a.Validate()
			if !errors.Is(err, ErrArchitecture) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
			if a.OutputDim() != 0 || a.Parameters() != nil || a.FLOPs() != 0 || a.ParameterCount() != 0 {
				t.Error("an unusable architecture has sizes")
			}
			if _, err := New(a, Weights{}, Metadata{}); !errors.Is(err, ErrArchitecture) {
				t.Errorf("New: %v", err)
			}
			if len(InitWeights(a, rand.New(rand.NewPCG(1, 1)))) != 0 {
				t.Error("an unusable architecture has weights")
			}
		})
	}
}

func fill(layers []Layer) {
	for i := range layers {
		layers[i].Kind = ReLU
	}
	layers[len(layers)-1].Kind = GlobalMean
}

func TestArchitectureJSON(t *testing.T) {
	for _, a := range []Architecture{everyKind(), SeedArchitecture()} {
		data, err := a.JSON()
		if err != nil {
			t.Fatal(err)
		}
		b, err := ParseArchitecture(data)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(a, b) {
			t.Errorf("got  %+v\nwant %+v", b, a)
		}
	}
	good, _ := everyKind().JSON()
	var fields map[string]any
	if err := json.Unmarshal(good, &fields); err != nil {
		t.Fatal(err)
	}
	fields["groups"] = 2
	unknown, _ := json.Marshal(fields)
	for name, data := range map[string]string{
		"empty": "", "no object": "[]", "unknown field": string(unknown), "rest": string(good) + "{}", "truncated": string(good[:60]),
		"unusable": `{"input_size":3}`, "long": strings.Repeat(" ", maxArchitectureJSON) + string(good),
		"deep": strings.Repeat(`{"layers":[{"kind":"residual","body":[`, 1000),
	} {
		if _, err := ParseArchitecture([]byte(data)); !errors.Is(err, ErrArchitecture) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestArchitectureCloneIsDeep(t *testing.T) {
	a := everyKind()
	b := a.Clone()
	b.Layers[5].Body[3].Body[0].Out = 99
	if a.Layers[5].Body[3].Body[0].Out != 8 {
		t.Error("the copy shares layers")
	}
}

func TestInitWeights(t *testing.T) {
	a := SeedArchitecture()
	a.Layers = a.Layers[:10] // without the largest use of time: conv, conv, conv, flatten, linear, relu, linear
	a.Layers[9].Init = InitKaiming
	a.Layers = append(a.Layers, Layer{Kind: BatchNorm})
	w := InitWeights(a, rand.New(rand.NewPCG(1, 2)))
	if err := w.Check(a); err != nil {
		t.Fatal(err)
	}
	moments := func(name string) (mean, variance, largest float64) {
		data := w[name].Data
		for _, x := range data {
			mean += float64(x) / float64(len(data))
			largest = max(largest, math.Abs(float64(x)))
		}
		for _, x := range data {
			variance += (float64(x) - mean) * (float64(x) - mean) / float64(len(data))
		}
		return mean, variance, largest
	}
	within := func(what string, got, want, tolerance float64) {
		t.Helper()
		if !(math.Abs(got-want) <= tolerance) {
			t.Errorf("%s: %g, want %g", what, got, want)
		}
	}
	// Uniform on [-b, b] has variance b*b/3.
	bound := 1 / math.Sqrt(8192)
	mean, variance, largest := moments("layers.7.weight")
	within("uniform mean", mean, 0, bound/1000)
	within("uniform variance", variance, bound*bound/3, bound*bound/300)
	within("uniform bound", largest, bound, bound/1000)
	_, variance, largest = moments("layers.7.bias")
	within("bias variance", variance, bound*bound/3, bound*bound/30)
	within("bias bound", largest, bound, bound/100)
	mean, variance, _ = moments("layers.9.weight")
	within("kaiming mean", mean, 0, 1e-3)
	within("kaiming variance", variance, 2.0/1024, 2e-5)
	_, _, largest = moments("layers.9.bias")
	within("kaiming bias", largest, 0, 0)
	for name, want := range map[string]float32{"weight": 1, "bias": 0, "running_mean": 0, "running_var": 1} {
		if i := slices.IndexFunc(w["layers.10."+name].Data, func(x float32) bool { return x != want }); i >= 0 {
			t.Errorf("batchnorm %s is not %v", name, want)
		}
	}
	small := everyKind()
	if !reflect.DeepEqual(InitWeights(small, rand.New(rand.NewPCG(3, 4))), InitWeights(small, rand.New(rand.NewPCG(3, 4)))) {
		t.Error("one seed gives two sets of weights")
	}
}

func TestWeightsCheck(t *testing.T) {
	a := everyKind()
	for _, test := range []struct {
		name   string
		change func(Weights)
		want   string
	}{
		{"missing", func(w Weights) { delete(w, "layers.1.weight") }, "layers.1.weight is missing"},
		{"left over", func(w Weights) { w["layers.1.bias"] = NewTensor(8) }, `"layers.1.bias" belongs to no layer`},
		{"shape", func(w Weights) { w["layers.9.weight"] = NewTensor(12, 10) }, "layers.9.weight has shape [12 10]: must be [10 12]"},
		{"length", func(w Weights) { w["layers.12.bias"] = Tensor{Shape: []int{5}, Data: make([]float32, 4)} }, "layers.12.bias has 4 values: must be 5"},
		{"not finite", func(w Weights) { w["layers.12.bias"].Data[3] = float32(math.Inf(1)) }, "value 3 of layers.12.bias is +Inf"},
		{"variance", func(w Weights) { w["layers.0.running_var"].Data[2] = -1 }, "value 2 of layers.0.running_var is -1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := InitWeights(a, rand.New(rand.NewPCG(1, 1)))
			test.change(w)
			err := w.Check(a)
			if !errors.Is(err, ErrWeights) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
			if _, err := New(a, w, Metadata{}); !errors.Is(err, ErrWeights) {
				t.Errorf("New: %v", err)
			}
		})
	}
}
