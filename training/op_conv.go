package training

import (
	"imgsearch/internal/kernel"
)

// convGeometry is the shape of a convolution over a batch [c, n, h, w] that makes [out, n, oh, ow].
type convGeometry struct {
	n, c, h, w                    int
	out, oh, ow                   int
	kernel, stride, pad, dilation int
}

// taps is the number of products behind one value of the result.
func (g *convGeometry) taps() int { return g.c * g.kernel * g.kernel }

// direct reports whether the input is its own unrolled input.
func (g *convGeometry) direct() bool { return g.kernel == 1 && g.stride == 1 && g.pad == 0 }

// shifted reports whether the result has the input's sides and no stride, so that a tap reads the whole input, shifted.
func (g *convGeometry) shifted() bool {
	return g.stride == 1 && g.oh == g.h && g.ow == g.w
}

// band is a run of neighbouring columns of the unrolled input: all rows of some images, or some rows of one image.
type band struct {
	image, images int
	row, rows     int
}

// The number of columns of a band: enough to share the packing of the weights, few enough for the unrolled input to
// stay in the cache. It depends on the shape alone, so that results do not depend on the number of threads.
const (
	bandValues  = 1 << 18
	bandColumns = 512
)

// bands cuts the batch into bands; those of one image follow each other.
func (g *convGeometry) bands() []band {
	columns := max(min(bandValues/g.taps(), 2*bandColumns), bandColumns)
	plane := g.oh * g.ow
	var out []band
	if images := columns / plane; images >= 1 {
		count := (g.n + images - 1) / images
		for i := range count {
			from, to := i*g.n/count, (i+1)*g.n/count
			out = append(out, band{image: from, images: to - from, rows: g.oh})
		}
		return out
	}
	rows := max(columns/g.ow, 1)
	count := (g.oh + rows - 1) / rows
	for image := range g.n {
		for i := range count {
			from, to := i*g.oh/count, (i+1)*g.oh/count
			out = append(out, band{image: image, images: 1, row: from, rows: to - from})
		}
	}
	return out
}

func (g *convGeometry) columns(b band) int { return b.images * b.rows * g.ow }

// start is where a band begins in a channel of the result.
func (g *convGeometry) start(b band) int { return (b.image*g.oh + b.row) * g.ow }

// maxColumns is the number of columns of the widest band.
func (g *convGeometry) maxColumns(bands []band) int {
	n := 0
	for _, b := range bands {
		n = max(n, g.columns(b))
	}
	return n
}

// inside returns the positions [from, to) of a window along a side of the input whose tap at offset hits the input.
func inside(positions, side, stride, offset int) (from, to int) {
	if offset < 0 {
		from = (-offset + stride - 1) / stride
	}
	if last := side - 1 - offset; last >= 0 {
		to = min(last/stride+1, positions)
	}
	return min(from, positions), max(to, min(from, positions))
}

// unroll writes the band's columns [taps, columns] of the input x [c, n, h, w].
func unroll[T kernel.Float](g *convGeometry, x []T, b band, columns []T) {
	width := g.columns(b)
	r := 0
	for c := range g.c {
		channel := x[c*g.n*g.h*g.w:][:g.n*g.h*g.w]
		for ky := range g.kernel {
			for kx := range g.kernel {
				dst := columns[r*width:][:width]
				r++
				dy, dx := ky*g.dilation-g.pad, kx*g.dilation-g.pad
				if g.shifted() {
					copyShifted(dst, channel, g.start(b)+dy*g.w+dx)
					clearOutside(g, b, dy, dx, dst)
					continue
				}
				left, right := inside(g.ow, g.w, g.stride, dx)
				for i := range b.images {
					image := channel[(b.image+i)*g.h*g.w:][:g.h*g.w]
					for oy := range b.rows {
						line := dst[(i*b.rows+oy)*g.ow:][:g.ow]
						iy := (b.row+oy)*g.stride + dy
						if iy < 0 || iy >= g.h || left == right {
							clear(line)
							continue
						}
						clear(line[:left])
						clear(line[right:])
						src := image[iy*g.w+left*g.stride+dx:]
						if g.stride == 1 {
							copy(line[left:right], src)
							continue
						}
						for j := range line[left:right] {
							line[left+j] = src[j*g.stride]
						}
					}
				}
			}
		}
	}
}

// copyShifted fills dst with the values of src from an offset on; those beyond its ends are left.
func copyShifted[T kernel.Float](dst, src []T, offset int) {
	if offset < 0 {
		dst, offset = dst[min(-offset, len(dst)):], 0
	}
	copy(dst, src[min(offset, len(src)):])
}

// clearOutside sets those values of a row of the unrolled input to zero whose tap, moved by dy and dx, lies outside of
// the image.
func clearOutside[T kernel.Float](g *convGeometry, b band, dy, dx int, dst []T) {
	if dy == 0 && dx == 0 {
		return
	}
	left, right := min(max(-dx, 0), g.w), max(g.w-max(dx, 0), 0)
	for i := range b.images {
		for oy := range b.rows {
			line := dst[(i*b.rows+oy)*g.w:][:g.w]
			if iy := b.row + oy + dy; iy < 0 || iy >= g.h {
				clear(line)
				continue
			}
			for j := range line[:left] {
				line[j] = 0
			}
			for j := right; j < len(line); j++ {
				line[j] = 0
			}
		}
	}
}

// roll is the transpose of [unroll]: it adds the band's columns to the pixels that they were read from. It overwrites
// columns.
func roll[T kernel.Float](g *convGeometry, columns []T, b band, x []T) {
	width := g.columns(b)
	r := 0
	for c := range g.c {
		channel := x[c*g.n*g.h*g.w:][:g.n*g.h*g.w]
		for ky := range g.kernel {
			for kx := range g.kernel {
				src := columns[r*width:][:width]
				r++
				dy, dx := ky*g.dilation-g.pad, kx*g.dilation-g.pad
				if g.shifted() {
					clearOutside(g, b, dy, dx, src)
					offset := g.start(b) + dy*g.w + dx
					if offset < 0 {
						src, offset = src[min(-offset, len(src)):], 0
					}
					src = src[:max(min(len(src), len(channel)-offset), 0)]
					if len(src) > 0 {
						kernel.Add(src, channel[offset:][:len(src)])
					}
					continue
				}
				left, right := inside(g.ow, g.w, g.stride, dx)
				if left == right {
					continue
				}
				for i := range b.images {
					image := channel[(b.image+i)*g.h*g.w:][:g.h*g.w]
					for oy := range b.rows {
						iy := (b.row+oy)*g.stride + dy
						if iy < 0 || iy >= g.h {
							continue
						}
						line := src[(i*b.rows+oy)*g.ow:][:g.ow][left:right]
						dst := image[iy*g.w+left*g.stride+dx:]
						if g.stride == 1 {
							dst = dst[:len(line)]
							for j, v := range line {
								dst[j] += v
							}
							continue
						}
						for j, v := range line {
							dst[j*g.stride] += v
						}
					}
				}
			}
		}
	}
}

// convGroups bounds the number of groups of images whose shares of the gradient of the weights are added up apart, and
// so the number of threads at work on it; convGroupValues bounds their memory.
const (
	convGroups      = 16
	convGroupValues = 1 << 22
)

// groups cuts the bands into runs, each of whole images, for the backward pass.
func (g *convGeometry) groups(bands []band) [][]band {
	most := min(convGroups, max(2, convGroupValues/(g.out*g.taps())), g.n)
	var out [][]band
	for i := range most {
		// The bands that begin with images [from, to).
		from, to := i*g.n/most, (i+1)*g.n/most
		var group []band
		for _, b := range bands {
			if b.image >= from && b.image < to {
				group = append(group, b)
			}
		}
		if len(group) > 0 {
			out = append(out, group)
		}
	}
	return out
}

// convolution holds what the forward and the backward operation share.
type convolution[T kernel.Float] struct {
	convGeometry
	graph   *graph[T]
	x       *variable[T]
	y       *variable[T]
	weight  *parameter[T]
	bias    *parameter[T] // nil: none
	relu    bool
	list    []band
	scratch [][]T // of each thread
}

// addConv adds a convolution of x [c, n, h, w], with ReLU where asked for.
func addConv[T kernel.Float](g *graph[T], name string, geometry convGeometry, x *variable[T], weight, bias *parameter[T], relu bool) (*variable[T], error) {
	c := &convolution[T]{convGeometry: geometry, graph: g, x: x, weight: weight, bias: bias, relu: relu}
	c.list = c.bands()
	c.scratch = make([][]T, g.threads)
	o := &operation[T]{name: name, run: c.forward, stops: -1, overwrites: -1}
	args := []*variable[T]{x, weight.variable}
	if bias != nil {
		args = append(args, bias.variable)
	}
	o.diff = c.differentiate
	y, err := g.add(o, []int{c.out, c.n, c.oh, c.ow}, args...)
	c.y = y
	return y, err
}

func (c *convolution[T]) workspace(worker, n int) []T {
	if len(c.scratch[worker]) < n {
		c.scratch[worker] = make([]T, n)
	}
	return c.scratch[worker][:n]
}

func (c *convolution[T]) forward() {
	taps, plane := c.taps(), c.n*c.oh*c.ow
	most := c.maxColumns(c.list)
	kernel.ParallelRanges(c.graph.threads, len(c.list), func(worker, from, to int) {
		var space []T
		if !c.direct() {
			space = c.workspace(worker, taps*most)
		}
		for _, b := range c.list[from:to] {
			width, start := c.columns(b), c.start(b)
			columns, ld := c.x.data[start:], plane
			if !c.direct() {
				columns, ld = space[:taps*width], width
				unroll(&c.convGeometry, c.x.data, b, columns)
			}
			kernel.Gemm(false, false, c.out, width, taps, 1, c.weight.data, taps, columns, ld, 0, c.y.data[start:], plane)
			if c.bias == nil && !c.relu {
				continue
			}
			for o := range c.out {
				row := c.y.data[o*plane+start:][:width]
				switch {
				case c.bias == nil:
					rectify(row)
				case c.relu:
					addRectify(c.bias.data[o], row)
				default:
					addConstant(c.bias.data[o], row)
				}
			}
		}
	})
}

// differentiate emits the backward operation.
func (c *convolution[T]) differentiate(grad *variable[T]) ([]*variable[T], error) {
	b := &convBackward[T]{convolution: c, grad: grad}
	b.groups = c.convGeometry.groups(c.list)
	if c.weight.trainable {
		b.partial = make([][]T, len(b.groups))
		for i := range b.partial {
			b.partial[i] = c.weight.gradient
			if len(b.groups) > 1 {
				b.partial[i] = make([]T, c.weight.len())
			}
		}
	}
	if c.bias != nil && c.bias.trainable {
		b.partialBias = make([][]T, len(b.groups))
		for i := range b.partialBias {
			b.partialBias[i] = make([]T, c.out)
		}
	}
	shape := c.x.shape
	if !c.x.needsGradient {
		shape = []int{1}
	}
	o := &operation[T]{name: "backward of " + c.y.name, run: b.run, stops: -1, overwrites: -1, backward: true}
	args := []*variable[T]{grad, c.x, c.weight.variable}
	if c.relu {
		args = append(args, c.y)
	}
	dx, err := c.graph.add(o, shape, args...)
	if err != nil {
		return nil, err
	}
	b.dx = dx
	return parameterGradients(c.graph, dx, c.x, c.weight, c.bias)
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

type convBackward[T kernel.Float] struct {
	*convolution[T]
	grad, dx    *variable[T]
	groups      [][]band
	partial     [][]T // each group's share of the gradient of the weights
	partialBias [][]T
}

func (c *convBackward[T]) run() {
	taps, plane := c.taps(), c.n*c.oh*c.ow
	most := c.maxColumns(c.list)
	kernel.ParallelRanges(c.graph.threads, len(c.groups), func(worker, from, to int) {
		space := c.workspace(worker, (taps+c.out)*most)
		for i := from; i < to; i++ {
			c.group(i, space[:taps*most], space[taps*most:], plane)
		}
	})
	if c.partial != nil && len(c.groups) > 1 {
		addUp(c.graph.threads, c.partial, c.weight.gradient)
	}
	if c.partialBias != nil {
		addUp(1, c.partialBias, c.bias.gradient)
	}
}

// group works on the images of one group.
func (c *convBackward[T]) group(i int, space, gradSpace []T, plane int) {
	taps := c.taps()
	bands := c.groups[i]
	if c.x.needsGradient && !c.direct() {
		first, last := bands[0], bands[len(bands)-1]
		area := c.h * c.w
		for ch := range c.c {
			clear(c.dx.data[(ch*c.n+first.image)*area : (ch*c.n+last.image+last.images)*area])
		}
	}
	if c.partialBias != nil {
		clear(c.partialBias[i])
	}
	for j, b := range bands {
		width, start := c.columns(b), c.start(b)
		dz, ldz := c.grad.data[start:], plane
		if c.relu {
			dz, ldz = gradSpace[:c.out*width], width
			for o := range c.out {
				maskTo(dz[o*width:][:width], c.grad.data[o*plane+start:][:width], c.y.data[o*plane+start:][:width])
			}
		}
		if c.partialBias != nil {
			for o := range c.out {
				c.partialBias[i][o] += kernel.Sum(dz[o*ldz:][:width])
			}
		}
		if c.partial != nil {
			columns, ld := c.x.data[start:], plane
			if !c.direct() {
				columns, ld = space[:taps*width], width
				unroll(&c.convGeometry, c.x.data, b, columns)
			}
			beta := T(1)
			if j == 0 {
				beta = 0
			}
			kernel.Gemm(false, true, c.out, taps, width, 1, dz, ldz, columns, ld, beta, c.partial[i], taps)
		}
		if c.x.needsGradient {
			if c.direct() {
				kernel.Gemm(true, false, taps, width, c.out, 1, c.weight.data, taps, dz, ldz, 0, c.dx.data[start:], plane)
				continue
			}
			columns := space[:taps*width]
			kernel.Gemm(true, false, taps, width, c.out, 1, c.weight.data, taps, dz, ldz, 0, columns, width)
			roll(&c.convGeometry, columns, b, c.dx.data)
		}
	}
}

// addUp sets out to the sum of the parts, added in their order.
func addUp[T kernel.Float](threads int, parts [][]T, out []T) {
	const piece = 4096
	kernel.Parallel(threads, (len(out)+piece-1)/piece, func(i int) {
		from, to := i*piece, min((i+1)*piece, len(out))
		copy(out[from:to], parts[0][from:to])
		for _, p := range parts[1:] {
			kernel.Add(p[from:to], out[from:to])
		}
	})
}
