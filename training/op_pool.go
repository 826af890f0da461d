package training

import "imgsearch/internal/kernel"

// addMaxPool adds a maximum over windows of the images x, without padding. The gradient goes to the first one in
// row-major order of those that are largest.
func addMaxPool[T kernel.Float](g *graph[T], name string, x *variable[T], size, stride int) (*variable[T], error) {
	n, blocks, h, w := x.shape[0], x.shape[1], x.shape[2], x.shape[3]
	oh, ow := (h-size)/stride+1, (w-size)/stride+1
	var choice []uint16 // which tap of its window each result is, for the gradient
	if x.needsGradient {
		choice = make([]uint16, n*blocks*oh*ow*lanes)
	}
	var y *variable[T]
	o := &operation[T]{name: name, stops: -1, overwrites: -1}
	// eachWindow calls fn for each window of a plane with the places of its first input and of its result.
	eachWindow := func(plane int, fn func(in, out int)) {
		for oy := range oh {
			for ox := range ow {
				fn((plane*h*w+oy*stride*w+ox*stride)*lanes, ((plane*oh+oy)*ow+ox)*lanes)
			}
		}
	}
	offsets := make([]int, 0, size*size) // of the taps
	for ky := range size {
		for kx := range size {
			offsets = append(offsets, (ky*w+kx)*lanes)
		}
	}
	o.run = func() {
		kernel.Parallel(g.threads, n*blocks, func(plane int) {
			eachWindow(plane, func(in, out int) {
				most := (*[lanes]T)(y.data[out:])
				*most = [lanes]T(x.data[in:])
				if choice == nil {
					for _, offset := range offsets[1:] {
						for l, v := range (*[lanes]T)(x.data[in+offset:]) {
							most[l] = max(most[l], v)
						}
					}
					return
				}
				at := (*[lanes]uint16)(choice[out:])
				*at = [lanes]uint16{}
				for tap, offset := range offsets[1:] {
					for l, v := range (*[lanes]T)(x.data[in+offset:]) {
						above := positive(v - most[l])
						at[l] = at[l]&^uint16(above) | uint16(tap+1)&uint16(above)
						most[l] = max(most[l], v)
					}
				}
			})
		})
	}
	o.diff = func(grad *variable[T]) ([]*variable[T], error) {
		var dx *variable[T]
		b := &operation[T]{name: "backward of " + name, stops: -1, overwrites: -1, backward: true}
		b.run = func() {
			kernel.Parallel(g.threads, n*blocks, func(plane int) {
				clear(dx.data[plane*h*w*lanes:][:h*w*lanes])
				eachWindow(plane, func(in, out int) {
					dy, at := (*[lanes]T)(grad.data[out:]), (*[lanes]uint16)(choice[out:])
					for l, v := range dy {
						dx.data[in+offsets[at[l]]+l] += v
					}
				})
			})
		}
		dx, err := g.add(b, x.shape, grad)
		return []*variable[T]{dx}, err
	}
	y, err := g.add(o, []int{n, blocks, oh, ow, lanes}, x)
	return y, err
}

// addGlobalMean adds the mean over height and width of the images x of so many channels: to [n, channels].
func addGlobalMean[T kernel.Float](g *graph[T], name string, x *variable[T], channels int) (*variable[T], error) {
	n, blocks, plane := x.shape[0], x.shape[1], x.shape[2]*x.shape[3]
	var y *variable[T]
	o := &operation[T]{name: name, stops: -1, overwrites: -1}
	o.run = func() {
		kernel.Parallel(g.threads, n*blocks, func(i int) {
			var sums [lanes]float64
			addLanes(x.data[i*plane*lanes:][:plane*lanes], &sums)
			image, first := i/blocks, i%blocks*lanes
			for l := range min(lanes, channels-first) {
				y.data[image*channels+first+l] = T(sums[l] / float64(plane))
			}
		})
	}
	o.diff = func(grad *variable[T]) ([]*variable[T], error) {
		var dx *variable[T]
		b := &operation[T]{name: "backward of " + name, stops: -1, overwrites: -1, backward: true}
		b.run = func() {
			kernel.Parallel(g.threads, n*blocks, func(i int) {
				var v [lanes]T
				image, first := i/blocks, i%blocks*lanes
				for l := range min(lanes, channels-first) {
					v[l] = grad.data[image*channels+first+l] / T(plane)
				}
				dst := dx.data[i*plane*lanes:][:plane*lanes]
				for ; len(dst) >= lanes; dst = dst[lanes:] {
					*(*[lanes]T)(dst) = v
				}
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
