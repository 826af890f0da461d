package training

import "imgsearch/internal/kernel"

// addMaxPool adds a maximum over windows of the images x, without padding, with ReLU where asked for. The gradient goes to
// the first one in row-major order of those that are largest.
func addMaxPool[T kernel.Float](g *graph[T], name string, x *variable[T], size, stride int, relu bool) (*variable[T], error) {
	p := kernel.MaxPool{H: x.shape[2], W: x.shape[3], Size: size, Stride: stride, ReLU: relu}
	planes := x.shape[0] * x.shape[1]
	oh, ow := p.OutSize()
	in, out := p.H*p.W*lanes, oh*ow*lanes
	var choices []uint8 // which value of its window each result is, for the gradient
	if x.needsGradient {
		choices = make([]uint8, planes*p.ChoiceLen())
	}
	choicesOf := func(plane int) []uint8 {
		if choices == nil {
			return nil
		}
		return choices[plane*p.ChoiceLen():][:p.ChoiceLen()]
	}
	var y *variable[T]
	o := &operation[T]{name: name, stops: -1, overwrites: -1}
	o.run = func() {
		kernel.Parallel(g.threads, planes, func(i int) {
			kernel.MaxPoolForward(p, x.data[i*in:][:in], y.data[i*out:][:out], choicesOf(i))
		})
	}
	o.diff = func(grad *variable[T]) ([]*variable[T], error) {
		var dx *variable[T]
		b := &operation[T]{name: "backward of " + name, stops: -1, overwrites: -1, backward: true}
		b.run = func() {
			kernel.Parallel(g.threads, planes, func(i int) {
				kernel.MaxPoolBackward(p, grad.data[i*out:][:out], choicesOf(i), dx.data[i*in:][:in])
			})
		}
		dx, err := g.add(b, x.shape, grad)
		return []*variable[T]{dx}, err
	}
	y, err := g.add(o, []int{x.shape[0], x.shape[1], oh, ow, lanes}, x)
	return y, err
}

// addGlobalMean adds the mean over height and width of the images x of so many channels: to [n, channels].
func addGlobalMean[T kernel.Float](g *graph[T], name string, x *variable[T], channels int) (*variable[T], error) {
	n, blocks, area := x.shape[0], x.shape[1], x.shape[2]*x.shape[3]*lanes
	// eachBlock calls fn for each block of each image with its place in x and that of its channels in [n, channels].
	eachBlock := func(fn func(at, from, to int)) {
		kernel.Parallel(g.threads, n*blocks, func(i int) {
			row, first := i/blocks*channels, i%blocks*lanes
			fn(i*area, row+first, row+min(first+lanes, channels))
		})
	}
	var y *variable[T]
	o := &operation[T]{name: name, stops: -1, overwrites: -1}
	o.run = func() {
		eachBlock(func(at, from, to int) { kernel.GlobalMean(x.data[at:at+area], y.data[from:to]) })
	}
	o.diff = func(grad *variable[T]) ([]*variable[T], error) {
		var dx *variable[T]
		b := &operation[T]{name: "backward of " + name, stops: -1, overwrites: -1, backward: true}
		b.run = func() {
			eachBlock(func(at, from, to int) {
				var pixel [lanes]T
				for l, v := range grad.data[from:to] {
					pixel[l] = v / T(area/lanes)
				}
				kernel.Spread(dx.data[at:at+area], pixel[:])
			})
		}
		dx, err := g.add(b, x.shape, grad)
		return []*variable[T]{dx}, err
	}
	y, err := g.add(o, []int{n, channels}, x)
	return y, err
}

// addFlatten adds the change from images x of so many channels to [n, channels*h*w].
func addFlatten[T kernel.Float](g *graph[T], name string, x *variable[T], channels int) (*variable[T], error) {
	n, plane := x.shape[0], x.shape[2]*x.shape[3]
	var y *variable[T]
	o := &operation[T]{name: name, stops: -1, overwrites: -1}
	o.run = func() {
		kernel.Parallel(g.threads, n, func(i int) {
			unblock(1, channels, plane, x.data[i*x.len()/n:][:x.len()/n], y.data[i*channels*plane:][:channels*plane])
		})
	}
	o.diff = func(grad *variable[T]) ([]*variable[T], error) {
		var dx *variable[T]
		b := &operation[T]{name: "backward of " + name, stops: -1, overwrites: -1, backward: true}
		b.run = func() {
			kernel.Parallel(g.threads, n, func(i int) {
				block(1, channels, plane, grad.data[i*channels*plane:][:channels*plane], dx.data[i*x.len()/n:][:x.len()/n])
			})
		}
		dx, err := g.add(b, x.shape, grad)
		return []*variable[T]{dx}, err
	}
	y, err := g.add(o, []int{n, channels * plane}, x)
	return y, err
}
