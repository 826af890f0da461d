package embedder

import (
	"fmt"
	"math"
	"math/bits"
	"slices"

	"imgsearch/internal/kernel"
)

// net is an architecture with its weights, made ready for inference: batch normalisation is folded into the convolution
// or linear layer right before it, biases and ReLU are applied before a result leaves the registers, and a residual
// layer's input is added by the last convolution of its body.
//
// The layers up to Flatten or GlobalMean work on activations in blocks of channels, [N, Blocks(C), H, W, BlockChannels]
// as kernel.Block lays them out, zeros where the last block has no channel. The rest works on rows, [N, F].
type net struct {
	dim         int
	inputSize   int // the input's side
	inputPixels int
	segments    []segment
}

// segment is a run of layers that work on the same number of images at a time, at most block: so many that the
// registers are filled and reading the weights is shared, so few that activations stay in the cache. The block of a
// segment is a multiple of the one before's.
//
// Before an opMirrorMean, which begins a segment, there are two activations for each image, its own and that of its
// mirror image next to it; block counts both.
type segment struct {
	ops           []op
	block         int
	copies        int // activations for each image: 1 or 2
	inLen, outLen int // values of an image's activation
	widest        int // values of the largest activation of an image
}

type opKind int

const (
	opConv opKind = iota
	opLinear
	opAffine // x*scale + shift for each channel: a batch normalisation with nothing to fold it into
	opReLU
	opMaxPool
	opGlobalMean
	opFlatten
	opL2Norm
	opMirrorMean // of two activations that lie side by side: inLen is twice outLen
	opResidual
)

// op is one step of inference.
type op struct {
	kind          opKind
	layer         Layer // geometry of opMaxPool
	in, out       Shape
	inLen, outLen int                // values of an image's activation as it lies in memory
	conv          kernel.Convolution // opConv
	weight        []float32          // opConv: packed; opLinear [Out, In]
	bias          []float32          // opConv: filled up to whole blocks; opLinear; nil where all are zero
	scale, shift  []float32          // opAffine: filled up to whole blocks on blocked activations
	relu          bool               // max(x, 0) of the result
	body          []op               // opResidual
	last          *op                // opResidual: the convolution after body that adds the input, or nil where the op itself does
}

// The images that a segment works on together, at most, and the values that their largest activation has: rows may have
// more, for the weights of a linear layer are large.
const (
	maxBlock         = 128
	maxSpatialValues = 1 << 18
	maxFlatValues    = 1 << 20
)

func newNet(a Architecture, weights Weights) (*net, error) {
	c := compiler{weights: weights}
	ops, out, err := c.compile("layers", a.Layers, a.InputShape())
	if err != nil {
		return nil, err
	}
	return &net{dim: out.C, inputSize: a.InputSize, inputPixels: a.InputSize * a.InputSize, segments: segments(ops)}, nil
}

// segments divides ops where activations have become so small that twice as many images or more fit, and where mirror
// images join.
func segments(ops []op) []segment {
	for i := range ops {
		if ops[i].kind == opMirrorMean {
			joined := divide(ops[i:])
			before := divide(ops[:i])
			for k := range before {
				before[k].copies = 2
				before[k].block = min(before[k].block, 2*joined[0].block)
			}
			return append(before, joined...)
		}
	}
	return divide(ops)
}

// divide is segments for ops without an opMirrorMean but as the first.
func divide(ops []op) []segment {
	block := func(o *op) int {
		values := maxSpatialValues
		if o.in.Flat() {
			values = maxFlatValues
		}
		n := min(maxBlock, max(1, values/max(o.inLen, o.widest())))
		return 1 << (bits.Len(uint(n)) - 1)
	}
	var out []segment
	for first := 0; first < len(ops); {
		s := segment{block: block(&ops[first]), copies: 1, inLen: ops[first].inLen}
		// What follows may be done in smaller blocks, but not in smaller ones than what comes after that.
		end := first + 1
		for end < len(ops) && block(&ops[end]) <= s.block {
			end++
		}
		for _, o := range ops[end:] {
			s.block = min(s.block, block(&o))
		}
		s.ops, s.outLen = ops[first:end], ops[end-1].outLen
		for i := range s.ops {
			s.widest = max(s.widest, s.ops[i].inLen, s.ops[i].widest())
		}
		out = append(out, s)
		first = end
	}
	return out
}

// widest returns the number of values of the largest activation that the op writes for an image.
func (o *op) widest() int {
	n := o.outLen
	for i := range o.body {
		n = max(n, o.body[i].widest())
	}
	return n
}

// memoryLen returns how many values of memory an activation takes.
func memoryLen(s Shape) int {
	if s.Flat() {
		return s.C
	}
	return blocked(s.C) * s.H * s.W
}

// blocked rounds a number of channels up to whole blocks.
func blocked(channels int) int { return kernel.Blocks(channels) * kernel.BlockChannels }

// compiler turns layers into ops.
type compiler struct {
	weights Weights
}

// compile returns the ops of the layers and the shape that they leave. The architecture and weights are valid.
func (c *compiler) compile(prefix string, layers []Layer, in Shape) ([]op, Shape, error) {
	var ops []op
	for i := 0; i < len(layers); i++ {
		l := layers[i]
		path := fmt.Sprintf("%s.%d", prefix, i)
		out := in
		if l.Kind != Residual {
			var err error
			if out, err = l.outputShape(in); err != nil {
				return nil, Shape{}, fmt.Errorf("%w: %s: %w", ErrArchitecture, path, err)
			}
		}
		o := op{layer: l, in: in, out: out, inLen: memoryLen(in), outLen: memoryLen(out)}
		// The kinds below may take in the layers that follow.
		var scale, shift []float64
		fold := func(channels int) {
			scale, shift = slices.Repeat([]float64{1}, channels), make([]float64, channels)
			if l.Kind == BatchNorm {
				c.compose(path, scale, shift)
			}
			for i+1 < len(layers) && layers[i+1].Kind == BatchNorm {
				i++
				c.compose(fmt.Sprintf("%s.%d", prefix, i), scale, shift)
			}
		}
		switch l.Kind {
		case Conv, Linear:
			o.kind = opLinear
			fold(l.Out)
			o.weight = c.weights[path+".weight"].Data
			o.bias = c.weights[path+".bias"].Data
			if !identity(scale, shift) {
				o.weight, o.bias = foldInto(o.weight, o.bias, scale, shift)
			}
			if err := inRange(path, o.weight, o.bias); err != nil {
				return nil, Shape{}, err
			}
			if l.Kind == Conv {
				o.kind = opConv
				o.conv = kernel.NewConvolution(kernel.ConvShape{
					In: in.C, Out: l.Out, H: in.H, W: in.W,
					Kernel: l.Kernel, Stride: l.StrideOrOne(), Pad: l.Pad, Dilation: l.DilationOrOne(),
				})
				packed := make([]float32, o.conv.WeightsLen())
				o.conv.PackWeights(1, o.weight, packed)
				o.weight = packed
				if o.bias != nil {
					o.bias = fillBlocks(o.bias)
				}
			}
		case BatchNorm:
			o.kind = opAffine
			fold(in.C)
			o.scale, o.shift = narrow(scale), narrow(shift)
			if err := inRange(path, o.scale, o.shift); err != nil {
				return nil, Shape{}, err
			}
			if !in.Flat() {
				o.scale, o.shift = fillBlocks(o.scale), fillBlocks(o.shift)
			}
		case ReLU:
			o.kind, o.relu = opReLU, true
		case MaxPool:
			o.kind = opMaxPool
		case GlobalMean:
			o.kind = opGlobalMean
		case Flatten:
			o.kind = opFlatten
		case L2Norm:
			o.kind = opL2Norm
		case MirrorMean:
			o.kind, o.inLen = opMirrorMean, 2*o.outLen
		case Residual:
			o.kind = opResidual
			var err error
			if o.body, _, err = c.compile(path+".body", l.Body, in); err != nil {
				return nil, Shape{}, err
			}
			// The last convolution can add the input, which it must not read as well.
			if n := len(o.body) - 1; n > 0 && o.body[n].kind == opConv && !o.body[n].relu {
				o.last, o.body = &o.body[n], o.body[:n]
			}
		}
		for o.kind != opL2Norm && o.kind != opMirrorMean && i+1 < len(layers) && layers[i+1].Kind == ReLU {
			i++
			o.relu = true
		}
		ops = append(ops, o)
		in = out
	}
	return ops, in, nil
}

// inRange reports values that folding has made infinite.
func inRange(path string, values ...[]float32) error {
	for _, v := range values {
		if slices.ContainsFunc(v, func(x float32) bool { return !finite(x) }) {
			return fmt.Errorf("%w: %s with its batch normalisation leaves the range of float32", ErrWeights, path)
		}
	}
	return nil
}

// fillBlocks appends zeros up to whole blocks of channels.
func fillBlocks(x []float32) []float32 {
	out := make([]float32, blocked(len(x)))
	copy(out, x)
	return out
}

// compose applies the batch normalisation of that path after x*scale + shift.
func (c *compiler) compose(path string, scale, shift []float64) {
	weight, bias := c.weights[path+".weight"].Data, c.weights[path+".bias"].Data
	mean, variance := c.weights[path+".running_mean"].Data, c.weights[path+".running_var"].Data
	for i := range scale {
		s := float64(weight[i]) / math.Sqrt(float64(variance[i])+BatchNormEpsilon)
		scale[i] *= s
		shift[i] = (shift[i]-float64(mean[i]))*s + float64(bias[i])
	}
}

func identity(scale, shift []float64) bool {
	return !slices.ContainsFunc(scale, func(x float64) bool { return x != 1 }) &&
		!slices.ContainsFunc(shift, func(x float64) bool { return x != 0 })
}

// foldInto returns the weight, of len(scale) rows, and the bias that give (x W^T + bias)*scale + shift.
func foldInto(weight, bias []float32, scale, shift []float64) (w, b []float32) {
	w, b = make([]float32, len(weight)), make([]float32, len(scale))
	rowLen := len(weight) / len(scale)
	for o, s := range scale {
		for i, x := range weight[o*rowLen:][:rowLen] {
			w[o*rowLen+i] = float32(float64(x) * s)
		}
		x := shift[o]
		if bias != nil {
			x += float64(bias[o]) * s
		}
		b[o] = float32(x)
	}
	return w, b
}

func narrow(x []float64) []float32 {
	out := make([]float32, len(x))
	for i, v := range x {
		out[i] = float32(v)
	}
	return out
}
