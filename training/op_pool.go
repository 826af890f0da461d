package training

import "imgsearch/internal/kernel"

// addMaxPool adds a maximum over windows of x [c, n, h, w], without padding. Where several values of a window are equal,
// the first one in row-major order gets the gradient; NaN wins.
func addMaxPool[T kernel.Float](g *graph[T], name string, x *variable[T], size, stride int) (*variable[T], error) {
	c, n, h, w := x.shape[0], x.shape[1], x.shape[2], x.shape[3]
	oh, ow := (h-size)/stride+1, (w-size)/stride+1
	choice := make([]int32, c*n*oh*ow) // where in its plane each result was read
	var y *variable[T]
	o := &operation[T]{name: name, stops: -1, overwrites: -1}
	o.run = func() {
		kernel.Parallel(g.threads, c*n, func(i int) {
			maxPoolPlane(x.data[i*h*w:][:h*w], w, size, stride, y.data[i*oh*ow:][:oh*ow], ow, choice[i*oh*ow:][:oh*ow])
		})
	}
	o.diff = func(grad *variable[T]) ([]*variable[T], error) {
		var dx *variable[T]
		b := &operation[T]{name: "backward of " + name, stops: -1, overwrites: -1, backward: true}
		b.run = func() {
			kernel.Parallel(g.threads, c*n, func(i int) {
				plane := dx.data[i*h*w:][:h*w]
				clear(plane)
				dy := grad.data[i*oh*ow:][:oh*ow]
				for j, at := range choice[i*oh*ow:][:oh*ow] {
					plane[at] += dy[j]
				}
			})
		}
		dx, err := g.add(b, x.shape, grad)
		return []*variable[T]{dx}, err
	}
	y, err := g.add(o, []int{c, n, oh, ow}, x)
	return y, err
}

func maxPoolPlane[T kernel.Float](x []T, w, size, stride int, y []T, ow int, choice []int32) {
	for j := range y {
		at := (j/ow)*stride*w + (j%ow)*stride
		best := at
		m := x[at]
		for ky := range size {
			for kx, v := range x[at+ky*w:][:size] {
				if v > m || v != v && m == m {
					m, best = v, at+ky*w+kx
				}
			}
		}
		y[j], choice[j] = m, int32(best)
	}
}

// addGlobalMean adds the mean over height and width: [c, n, h, w] to [n, c].
func addGlobalMean[T kernel.Float](g *graph[T], name string, x *variable[T]) (*variable[T], error) {
	c, n, plane := x.shape[0], x.shape[1], x.shape[2]*x.shape[3]
	var y *variable[T]
	o := &operation[T]{name: name, stops: -1, overwrites: -1}
	o.run = func() {
		kernel.Parallel(g.threads, c, func(ch int) {
			for i := range n {
				y.data[i*c+ch] = kernel.Sum(x.data[(ch*n+i)*plane:][:plane]) / T(plane)
			}
		})
	}
	o.diff = func(grad *variable[T]) ([]*variable[T], error) {
		var dx *variable[T]
		b := &operation[T]{name: "backward of " + name, stops: -1, overwrites: -1, backward: true}
		b.run = func() {
			kernel.Parallel(g.threads, c, func(ch int) {
				for i := range n {
					v := grad.data[i*c+ch] / T(plane)
					dst := dx.data[(ch*n+i)*plane:][:plane]
					for j := range dst {
						dst[j] = v
					}
				}
			})
		}
		dx, err := g.add(b, x.shape, grad)
		return []*variable[T]{dx}, err
	}
	y, err := g.add(o, []int{n, c}, x)
	return y, err
}

// addFlatten adds the change from [c, n, h, w] to [n, c*h*w].
func addFlatten[T kernel.Float](g *graph[T], name string, x *variable[T]) (*variable[T], error) {
	c, n, plane := x.shape[0], x.shape[1], x.shape[2]*x.shape[3]
	var y *variable[T]
	o := &operation[T]{name: name, stops: -1, overwrites: -1}
	o.run = func() {
		for i := range n {
			for ch := range c {
				copy(y.data[(i*c+ch)*plane:][:plane], x.data[(ch*n+i)*plane:])
			}
		}
	}
	o.diff = func(grad *variable[T]) ([]*variable[T], error) {
		var dx *variable[T]
		b := &operation[T]{name: "backward of " + name, stops: -1, overwrites: -1, backward: true}
		b.run = func() {
			for ch := range c {
				for i := range n {
					copy(dx.data[(ch*n+i)*plane:][:plane], grad.data[(i*c+ch)*plane:])
				}
			}
		}
		dx, err := g.add(b, x.shape, grad)
		return []*variable[T]{dx}, err
	}
	y, err := g.add(o, []int{n, c * plane}, x)
	return y, err
}
