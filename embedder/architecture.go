package embedder

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// Embedding is the vector that stands for an image: Dim float32 values.
type Embedding []float32

// Kind names what a [Layer] computes. Activations are [N, C, H, W] until Flatten or GlobalMean makes them [N, F].
type Kind string

const (
	// Conv is a two-dimensional cross-correlation: weight [Out, In, Kernel, Kernel], optional bias [Out].
	Conv Kind = "conv"
	// BatchNorm normalises each channel, or each value of [N, F]: weight, bias, running_mean, running_var, each [C];
	// epsilon is [BatchNormEpsilon].
	BatchNorm Kind = "batchnorm"
	// ReLU is max(x, 0).
	ReLU Kind = "relu"
	// MaxPool takes the maximum over Kernel x Kernel windows at Stride, without padding.
	MaxPool Kind = "maxpool"
	// GlobalMean averages over height and width: [N, C, H, W] -> [N, C].
	GlobalMean Kind = "globalmean"
	// Flatten lays out [N, C, H, W] as [N, C*H*W].
	Flatten Kind = "flatten"
	// Linear is x W^T + b: weight [Out, In], optional bias [Out].
	Linear Kind = "linear"
	// L2Norm divides each row of [N, F] by its Euclidean length (at least 1e-12). Not within a residual body.
	L2Norm Kind = "l2norm"
	// MirrorMean takes the mean of what the layers before it make of the image and of its mirror image, left and right
	// exchanged: [N, F] stays [N, F], and all layers before it are computed twice. At most once, not within a residual body.
	// It belongs to inference: training knows no such layer.
	MirrorMean Kind = "mirrormean"
	// Residual adds the input to the output of Body, which must keep the shape.
	Residual Kind = "residual"
)

// BatchNormEpsilon is what a [BatchNorm] layer adds to the variance before taking the root.
const BatchNormEpsilon = 1e-5

// Layer is one step of an [Architecture]. Fields that a kind does not use are zero.
type Layer struct {
	Kind Kind `json:"kind"`
	// Out is the number of output channels (Conv) or values (Linear).
	Out int `json:"out,omitempty"`
	// Kernel is the side of the window (Conv, MaxPool).
	Kernel int `json:"kernel,omitempty"`
	// Stride is the step of the window; 0 means 1 (Conv, MaxPool).
	Stride int `json:"stride,omitempty"`
	// Pad is the number of zero rows and columns on each side (Conv).
	Pad int `json:"pad,omitempty"`
	// Dilation is the distance between the taps of the window; 0 means 1 (Conv).
	Dilation int `json:"dilation,omitempty"`
	// Bias says whether Conv or Linear adds a bias.
	Bias bool `json:"bias,omitempty"`
	// Frozen weights keep their first values during training (Conv, Linear, BatchNorm).
	Frozen bool `json:"frozen,omitempty"`
	// Init names the first values of the weights; "" is InitKaiming (Conv, Linear).
	Init Init `json:"init,omitempty"`
	// Body is what a Residual adds to its input.
	Body []Layer `json:"body,omitempty"`
}

// Init names how weights get their first values.
type Init string

const (
	// InitKaiming draws normal values with variance 2/fan_in (He et al. 2015, arXiv 1502.01852); biases are zero.
	InitKaiming Init = "kaiming"
	// InitUniform draws weights and biases uniformly from [-1/sqrt(fan_in), 1/sqrt(fan_in)], as PyTorch does by default.
	InitUniform Init = "uniform"
	// InitWhiten sets a Conv on the input to the whitening of the training images' patches and its negative; it is set
	// by the trainer, which has the images. Out must be 2*In*Kernel*Kernel. [InitWeights], which has no images, draws
	// as InitKaiming does.
	InitWhiten Init = "whiten"
)

// Architecture is an encoder's net as data. The inference path of this package and the training graph are both built
// from it.
type Architecture struct {
	// InputSize is the side of the square input in pixels.
	InputSize int `json:"input_size"`
	// Mean and Std normalise each channel: (value/255 - Mean) / Std.
	Mean [3]float32 `json:"mean"`
	Std  [3]float32 `json:"std"`
	// Layers are applied in order to [N, 3, InputSize, InputSize]; the last one leaves [N, Dim].
	Layers []Layer `json:"layers"`
}

// The largest sizes that [Architecture.Validate] lets pass. They leave room for any net that is of use on small images
// and bound what a hostile file can make this package allocate and compute.
const (
	MaxInputSize  = 1024    // side of the input in pixels
	MaxWidth      = 1 << 16 // channels of a convolution, values of a linear layer, dim of the embedding
	MaxWindow     = 64      // kernel, stride, padding and dilation of a layer
	MaxLayers     = 1024    // layers, those in residual bodies counted
	MaxDepth      = 4       // residual layers within residual layers
	MaxActivation = 1 << 26 // values of one image between two layers, channels rounded up to whole sixteens
	MaxTaps       = 1 << 24 // what all convolutions' windows meet at the borders, see Step.taps
	MaxParameters = 1 << 28 // weights, biases and running statistics
	MaxFLOPs      = 1 << 40 // floating-point operations for one image

	maxArchitectureJSON = 1 << 20
)

// Validate reports whether the package can run the net: every field is in its range, fields that a kind does not use
// are zero, each layer fits the shape that the layer before it leaves, the last one leaves [N, Dim], and sizes stay
// within the Max constants. The error wraps [ErrArchitecture] and names the layer, the value and the allowed range.
func (a Architecture) Validate() error {
	_, err := a.trace()
	return err
}

// OutputDim returns the number of values of an embedding, 0 where the architecture is not valid.
func (a Architecture) OutputDim() int {
	steps, err := a.trace()
	if err != nil {
		return 0
	}
	return steps[len(steps)-1].Out.C
}

// InputShape returns the shape of one normalised input image: [3, InputSize, InputSize].
func (a Architecture) InputShape() Shape { return Shape{C: 3, H: a.InputSize, W: a.InputSize} }

// Normalized reports whether embeddings have length 1, that is, whether the last layer is [L2Norm].
func (a Architecture) Normalized() bool {
	return len(a.Layers) > 0 && a.Layers[len(a.Layers)-1].Kind == L2Norm
}

// Clone returns a deep copy.
func (a Architecture) Clone() Architecture {
	a.Layers = cloneLayers(a.Layers)
	return a
}

func cloneLayers(layers []Layer) []Layer {
	if layers == nil {
		return nil
	}
	out := make([]Layer, len(layers))
	for i, l := range layers {
		l.Body = cloneLayers(l.Body)
		out[i] = l
	}
	return out
}

// Shape is the shape of one image's activation: [C, H, W], or [C] with H and W zero once Flatten or GlobalMean has
// made it flat.
type Shape struct{ C, H, W int }

// Flat reports whether the shape is [C].
func (s Shape) Flat() bool { return s.H == 0 && s.W == 0 }

// Len returns the number of values.
func (s Shape) Len() int {
	if s.Flat() {
		return s.C
	}
	return s.C * s.H * s.W
}

// Sides returns [C, H, W] or [C].
func (s Shape) Sides() []int {
	if s.Flat() {
		return []int{s.C}
	}
	return []int{s.C, s.H, s.W}
}

// String formats the shape as 16x26x26 or 64.
func (s Shape) String() string {
	if s.Flat() {
		return fmt.Sprint(s.C)
	}
	return fmt.Sprintf("%dx%dx%d", s.C, s.H, s.W)
}

// Step is a layer in its place within an [Architecture].
type Step struct {
	// Path names the layer: "layers.3" for the fourth, "layers.3.body.0" for the first one in its body.
	Path string
	// Depth is 0 for a layer of the architecture and grows by one in each residual body.
	Depth int
	// Layer is the layer as the architecture has it.
	Layer Layer
	// In and Out are the shapes of one image's activation before and after the layer.
	In, Out Shape
	// Times is how often the layer is computed for an image: 2 before [MirrorMean], otherwise 1.
	Times int
}

// Steps returns all layers with the shapes that enter and leave them; the layers of a residual body come right before
// their residual layer. The error is that of [Architecture.Validate].
func (a Architecture) Steps() ([]Step, error) { return a.trace() }

// StrideOrOne returns Stride, or 1 where it is 0.
func (l Layer) StrideOrOne() int { return max(l.Stride, 1) }

// DilationOrOne returns Dilation, or 1 where it is 0.
func (l Layer) DilationOrOne() int { return max(l.Dilation, 1) }

// tracer walks through an architecture, inferring shapes and counting what the limits bound.
type tracer struct {
	steps      []Step
	layers     int
	mirrored   bool // MirrorMean was met
	parameters int64
	operations int64
	taps       int64
}

func (a Architecture) trace() ([]Step, error) {
	if a.InputSize < 1 || a.InputSize > MaxInputSize {
		return nil, fmt.Errorf("%w: input_size %d: must be 1 to %d", ErrArchitecture, a.InputSize, MaxInputSize)
	}
	for c := range 3 {
		// Written so that NaN fails.
		if !(a.Mean[c] >= 0 && a.Mean[c] <= 1) {
			return nil, fmt.Errorf("%w: mean of channel %d is %v: must be 0 to 1", ErrArchitecture, c, a.Mean[c])
		}
		if !(a.Std[c] >= 0.001 && a.Std[c] <= 1000) {
			return nil, fmt.Errorf("%w: std of channel %d is %v: must be 0.001 to 1000", ErrArchitecture, c, a.Std[c])
		}
	}
	if len(a.Layers) == 0 {
		return nil, fmt.Errorf("%w: no layers: at least one is needed", ErrArchitecture)
	}
	t := &tracer{}
	out, err := t.run("layers", 0, a.Layers, a.InputShape())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrArchitecture, err)
	}
	if !out.Flat() {
		return nil, fmt.Errorf("%w: the last layer leaves %v: flatten or globalmean must come before the end", ErrArchitecture, out)
	}
	if out.C > MaxWidth {
		return nil, fmt.Errorf("%w: embeddings of %d values: at most %d", ErrArchitecture, out.C, MaxWidth)
	}
	return t.steps, nil
}

// run follows the shape through the layers.
func (t *tracer) run(prefix string, depth int, layers []Layer, in Shape) (Shape, error) {
	for i, l := range layers {
		path := fmt.Sprintf("%s.%d", prefix, i)
		fail := func(format string, args ...any) error {
			return fmt.Errorf("%s (%s): %s", path, l.Kind, fmt.Sprintf(format, args...))
		}
		if t.layers++; t.layers > MaxLayers {
			return Shape{}, fail("more than %d layers", MaxLayers)
		}
		if err := l.checkFields(); err != nil {
			return Shape{}, fail("%v", err)
		}
		var out Shape
		var err error
		if l.Kind == Residual {
			if depth == MaxDepth {
				return Shape{}, fail("residual layers nested more than %d deep", MaxDepth)
			}
			if out, err = t.run(path+".body", depth+1, l.Body, in); err != nil {
				return Shape{}, err
			}
			if out != in {
				return Shape{}, fail("the body makes %v of %v: it must keep the shape", out, in)
			}
		} else if out, err = l.outputShape(in); err != nil {
			return Shape{}, fail("%v", err)
		}
		if (l.Kind == L2Norm || l.Kind == MirrorMean) && depth > 0 {
			return Shape{}, fail("not within a residual body")
		}
		if l.Kind == MirrorMean {
			if t.mirrored {
				return Shape{}, fail("only once")
			}
			t.mirrored = true
			t.operations *= 2
			for i := range t.steps {
				t.steps[i].Times = 2
			}
		}
		if l.Init == InitWhiten {
			if depth > 0 || i > 0 {
				return Shape{}, fail("init %q: only for the first layer", l.Init)
			}
			if want := 2 * in.C * l.Kernel * l.Kernel; l.Out != want {
				return Shape{}, fail("out %d: must be %d (2*in*kernel*kernel) with init %q", l.Out, want, l.Init)
			}
		}
		s := Step{Path: path, Depth: depth, Layer: l, In: in, Out: out, Times: 1}
		t.steps = append(t.steps, s)
		if t.parameters += s.Parameters(); t.parameters > MaxParameters {
			return Shape{}, fail("the net has more than %d parameters", MaxParameters)
		}
		if t.operations += s.operations(); t.operations > MaxFLOPs {
			return Shape{}, fail("the net needs more than %d operations an image", int64(MaxFLOPs))
		}
		if t.taps += s.taps(); t.taps > MaxTaps {
			return Shape{}, fail("the net's windows are too large: they meet the borders in more than %d ways", MaxTaps)
		}
		in = out
	}
	return in, nil
}

// checkFields checks the ranges of the fields and that those without a meaning for the kind are zero.
func (l Layer) checkFields() error {
	type field struct {
		name     string
		value    int
		used     bool
		min, max int
	}
	var out, kernel, stride, pad, dilation, bias, frozen, init, body bool
	switch l.Kind {
	case Conv:
		out, kernel, stride, pad, dilation, bias, frozen, init = true, true, true, true, true, true, true, true
	case Linear:
		out, bias, frozen, init = true, true, true, true
	case BatchNorm:
		frozen = true
	case MaxPool:
		kernel, stride = true, true
	case Residual:
		body = true
	case ReLU, GlobalMean, Flatten, L2Norm, MirrorMean:
	default:
		return fmt.Errorf("unknown kind: must be %s, %s, %s, %s, %s, %s, %s, %s, %s or %s",
			Conv, BatchNorm, ReLU, MaxPool, GlobalMean, Flatten, Linear, L2Norm, MirrorMean, Residual)
	}
	for _, f := range []field{
		{"out", l.Out, out, 1, MaxWidth},
		{"kernel", l.Kernel, kernel, 1, MaxWindow},
		{"stride", l.Stride, stride, 0, MaxWindow},
		{"pad", l.Pad, pad, 0, MaxWindow},
		{"dilation", l.Dilation, dilation, 0, MaxWindow},
	} {
		if !f.used && f.value != 0 {
			return fmt.Errorf("%s %d: must be 0, the kind does not use it", f.name, f.value)
		}
		if f.used && (f.value < f.min || f.value > f.max) {
			return fmt.Errorf("%s %d: must be %d to %d", f.name, f.value, f.min, f.max)
		}
	}
	if l.Bias && !bias {
		return fmt.Errorf("bias: must be false, the kind does not use it")
	}
	if l.Frozen && !frozen {
		return fmt.Errorf("frozen: must be false, the kind has no weights")
	}
	switch {
	case l.Init == "":
	case !init:
		return fmt.Errorf("init %q: must be empty, the kind does not use it", l.Init)
	case l.Init == InitWhiten && l.Kind != Conv:
		return fmt.Errorf("init %q: only for the first layer, a conv", l.Init)
	case l.Init != InitKaiming && l.Init != InitUniform && l.Init != InitWhiten:
		return fmt.Errorf("init %q: must be %s, %s, %s or empty", l.Init, InitKaiming, InitUniform, InitWhiten)
	}
	if !body && len(l.Body) > 0 {
		return fmt.Errorf("body of %d layers: must be empty, the kind does not use it", len(l.Body))
	}
	if body && len(l.Body) == 0 {
		return fmt.Errorf("body is empty: at least one layer is needed")
	}
	return nil
}

// outputShape infers what a layer other than Residual makes of an activation. The fields are in range.
func (l Layer) outputShape(in Shape) (Shape, error) {
	var out Shape
	switch l.Kind {
	case Conv, MaxPool:
		if in.Flat() {
			return Shape{}, fmt.Errorf("input of %v values: [C, H, W] is needed", in)
		}
		h, okH := l.window(in.H)
		w, okW := l.window(in.W)
		if !okH || !okW {
			return Shape{}, fmt.Errorf("kernel %d with dilation %d spans %d pixels: at most %d, the padded side of the input %v",
				l.Kernel, l.DilationOrOne(), l.span(), min(in.H, in.W)+2*l.Pad, in)
		}
		out = Shape{C: in.C, H: h, W: w}
		if l.Kind == Conv {
			out.C = l.Out
		}
	case GlobalMean, Flatten:
		if in.Flat() {
			return Shape{}, fmt.Errorf("input of %v values: [C, H, W] is needed", in)
		}
		out = Shape{C: in.C}
		if l.Kind == Flatten {
			out.C = in.Len()
		}
	case Linear:
		if !in.Flat() {
			return Shape{}, fmt.Errorf("input of %v: flatten or globalmean must come before", in)
		}
		out = Shape{C: l.Out}
	case L2Norm, MirrorMean:
		if !in.Flat() {
			return Shape{}, fmt.Errorf("input of %v: flatten or globalmean must come before", in)
		}
		out = in
	default: // BatchNorm, ReLU
		out = in
	}
	n := int64(out.C)
	if !out.Flat() {
		n = (n + 15) / 16 * 16 * int64(out.H) * int64(out.W)
	}
	if n > MaxActivation {
		return Shape{}, fmt.Errorf("output of %v takes %d values: at most %d", out, n, MaxActivation)
	}
	return out, nil
}

// span is the number of input pixels that the window reaches over in each direction.
func (l Layer) span() int { return l.DilationOrOne()*(l.Kernel-1) + 1 }

// operations bounds the work of the layer itself, computed once for one image, the small kinds counted too.
func (s Step) operations() int64 {
	n := int64(s.Out.Len())
	if s.Layer.Kind == MaxPool {
		n *= int64(s.Layer.Kernel * s.Layer.Kernel)
	}
	s.Times = 1
	return n + s.FLOPs()
}

// taps bounds what a prepared convolution holds: for each part of the image whose windows hang over the borders in one
// way, the taps of the window that lie within, for each block of 16 channels.
func (s Step) taps() int64 {
	l := s.Layer
	if l.Kind != Conv {
		return 0
	}
	ways := 2*l.Kernel + 1 + l.StrideOrOne()
	h, w := min(max(s.In.H, s.Out.H), ways), min(max(s.In.W, s.Out.W), ways)
	blocks := (max(s.In.C, s.Out.C) + 15) / 16
	return int64(h) * int64(w) * int64(l.Kernel*l.Kernel) * int64(blocks)
}

// window returns the number of positions of the window along a side of the input; false where it does not fit.
func (l Layer) window(side int) (int, bool) {
	room := side + 2*l.Pad - l.span()
	return room/l.StrideOrOne() + 1, room >= 0
}

// JSON returns the architecture as it is stored: compact, fields in a fixed order.
func (a Architecture) JSON() ([]byte, error) {
	for c := range 3 {
		if !finite(a.Mean[c]) || !finite(a.Std[c]) {
			return nil, fmt.Errorf("%w: mean or std of channel %d is not finite", ErrArchitecture, c)
		}
	}
	data, err := json.Marshal(a)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrArchitecture, err)
	}
	return data, nil
}

// ParseArchitecture reads what [Architecture.JSON] writes and validates it. Unknown fields are an error: a net with one
// of them left out would be another net. The error wraps [ErrArchitecture].
func ParseArchitecture(data []byte) (Architecture, error) {
	if len(data) > maxArchitectureJSON {
		return Architecture{}, fmt.Errorf("%w: JSON of %d bytes: at most %d", ErrArchitecture, len(data), maxArchitectureJSON)
	}
	var a Architecture
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil {
		return Architecture{}, fmt.Errorf("%w: %w", ErrArchitecture, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return Architecture{}, fmt.Errorf("%w: more than one JSON value", ErrArchitecture)
	}
	if err := a.Validate(); err != nil {
		return Architecture{}, err
	}
	return a, nil
}

func finite(x float32) bool { return x-x == 0 }
