package embedder

import (
	"fmt"
	"math"
	"slices"
)

// net is an architecture with its weights, made ready for inference: batch normalisation is folded into the convolution
// or linear layer right before it, and biases and ReLU are applied while a result is still in the cache. The layers up
// to Flatten or GlobalMean work on one image at a time, the rest on the rows of a block of images.
type net struct {
	dim       int
	inputLen  int  // values of one input image
	spatial   []op // [C, H, W] -> [C, H, W], and then the one that makes [F]
	flat      []op // [rows, F] -> [rows, F]
	flatLen   int  // values of a row that enters flat
	bufferLen int  // values of the largest activation: of one image, or of a block of rows
	columnLen int  // values of the largest unrolled input, or grid with its products
	block     int  // images whose rows are worked on together, at most
}

type opKind int

const (
	opConv opKind = iota
	opLinear
	opAffine // x*scale + shift for each channel: a batch normalisation with nothing to fold it into
	opReLU
	opMaxPool
	opGlobalMean
	opL2Norm
	opResidual
)

// op is one step of inference.
type op struct {
	kind    opKind
	layer   Layer // geometry of opConv and opMaxPool
	in, out Shape
	weight  []float32 // opConv [Out, In*Kernel*Kernel], opLinear [Out, In]
	bias    []float32 // opConv, opLinear; nil where all are zero
	scale   []float32 // opAffine
	shift   []float32
	relu    bool // max(x, 0) of the result
	body    []op // opResidual
	grid    grid // opConv by taps
}

// grid is how a convolution's input lies when it is multiplied tap by tap. The input gets its padding and is divided
// into phases: pixel (y, x) goes to position (y/stride, x/stride) of phase (y%stride, x%stride). What one tap of the
// window sees for all positions of the output is then a run of one phase, and the convolution is a sum of matrix
// products, one for each tap, without a copy of the input for each. Lines of the products are as wide as the grid; the
// values beyond the output's width are left out when the bias is added.
type grid struct {
	used   bool
	h, w   int       // of a phase
	phases [][2]int  // those that taps see: offset in y and x
	taps   []tapRun  // in the order of the weight's taps
	weight []float32 // [taps, Out, In]
}

// tapRun is where a tap's run begins.
type tapRun struct{ phase, offset int }

// gridPays reports whether a convolution is faster tap by tap than with its input unrolled: with few input channels the
// products are too thin, and a wide grid makes too many values that are left out. Measured with the AVX-512 kernels.
func (o *op) gridPays() bool {
	s := o.layer.StrideOrOne()
	w := (o.in.W + 2*o.layer.Pad + s - 1) / s
	return !o.direct() && o.in.C >= 16 && 4*w <= 5*o.out.W
}

// makeGrid has the convolution work tap by tap.
func (o *op) makeGrid() {
	l := o.layer
	s, d := l.StrideOrOne(), l.DilationOrOne()
	g := grid{used: true, h: (o.in.H + 2*l.Pad + s - 1) / s, w: (o.in.W + 2*l.Pad + s - 1) / s}
	number := map[[2]int]int{}
	for ky := range l.Kernel {
		for kx := range l.Kernel {
			phase := [2]int{ky * d % s, kx * d % s}
			n, ok := number[phase]
			if !ok {
				n = len(g.phases)
				number[phase] = n
				g.phases = append(g.phases, phase)
			}
			g.taps = append(g.taps, tapRun{n, ky*d/s*g.w + kx*d/s})
		}
	}
	g.weight = make([]float32, len(o.weight))
	taps := len(g.taps)
	for i, x := range o.weight { // [Out, In, taps] -> [taps, Out, In]
		g.weight[i%taps*(len(o.weight)/taps)+i/taps] = x
	}
	o.grid = g
}

// scratchLen returns the values of scratch memory that the op needs.
func (o *op) scratchLen() int {
	switch {
	case o.grid.used:
		return o.gridLen() + o.wideLen()
	case o.kind == opConv && !o.direct():
		return o.in.C * o.layer.Kernel * o.layer.Kernel * o.out.H * o.out.W
	}
	return 0
}

// gridLen returns the values of the input's grid, and wideLen those of the products.
func (o *op) gridLen() int { return len(o.grid.phases) * o.in.C * o.grid.h * o.grid.w }
func (o *op) wideLen() int { return o.out.C * o.out.H * o.grid.w }

// maxBlock and maxBlockValues bound the rows that linear layers work on together: so many that reading the weights is
// shared by many images, so few that the rows stay in the cache.
const (
	maxBlock       = 128
	maxBlockValues = 1 << 20
)

func newNet(a Architecture, weights Weights) (*net, error) {
	c := compiler{weights: weights}
	all, out, err := c.compile("layers", a.Layers, a.InputShape())
	if err != nil {
		return nil, err
	}
	n := &net{dim: out.C, inputLen: a.InputShape().Len(), columnLen: c.columnLen}
	// Once flat, activations stay flat, so the first flat op divides the net.
	split := slices.IndexFunc(all, func(o op) bool { return o.in.Flat() })
	if split < 0 {
		split = len(all)
	}
	n.spatial, n.flat = all[:split], all[split:]
	n.flatLen = out.C
	if len(n.flat) > 0 {
		n.flatLen = n.flat[0].in.C
	}
	c.flatLen = max(c.flatLen, n.flatLen)
	n.block = min(maxBlock, max(1, maxBlockValues/c.flatLen))
	n.bufferLen = max(c.spatialLen, n.inputLen, n.block*c.flatLen)
	return n, nil
}

// compiler turns layers into ops and notes the sizes that they need.
type compiler struct {
	weights    Weights
	spatialLen int
	flatLen    int
	columnLen  int
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
		if l.Kind == Flatten { // the layout stays
			in = out
			continue
		}
		o := op{layer: l, in: in, out: out}
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
			o.kind = opConv
			if l.Kind == Linear {
				o.kind = opLinear
			}
			fold(l.Out)
			o.weight = c.weights[path+".weight"].Data
			o.bias = c.weights[path+".bias"].Data
			if !identity(scale, shift) {
				o.weight, o.bias = foldInto(o.weight, o.bias, scale, shift)
			}
			if l.Kind == Conv && o.gridPays() {
				o.makeGrid()
			}
			c.columnLen = max(c.columnLen, o.scratchLen())
		case BatchNorm:
			o.kind = opAffine
			fold(in.C)
			o.scale, o.shift = narrow(scale), narrow(shift)
		case ReLU:
			o.kind, o.relu = opReLU, true
		case MaxPool:
			o.kind = opMaxPool
		case GlobalMean:
			o.kind = opGlobalMean
		case L2Norm:
			o.kind = opL2Norm
		case Residual:
			o.kind = opResidual
			var err error
			if o.body, _, err = c.compile(path+".body", l.Body, in); err != nil {
				return nil, Shape{}, err
			}
		}
		for _, values := range [][]float32{o.weight, o.bias, o.scale, o.shift} {
			if slices.ContainsFunc(values, func(x float32) bool { return !finite(x) }) {
				return nil, Shape{}, fmt.Errorf("%w: %s with its batch normalisation leaves the range of float32", ErrWeights, path)
			}
		}
		for o.kind != opL2Norm && i+1 < len(layers) && layers[i+1].Kind == ReLU {
			i++
			o.relu = true
		}
		if out.Flat() {
			c.flatLen = max(c.flatLen, out.C)
		} else {
			c.spatialLen = max(c.spatialLen, out.Len())
		}
		ops = append(ops, o)
		in = out
	}
	return ops, in, nil
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

// direct reports whether a convolution's input is its own unrolled input.
func (o *op) direct() bool {
	return o.layer.Kernel == 1 && o.layer.StrideOrOne() == 1 && o.layer.Pad == 0
}
