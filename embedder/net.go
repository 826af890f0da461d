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
	path          string   // opConv and opLinear: the layer whose weights it has
	norms         []string // the batch normalisations that are folded into it, or that opAffine is
	layer         Layer    // geometry of opMaxPool
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
	ops, out, err := (&compiler{}).compile("layers", a.Layers, a.InputShape())
	if err != nil {
		return nil, err
	}
	if err := (&filler{weights: weights, threads: 1}).fill(ops); err != nil {
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
	bfloat16 bool // has convolutions of enough channels multiply bfloat16 values
}

// compile returns the ops of the layers, their values missing, and the shape that they leave. The architecture is valid.
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
		o := op{path: path, layer: l, in: in, out: out, inLen: memoryLen(in), outLen: memoryLen(out)}
		// The kinds below may take in the layers that follow.
		fold := func() {
			for i+1 < len(layers) && layers[i+1].Kind == BatchNorm {
				i++
				o.norms = append(o.norms, fmt.Sprintf("%s.%d", prefix, i))
			}
		}
		switch l.Kind {
		case Conv:
			o.kind = opConv
			o.conv = c.convolution(kernel.ConvShape{
				In: in.C, Out: l.Out, H: in.H, W: in.W,
				Kernel: l.Kernel, Stride: l.StrideOrOne(), Pad: l.Pad, Dilation: l.DilationOrOne(),
			})
			fold()
		case Linear:
			o.kind = opLinear
			fold()
		case BatchNorm:
			o.kind, o.norms = opAffine, []string{path}
			fold()
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

func (c *compiler) convolution(s kernel.ConvShape) kernel.Convolution {
	if c.bfloat16 && s.In >= kernel.BlockChannels {
		return kernel.NewConvolutionBF16(s)
	}
	return kernel.NewConvolution(s)
}

// filler gives ops their values. It can do so again and again, with other weights, while nobody runs the ops.
type filler struct {
	weights Weights
	threads int
	folded  []float32 // the weight of the convolution at hand with its batch normalisation
}

func (f *filler) fill(ops []op) error {
	for i := range ops {
		if err := f.fillOp(&ops[i]); err != nil {
			return err
		}
	}
	return nil
}

func (f *filler) fillOp(o *op) error {
	switch o.kind {
	case opConv, opLinear, opAffine:
	case opResidual:
		if o.last != nil {
			if err := f.fillOp(o.last); err != nil {
				return err
			}
		}
		return f.fill(o.body)
	default:
		return nil
	}
	scale, shift := slices.Repeat([]float64{1}, o.out.C), make([]float64, o.out.C)
	for _, path := range o.norms {
		f.compose(path, scale, shift)
	}
	if o.kind == opAffine {
		o.scale, o.shift = narrow(scale), narrow(shift)
		if err := inRange(o.path, o.scale, o.shift); err != nil {
			return err
		}
		if !o.in.Flat() {
			o.scale, o.shift = fillBlocks(o.scale), fillBlocks(o.shift)
		}
		return nil
	}
	weight, bias := f.weights[o.path+".weight"].Data, f.weights[o.path+".bias"].Data
	if !identity(scale, shift) {
		var to []float32
		if o.kind == opConv { // which is packed, so that the next one may overwrite it
			f.folded = slices.Grow(f.folded[:0], len(weight))
			to = f.folded[:len(weight)]
		} else {
			to = make([]float32, len(weight))
		}
		bias = f.foldInto(to, weight, bias, scale, shift)
		weight = to
	}
	if err := inRange(o.path, weight, bias); err != nil {
		return err
	}
	o.weight, o.bias = f.packed(o, weight), bias
	if o.kind == opConv && bias != nil {
		o.bias = fillBlocks(bias)
	}
	return nil
}

// packed returns the weight as the op reads it.
func (f *filler) packed(o *op, weight []float32) []float32 {
	if o.kind != opConv {
		return weight
	}
	if o.weight == nil {
		o.weight = make([]float32, o.conv.WeightsLen())
	}
	o.conv.PackWeights(f.threads, weight, o.weight)
	return o.weight
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
func (f *filler) compose(path string, scale, shift []float64) {
	weight, bias := f.weights[path+".weight"].Data, f.weights[path+".bias"].Data
	mean, variance := f.weights[path+".running_mean"].Data, f.weights[path+".running_var"].Data
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

// foldInto sets w to the weight, of len(scale) rows, that gives (x W^T + bias)*scale + shift, and returns the bias.
func (f *filler) foldInto(w, weight, bias []float32, scale, shift []float64) []float32 {
	b := make([]float32, len(scale))
	rowLen := len(weight) / len(scale)
	kernel.Parallel(f.threads, len(scale), func(o int) {
		s := scale[o]
		for i, x := range weight[o*rowLen:][:rowLen] {
			w[o*rowLen+i] = float32(float64(x) * s)
		}
		x := shift[o]
		if bias != nil {
			x += float64(bias[o]) * s
		}
		b[o] = float32(x)
	})
	return b
}

func narrow(x []float64) []float32 {
	out := make([]float32, len(x))
	for i, v := range x {
		out[i] = float32(v)
	}
	return out
}
