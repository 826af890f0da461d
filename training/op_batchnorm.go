package training

import (
	"math"

	"imgsearch/embedder"
	"imgsearch/internal/kernel"
)

// batchNormMomentum is the share of a batch's statistics in the running ones.
const batchNormMomentum = 0.1

// batchNorm normalises each channel of images, or each column of [n, f], with the mean and the (biased) variance of the
// batch, then scales and shifts it, then applies ReLU where asked for (Ioffe and Szegedy 2015, arXiv 1502.03167). The
// running statistics follow those of the batches, the variance unbiased as PyTorch has it. With fixed set, the running
// statistics are used instead and stay as they are.
type batchNorm[T kernel.Float] struct {
	graph                   *graph[T]
	x, y                    *variable[T]
	grad, dx                *variable[T]
	scale, shift            *parameter[T]
	runningMean, runningVar *parameter[T]
	fixed, relu             bool
	channels, count         int // count is the number of values of a channel

	// By channel, padded to whole blocks with zeros.
	mean, inverse   []float64
	factor, offset  []T // z = x*factor + offset
	center          []T // mean in T
	slope, constant []T // dx = dz*factor + x*slope + constant
	moments         *laneSums[T]
}

// addBatchNorm adds a batch normalisation, with ReLU where asked for.
func addBatchNorm[T kernel.Float](g *graph[T], name string, x *variable[T], scale, shift, runningMean, runningVar *parameter[T], fixed, relu bool) (*variable[T], error) {
	b := &batchNorm[T]{
		graph: g, x: x, scale: scale, shift: shift, runningMean: runningMean, runningVar: runningVar,
		fixed: fixed, relu: relu, channels: scale.len(), count: x.shape[0],
	}
	if b.images() {
		b.count *= x.shape[2] * x.shape[3]
		b.moments = newLaneSums[T](g, x, 2)
	}
	padded := kernel.Blocks(b.channels) * lanes
	b.mean, b.inverse = make([]float64, padded), make([]float64, padded)
	for _, s := range []*[]T{&b.factor, &b.offset, &b.center, &b.slope, &b.constant} {
		*s = make([]T, padded)
	}
	o := &operation[T]{name: name, run: b.forward, diff: b.differentiate, stops: -1, overwrites: -1}
	y, err := g.add(o, x.shape, x, scale.variable, shift.variable)
	b.y = y
	return y, err
}

// images reports whether the input is images.
func (b *batchNorm[T]) images() bool { return len(b.x.shape) > 2 }

// setAffine derives factor and offset of a channel from its mean and variance.
func (b *batchNorm[T]) setAffine(c int, mean, variance float64) {
	b.mean[c], b.inverse[c] = mean, 1/math.Sqrt(variance+embedder.BatchNormEpsilon)
	factor := float64(b.scale.data[c]) * b.inverse[c]
	b.factor[c], b.center[c] = T(factor), T(mean)
	b.offset[c] = T(float64(b.shift.data[c]) - mean*factor)
}

// setStatistics takes the batch's mean and sum of squared deviations of a channel.
func (b *batchNorm[T]) setStatistics(c int, mean, squares float64) {
	b.setAffine(c, mean, squares/float64(b.count))
	b.runningMean.data[c] += T(batchNormMomentum * (mean - float64(b.runningMean.data[c])))
	b.runningVar.data[c] += T(batchNormMomentum * (squares/float64(b.count-1) - float64(b.runningVar.data[c])))
}

func (b *batchNorm[T]) forward() {
	switch {
	case b.fixed:
		for c := range b.channels {
			b.setAffine(c, float64(b.runningMean.data[c]), float64(b.runningVar.data[c]))
		}
	case b.images():
		// Values are taken relative to the channel's first one, which is about as large as its mean.
		for c := range b.channels {
			b.center[c] = b.x.data[(c/lanes)*b.moments.area+c%lanes]
		}
		b.moments.run(func(from, to int, sums [][lanes]float64) {
			center := b.lane(b.center, from)
			eachPiece(to-from, func(p, q int) {
				for l := 0; l < lanes; l += 4 {
					addMoments(b.x.data[from+p:from+q], l, (*[4]T)(center[l:]), &sums[0], &sums[1])
				}
			})
		})
		for c := range b.channels {
			first, n := float64(b.center[c]), float64(b.count)
			sum, squares := b.moments.total(0, c), b.moments.total(1, c)
			b.setStatistics(c, first+sum/n, max(squares-sum*sum/n, 0))
		}
	default:
		b.columnStatistics()
	}
	if !b.images() {
		f := b.channels
		for i := range b.count {
			scaleShift(b.y.data[i*f:][:f], b.x.data[i*f:][:f], b.factor, b.offset, b.relu)
		}
		return
	}
	b.eachBlockPiece(func(from, to int) {
		factor, offset := b.lane(b.factor, from), b.lane(b.offset, from)
		for l := 0; l < lanes; l += 4 {
			scaleShiftLanes(b.y.data[from:to], b.x.data[from:to], l, (*[4]T)(factor[l:]), (*[4]T)(offset[l:]), b.relu)
		}
	})
}

// eachBlockPiece calls fn on many threads for the pieces of each block of each image.
func (b *batchNorm[T]) eachBlockPiece(fn func(from, to int)) {
	area := b.moments.area
	kernel.Parallel(b.graph.threads, b.moments.images*b.moments.blocks, func(i int) {
		eachPiece(area, func(from, to int) { fn(i*area+from, i*area+to) })
	})
}

// lane returns what x holds for the block of channels that the image value at from belongs to.
func (b *batchNorm[T]) lane(x []T, from int) *[lanes]T {
	return (*[lanes]T)(x[(from/b.moments.area)%b.moments.blocks*lanes:])
}

// addMoments adds the sums of x-center and of its square over four lanes of a piece.
func addMoments[T kernel.Float](x []T, lane int, center *[4]T, sums, squares *[lanes]float64) {
	c0, c1, c2, c3 := center[0], center[1], center[2], center[3]
	var s0, s1, s2, s3, q0, q1, q2, q3 T
	for o := lane; o < len(x); o += lanes {
		v := (*[4]T)(x[o:])
		d0, d1, d2, d3 := v[0]-c0, v[1]-c1, v[2]-c2, v[3]-c3
		s0 += d0
		s1 += d1
		s2 += d2
		s3 += d3
		q0 += d0 * d0
		q1 += d1 * d1
		q2 += d2 * d2
		q3 += d3 * d3
	}
	s, q := (*[4]float64)(sums[lane:]), (*[4]float64)(squares[lane:])
	s[0] += float64(s0)
	s[1] += float64(s1)
	s[2] += float64(s2)
	s[3] += float64(s3)
	q[0] += float64(q0)
	q[1] += float64(q1)
	q[2] += float64(q2)
	q[3] += float64(q3)
}

// columnStatistics takes the statistics of [n, f].
func (b *batchNorm[T]) columnStatistics() {
	f := b.channels
	mean, squares := make([]float64, f), make([]float64, f)
	for i := range b.count {
		for c, v := range b.x.data[i*f:][:f] {
			mean[c] += float64(v)
		}
	}
	for c := range mean {
		mean[c] /= float64(b.count)
	}
	for i := range b.count {
		for c, v := range b.x.data[i*f:][:f] {
			d := float64(v) - mean[c]
			squares[c] += d * d
		}
	}
	for c := range mean {
		b.setStatistics(c, mean[c], squares[c])
	}
}

// scaleShift sets y to x*factor + offset, rounded in between, or to the maximum of that and 0.
func scaleShift[T kernel.Float](y, x, factor, offset []T, relu bool) {
	for i, v := range x {
		z := T(v*factor[i]) + offset[i]
		if relu {
			z = max(z, 0)
		}
		y[i] = z
	}
}

// scaleShiftLanes is scaleShift for four lanes of a piece.
func scaleShiftLanes[T kernel.Float](y, x []T, lane int, factor, offset *[4]T, relu bool) {
	f0, f1, f2, f3 := factor[0], factor[1], factor[2], factor[3]
	c0, c1, c2, c3 := offset[0], offset[1], offset[2], offset[3]
	y = y[:len(x)]
	if !relu {
		for o := lane; o < len(x); o += lanes {
			in, out := (*[4]T)(x[o:]), (*[4]T)(y[o:])
			out[0], out[1], out[2], out[3] = T(in[0]*f0)+c0, T(in[1]*f1)+c1, T(in[2]*f2)+c2, T(in[3]*f3)+c3
		}
		return
	}
	for o := lane; o < len(x); o += lanes {
		in, out := (*[4]T)(x[o:]), (*[4]T)(y[o:])
		z0, z1, z2, z3 := T(in[0]*f0)+c0, T(in[1]*f1)+c1, T(in[2]*f2)+c2, T(in[3]*f3)+c3
		out[0], out[1], out[2], out[3] = max(z0, 0), max(z1, 0), max(z2, 0), max(z3, 0)
	}
}

func (b *batchNorm[T]) differentiate(grad *variable[T]) ([]*variable[T], error) {
	b.grad = grad
	shape := b.x.shape
	if !b.x.needsGradient {
		shape = []int{1}
	}
	o := &operation[T]{name: "backward of " + b.y.name, run: b.backward, stops: -1, overwrites: 0, backward: true}
	dx, err := b.graph.add(o, shape, grad, b.x, b.scale.variable)
	if err != nil {
		return nil, err
	}
	b.dx = dx
	return parameterGradients(b.graph, dx, b.x, b.scale, b.shift)
}

// setGradients takes the sums over a channel of dz, the gradient before the ReLU, and of dz*(x-center).
func (b *batchNorm[T]) setGradients(c int, sumDZ, sumDZX float64) {
	sumDZX += sumDZ * (float64(b.center[c]) - b.mean[c])
	scale := sumDZX * b.inverse[c]
	if b.scale.trainable {
		b.scale.gradient[c], b.shift.gradient[c] = T(scale), T(sumDZ)
	}
	if !b.fixed {
		factor, n := float64(b.factor[c]), float64(b.count)
		slope := -factor * b.inverse[c] * scale / n
		b.slope[c], b.constant[c] = T(slope), T(-factor*sumDZ/n-slope*b.mean[c])
	}
}

func (b *batchNorm[T]) backward() {
	if b.images() {
		b.moments.run(func(from, to int, sums [][lanes]float64) {
			x, dy := b.x.data[from:to], b.grad.data[from:to]
			factor, offset, center := b.lane(b.factor, from), b.lane(b.offset, from), b.lane(b.center, from)
			eachPiece(len(x), func(p, q int) {
				for l := 0; l < lanes; l += 4 {
					addGradientMoments(x[p:q], dy[p:q], l, factor, offset, center, b.relu, &sums[0], &sums[1])
				}
			})
		})
		for c := range b.channels {
			b.setGradients(c, b.moments.total(0, c), b.moments.total(1, c))
		}
	} else {
		f := b.channels
		for c := range f {
			var sumDZ, sumDZX float64
			for i := range b.count {
				v, d := b.x.data[i*f+c], b.grad.data[i*f+c]
				if b.relu && !(T(v*b.factor[c])+b.offset[c] > 0) {
					d = 0
				}
				sumDZ += float64(d)
				sumDZX += float64(d) * (float64(v) - float64(b.center[c]))
			}
			b.setGradients(c, sumDZ, sumDZX)
		}
	}
	if !b.x.needsGradient {
		return
	}
	if !b.images() {
		f := b.channels
		for i := range b.count {
			for c, v := range b.x.data[i*f:][:f] {
				d := b.grad.data[i*f+c]
				if b.relu {
					d = whereAbove(T(v*b.factor[c])+b.offset[c], d)
				}
				b.dx.data[i*f+c] = d*b.factor[c] + v*b.slope[c] + b.constant[c]
			}
		}
		return
	}
	b.eachBlockPiece(func(from, to int) {
		factor, offset := b.lane(b.factor, from), b.lane(b.offset, from)
		slope, constant := b.lane(b.slope, from), b.lane(b.constant, from)
		for l := 0; l < lanes; l += 2 {
			gradientLanes(b.dx.data[from:to], b.grad.data[from:to], b.x.data[from:to], l, factor, offset, slope, constant, b.relu)
		}
	})
}

// addGradientMoments adds the sums of dz and of dz*(x-center) over four lanes of a piece, dz being the gradient before
// the ReLU.
func addGradientMoments[T kernel.Float](x, dy []T, lane int, factor, offset, center *[lanes]T, relu bool, sums, products *[lanes]float64) {
	c := (*[4]T)(center[lane:])
	c0, c1, c2, c3 := c[0], c[1], c[2], c[3]
	f, z := (*[4]T)(factor[lane:]), (*[4]T)(offset[lane:])
	if !relu { // everything passes
		f, z = &[4]T{}, &[4]T{1, 1, 1, 1}
	}
	var s0, s1, s2, s3, q0, q1, q2, q3 T
	for o := lane; o < len(x); o += lanes {
		v, d := (*[4]T)(x[o:]), (*[4]T)(dy[o:])
		d0 := whereAbove(T(v[0]*f[0])+z[0], d[0])
		d1 := whereAbove(T(v[1]*f[1])+z[1], d[1])
		d2 := whereAbove(T(v[2]*f[2])+z[2], d[2])
		d3 := whereAbove(T(v[3]*f[3])+z[3], d[3])
		s0 += d0
		s1 += d1
		s2 += d2
		s3 += d3
		q0 += d0 * (v[0] - c0)
		q1 += d1 * (v[1] - c1)
		q2 += d2 * (v[2] - c2)
		q3 += d3 * (v[3] - c3)
	}
	s, q := (*[4]float64)(sums[lane:]), (*[4]float64)(products[lane:])
	s[0] += float64(s0)
	s[1] += float64(s1)
	s[2] += float64(s2)
	s[3] += float64(s3)
	q[0] += float64(q0)
	q[1] += float64(q1)
	q[2] += float64(q2)
	q[3] += float64(q3)
}

// gradientLanes sets dx, which may be dy, for two lanes of a piece.
func gradientLanes[T kernel.Float](dx, dy, x []T, lane int, factor, offset, slope, constant *[lanes]T, relu bool) {
	f0, f1, s0, s1, c0, c1 := factor[lane], factor[lane+1], slope[lane], slope[lane+1], constant[lane], constant[lane+1]
	dx, dy = dx[:len(x)], dy[:len(x)]
	if !relu {
		for o := lane; o < len(x); o += lanes {
			v, d, out := (*[2]T)(x[o:]), (*[2]T)(dy[o:]), (*[2]T)(dx[o:])
			out[0], out[1] = d[0]*f0+v[0]*s0+c0, d[1]*f1+v[1]*s1+c1
		}
		return
	}
	z0, z1 := offset[lane], offset[lane+1]
	for o := lane; o < len(x); o += lanes {
		v, d, out := (*[2]T)(x[o:]), (*[2]T)(dy[o:]), (*[2]T)(dx[o:])
		d0, d1 := whereAbove(T(v[0]*f0)+z0, d[0]), whereAbove(T(v[1]*f1)+z1, d[1])
		out[0], out[1] = d0*f0+v[0]*s0+c0, d1*f1+v[1]*s1+c1
	}
}
