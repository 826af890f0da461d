package training

import (
	"imgsearch/internal/kernel"
)

// convArithmetic computes a convolution of n blocked images, forward and backward, on weights [out, in, k, k]. Results
// do not depend on the number of threads.
type convArithmetic[T kernel.Float] interface {
	// forward sets y to the convolution of x, plus bias where it is not nil, and with relu to the maximum of that and 0.
	// onImages may be nil; it is told of groups of images that are done, as operation.onImages.
	forward(threads int, x, weight, bias, y []T, relu bool, onImages func(first, end int))
	// backwardData sets dx to the gradient with respect to x. onImages is that of forward.
	backwardData(threads int, dy, weight, dx []T, onImages func(first, end int))
	// backwardWeights sets dw to the gradient with respect to the weights.
	backwardWeights(threads int, x, dy, dw []T)
}

// newConvArithmetic returns a convolution of package kernel of the given precision for float32, a plain one for float64.
func newConvArithmetic[T kernel.Float](s kernel.ConvShape, n int, precision Precision) convArithmetic[T] {
	if fast, ok := any(newPackedConv(s, n, precision)).(convArithmetic[T]); ok {
		return fast
	}
	return &plainConv[T]{shape: s, n: n}
}

// packedConv works on packed weights.
type packedConv struct {
	kernel.Convolution
	n                int
	packed, gradient []float32
	bias             []float32
}

func newPackedConv(s kernel.ConvShape, n int, precision Precision) *packedConv {
	c := kernel.NewConvolution(s)
	if precision == BFloat16 && s.In >= kernel.BlockChannels {
		c = kernel.NewConvolutionBF16(s)
	}
	return &packedConv{
		Convolution: c, n: n,
		packed: make([]float32, c.WeightsLen()), gradient: make([]float32, c.GradientLen()),
		bias: make([]float32, kernel.Blocks(s.Out)*kernel.BlockChannels),
	}
}

func (c *packedConv) forward(threads int, x, weight, bias, y []float32, relu bool, onImages func(first, end int)) {
	c.PackWeights(threads, weight, c.packed)
	e := kernel.ConvEpilogue{ReLU: relu}
	if bias != nil {
		copy(c.bias, bias)
		e.Bias = c.bias
	}
	c.eachPass(len(y), onImages, func(from, to int) {
		c.Forward(threads, to-from, x[c.InputLen(from):], c.packed, y[c.OutputLen(from):], e)
	})
}

// eachPass calls fn for images [from, to), all at once where nobody wants to be told of those that are done. length is the
// number of values that fn makes of all images.
func (c *packedConv) eachPass(length int, onImages func(first, end int), fn func(from, to int)) {
	if onImages == nil {
		fn(0, c.n)
		return
	}
	eachPass(c.n, length/c.n, func(first, end, from, to int) {
		fn(from, to)
		onImages(first, end)
	})
}

func (c *packedConv) backwardData(threads int, dy, weight, dx []float32, onImages func(first, end int)) {
	c.PackTransposed(threads, weight, c.packed)
	c.eachPass(len(dx), onImages, func(from, to int) {
		c.BackwardData(threads, to-from, dy[c.OutputLen(from):], c.packed, dx[c.InputLen(from):], false)
	})
}

func (c *packedConv) backwardWeights(threads int, x, dy, dw []float32) {
	c.BackwardWeights(threads, c.n, x, dy, c.gradient)
	c.UnpackGradient(threads, c.gradient, dw)
}

// plainConv unrolls one image after the other.
type plainConv[T kernel.Float] struct {
	shape kernel.ConvShape
	n     int
}

// eachImage calls fn with each image of x, unrolled, and of y, both [channels, pixels]; what fn leaves there goes back to
// x and y where it is asked for.
func (c *plainConv[T]) eachImage(x, y []T, backX, backY bool, fn func(columns, y []T)) {
	s := c.shape
	oh := kernel.ConvSize(s.H, s.Kernel, s.Stride, s.Pad, s.Dilation)
	ow := kernel.ConvSize(s.W, s.Kernel, s.Stride, s.Pad, s.Dilation)
	image, out := make([]T, s.In*s.H*s.W), make([]T, s.Out*oh*ow)
	columns := make([]T, s.In*s.Kernel*s.Kernel*oh*ow)
	inLen, outLen := kernel.Blocks(s.In)*kernel.BlockChannels*s.H*s.W, kernel.Blocks(s.Out)*kernel.BlockChannels*oh*ow
	for i := range c.n {
		x, y := x[i*inLen:][:inLen], y[i*outLen:][:outLen]
		if !backX {
			unblock(1, s.In, s.H*s.W, x, image)
			kernel.Im2col(image, s.In, s.H, s.W, s.Kernel, s.Stride, s.Pad, s.Dilation, columns)
		}
		if !backY {
			unblock(1, s.Out, oh*ow, y, out)
		}
		fn(columns, out)
		if backX {
			clear(image)
			kernel.Col2im(columns, s.In, s.H, s.W, s.Kernel, s.Stride, s.Pad, s.Dilation, image)
			block(1, s.In, s.H*s.W, image, x)
		}
		if backY {
			block(1, s.Out, oh*ow, out, y)
		}
	}
}

func (c *plainConv[T]) done(onImages func(first, end int)) {
	if onImages != nil {
		onImages(0, groupsOf(c.n))
	}
}

func (c *plainConv[T]) forward(_ int, x, weight, bias, y []T, relu bool, onImages func(first, end int)) {
	taps := len(weight) / c.shape.Out
	c.eachImage(x, y, false, true, func(columns, y []T) {
		plane := len(y) / c.shape.Out
		kernel.Gemm(false, false, c.shape.Out, plane, taps, 1, weight, taps, columns, plane, 0, y, plane)
		for o, b := range bias {
			for j := range y[o*plane:][:plane] {
				y[o*plane+j] += b
			}
		}
		if relu {
			kernel.ReLU(y, y)
		}
	})
	c.done(onImages)
}

func (c *plainConv[T]) backwardData(_ int, dy, weight, dx []T, onImages func(first, end int)) {
	taps := len(weight) / c.shape.Out
	c.eachImage(dx, dy, true, false, func(columns, dy []T) {
		plane := len(dy) / c.shape.Out
		kernel.Gemm(true, false, taps, plane, c.shape.Out, 1, weight, taps, dy, plane, 0, columns, plane)
	})
	c.done(onImages)
}

func (c *plainConv[T]) backwardWeights(_ int, x, dy, dw []T) {
	taps := len(dw) / c.shape.Out
	clear(dw)
	c.eachImage(x, dy, false, false, func(columns, dy []T) {
		plane := len(dy) / c.shape.Out
		kernel.Gemm(false, true, c.shape.Out, taps, plane, 1, dy, plane, columns, plane, 1, dw, taps)
	})
}

// convolution holds what the forward and the backward operation share.
type convolution[T kernel.Float] struct {
	graph          *graph[T]
	arithmetic     convArithmetic[T]
	x, y, grad, dx *variable[T]
	weight         *parameter[T]
	bias           *parameter[T] // nil: none
	relu           bool
	sums           *laneSums[T] // for the gradient of the bias
}

// addConv adds a convolution of the images x, with ReLU where asked for.
func addConv[T kernel.Float](g *graph[T], name string, s kernel.ConvShape, x *variable[T], weight, bias *parameter[T], relu bool) (*variable[T], error) {
	n := x.shape[0]
	c := &convolution[T]{graph: g, arithmetic: newConvArithmetic[T](s, n, g.precision), x: x, weight: weight, bias: bias, relu: relu}
	o := &operation[T]{name: name, run: c.forward, diff: c.differentiate, stops: -1, overwrites: -1, grouped: true}
	args := []*variable[T]{x, weight.variable}
	if bias != nil {
		args = append(args, bias.variable)
	}
	y, err := g.add(o, imageShape(n, s.Out,
		kernel.ConvSize(s.H, s.Kernel, s.Stride, s.Pad, s.Dilation),
		kernel.ConvSize(s.W, s.Kernel, s.Stride, s.Pad, s.Dilation)), args...)
	c.y = y
	return y, err
}

func (c *convolution[T]) forward() {
	var bias []T
	if c.bias != nil {
		bias = c.bias.data
	}
	c.arithmetic.forward(c.graph.threads, c.x.data, c.weight.data, bias, c.y.data, c.relu, c.y.by.onImages)
}

// differentiate emits the backward operation.
func (c *convolution[T]) differentiate(grad *variable[T]) ([]*variable[T], error) {
	if c.relu {
		var err error
		if grad, err = addReLUBackward(c.graph, c.y, grad); err != nil {
			return nil, err
		}
	}
	c.grad = grad
	if c.bias != nil && c.bias.trainable {
		c.sums = newLaneSums[T](c.graph, c.y, 1)
	}
	shape := c.x.shape
	if !c.x.needsGradient {
		shape = []int{1}
	}
	o := &operation[T]{name: "backward of " + c.y.name, run: c.backward, stops: -1, overwrites: -1, backward: true, grouped: c.x.needsGradient}
	dx, err := c.graph.add(o, shape, grad, c.x, c.weight.variable)
	if err != nil {
		return nil, err
	}
	c.dx = dx
	return parameterGradients(c.graph, dx, c.x, c.weight, c.bias)
}

func (c *convolution[T]) backward() {
	if c.weight.trainable {
		c.arithmetic.backwardWeights(c.graph.threads, c.x.data, c.grad.data, c.weight.gradient)
	}
	if c.sums != nil {
		c.sums.run(func(from, to int, sums [][kernel.BlockChannels]float64) {
			kernel.LaneSums(c.grad.data[from:to], &sums[0])
		})
		for o := range c.bias.gradient {
			c.bias.gradient[o] = T(c.sums.total(0, o))
		}
	}
	if c.x.needsGradient {
		c.arithmetic.backwardData(c.graph.threads, c.grad.data, c.weight.data, c.dx.data, c.dx.by.onImages)
	}
}

// parameterGradients returns what the gradients with respect to x and the parameters are called in the graph.
func parameterGradients[T kernel.Float](g *graph[T], dx, x *variable[T], parameters ...*parameter[T]) ([]*variable[T], error) {
	out := []*variable[T]{nil}
	if x.needsGradient {
		out[0] = dx
	}
	for _, p := range parameters {
		if p == nil {
			continue
		}
		var v *variable[T]
		if p.trainable {
			var err error
			if v, err = g.gradientOf(p, dx); err != nil {
				return nil, err
			}
		}
		out = append(out, v)
	}
	return out, nil
}
