package training

import (
	"math"

	"imgsearch/embedder"
	"imgsearch/internal/kernel"
)

// batchNormMomentum is the share of a batch's statistics in the running ones.
const batchNormMomentum = 0.1

// batchNormPiece is the number of values whose sums are taken in T; the sums of pieces are added up in float64.
const batchNormPiece = 1024

// batchNorm normalises each channel of [c, n, h, w], or each column of [n, f], with the mean and the (biased) variance
// of the batch, then scales and shifts it, then applies ReLU where asked for (Ioffe and Szegedy 2015, arXiv 1502.03167).
// The running statistics follow those of the batches, the variance unbiased as PyTorch has it. With fixed set, the
// running statistics are used instead and stay as they are.
type batchNorm[T kernel.Float] struct {
	graph                    *graph[T]
	x, y                     *variable[T]
	grad, dx                 *variable[T]
	scale, shift             *parameter[T]
	runningMean, runningVar  *parameter[T]
	fixed, relu              bool
	channels, count          int // count is the number of values of a channel
	mean, inverse            []float64
	factor, offset           []T // z = x*factor + offset
	gradientScale, gradShift []float64
	scratch                  [][]T // of each thread
}

// addBatchNorm adds a batch normalisation, with ReLU where asked for.
func addBatchNorm[T kernel.Float](g *graph[T], name string, x *variable[T], scale, shift, runningMean, runningVar *parameter[T], fixed, relu bool) (*variable[T], error) {
	b := &batchNorm[T]{
		graph: g, x: x, scale: scale, shift: shift, runningMean: runningMean, runningVar: runningVar,
		fixed: fixed, relu: relu, channels: scale.len(), count: x.len() / scale.len(),
	}
	b.mean, b.inverse = make([]float64, b.channels), make([]float64, b.channels)
	b.factor, b.offset = make([]T, b.channels), make([]T, b.channels)
	b.gradientScale, b.gradShift = make([]float64, b.channels), make([]float64, b.channels)
	b.scratch = make([][]T, g.threads)
	for i := range b.scratch {
		b.scratch[i] = make([]T, 3*batchNormPiece)
	}
	o := &operation[T]{name: name, run: b.forward, diff: b.differentiate, stops: -1, overwrites: -1}
	y, err := g.add(o, x.shape, x, scale.variable, shift.variable)
	b.y = y
	return y, err
}

// planar reports whether a channel is one row of memory.
func (b *batchNorm[T]) planar() bool { return len(b.x.shape) == 4 }

// setAffine derives factor and offset of a channel from its mean and variance.
func (b *batchNorm[T]) setAffine(c int, mean, variance float64) {
	b.mean[c], b.inverse[c] = mean, 1/math.Sqrt(variance+embedder.BatchNormEpsilon)
	factor := float64(b.scale.data[c]) * b.inverse[c]
	b.factor[c] = T(factor)
	b.offset[c] = T(float64(b.shift.data[c]) - mean*factor)
}

// setStatistics takes the batch's mean and sum of squared deviations of a channel.
func (b *batchNorm[T]) setStatistics(c int, mean, squares float64) {
	b.setAffine(c, mean, squares/float64(b.count))
	b.runningMean.data[c] += T(batchNormMomentum * (mean - float64(b.runningMean.data[c])))
	b.runningVar.data[c] += T(batchNormMomentum * (squares/float64(b.count-1) - float64(b.runningVar.data[c])))
}

func (b *batchNorm[T]) forward() {
	if b.fixed {
		for c := range b.channels {
			b.setAffine(c, float64(b.runningMean.data[c]), float64(b.runningVar.data[c]))
		}
	}
	if !b.planar() {
		b.forwardColumns()
		return
	}
	kernel.ParallelRanges(b.graph.threads, b.channels, func(worker, from, to int) {
		for c := from; c < to; c++ {
			x := b.x.data[c*b.count:][:b.count]
			if !b.fixed {
				var total float64
				for i := 0; i < len(x); i += batchNormPiece {
					total += float64(kernel.Sum(x[i:min(i+batchNormPiece, len(x))]))
				}
				mean := total / float64(len(x))
				b.setStatistics(c, mean, squaredDeviations(x, T(mean), b.scratch[worker][:batchNormPiece]))
			}
			scaleShift(b.y.data[c*b.count:][:b.count], x, b.factor[c], b.offset[c], b.relu)
		}
	})
}

// squaredDeviations returns the sum of (x-mean)^2. It overwrites scratch.
func squaredDeviations[T kernel.Float](x []T, mean T, scratch []T) float64 {
	fill(scratch, mean)
	var total float64
	for len(x) > 0 {
		n := min(len(scratch), len(x))
		total += float64(squaredL2(x[:n], scratch[:n]))
		x = x[n:]
	}
	return total
}

// scaleShift sets y to x*factor + offset, rounded in between, or to the maximum of that and 0.
func scaleShift[T kernel.Float](y, x []T, factor, offset T, relu bool) {
	y = y[:len(x)]
	if relu {
		for i, v := range x {
			y[i] = max(T(v*factor)+offset, 0)
		}
		return
	}
	for i, v := range x {
		y[i] = T(v*factor) + offset
	}
}

// forwardColumns is forward for [n, f].
func (b *batchNorm[T]) forwardColumns() {
	f, n := b.channels, b.count
	x, y := b.x.data, b.y.data
	if !b.fixed {
		mean, squares := b.mean, b.inverse
		clear(mean)
		for i := range n {
			for c, v := range x[i*f:][:f] {
				mean[c] += float64(v)
			}
		}
		for c := range mean {
			mean[c] /= float64(n)
		}
		clear(squares)
		for i := range n {
			for c, v := range x[i*f:][:f] {
				d := float64(v) - mean[c]
				squares[c] += d * d
			}
		}
		for c := range mean {
			b.setStatistics(c, mean[c], squares[c])
		}
	}
	for i := range n {
		out := y[i*f:][:f]
		for c, v := range x[i*f:][:f] {
			z := T(v*b.factor[c]) + b.offset[c]
			if b.relu {
				z = max(z, 0)
			}
			out[c] = z
		}
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

// coefficients returns what makes the gradient with respect to x of a channel: dz*factor + x*slope + constant, given
// the sums of dz and of dz*(x-mean). It sets the gradients of scale and shift.
func (b *batchNorm[T]) coefficients(c int, sumDZ, sumDZX float64) (slope, constant T) {
	b.gradientScale[c], b.gradShift[c] = sumDZX*b.inverse[c], sumDZ
	if b.scale.trainable {
		b.scale.gradient[c] = T(b.gradientScale[c])
		b.shift.gradient[c] = T(b.gradShift[c])
	}
	if b.fixed {
		return 0, 0
	}
	factor, n := float64(b.factor[c]), float64(b.count)
	s := -factor * b.inverse[c] * b.gradientScale[c] / n
	return T(s), T(-factor*b.gradShift[c]/n - s*b.mean[c])
}

func (b *batchNorm[T]) backward() {
	if !b.planar() {
		b.backwardColumns()
		return
	}
	kernel.ParallelRanges(b.graph.threads, b.channels, func(worker, from, to int) {
		scratch := b.scratch[worker]
		buffer, constants, spare := scratch[:batchNormPiece], scratch[batchNormPiece:2*batchNormPiece], scratch[2*batchNormPiece:]
		for c := from; c < to; c++ {
			x, dy := b.x.data[c*b.count:][:b.count], b.grad.data[c*b.count:][:b.count]
			var dz []T
			if b.x.needsGradient {
				dz = b.dx.data[c*b.count:][:b.count] // may be dy
			}
			mean := T(b.mean[c])
			fill(constants, mean)
			var sumDZ, sumDZX float64
			for i := 0; i < len(x); i += batchNormPiece {
				end := min(i+batchNormPiece, len(x))
				piece, deviation := spare[:end-i], buffer[:end-i]
				if b.x.needsGradient {
					piece = dz[i:end]
				}
				if b.relu {
					b.mask(c, piece, dy[i:end], x[i:end])
				} else {
					copy(piece, dy[i:end])
				}
				copy(deviation, x[i:end])
				kernel.Axpy(-1, constants[:end-i], deviation)
				sumDZ += float64(kernel.Sum(piece))
				sumDZX += float64(dot(piece, deviation))
			}
			sumDZX += sumDZ * (float64(mean) - b.mean[c])
			slope, constant := b.coefficients(c, sumDZ, sumDZX)
			if !b.x.needsGradient {
				continue
			}
			fill(constants, constant)
			for i := 0; i < len(x); i += batchNormPiece {
				end := min(i+batchNormPiece, len(x))
				kernel.Scale(b.factor[c], dz[i:end])
				if !b.fixed {
					kernel.Axpy(slope, x[i:end], dz[i:end])
					kernel.Add(constants[:end-i], dz[i:end])
				}
			}
		}
	})
}

func fill[T kernel.Float](x []T, v T) {
	for i := range x {
		x[i] = v
	}
}

// mask sets dz to the gradient before the ReLU. It finds the sign of the ReLU's input by the arithmetic of scaleShift.
func (b *batchNorm[T]) mask(c int, dz, dy, x []T) {
	factor, offset := b.factor[c], b.offset[c]
	dz, dy = dz[:len(x)], dy[:len(x)]
	if x32, ok := any(x).([]float32); ok {
		dz32, dy32 := any(dz).([]float32)[:len(x32)], any(dy).([]float32)[:len(x32)]
		f, o := float32(factor), float32(offset)
		for i, v := range x32 {
			dz32[i] = whereAbove(float32(v*f)+o, dy32[i])
		}
		return
	}
	for i, v := range x {
		d := dy[i]
		if !(T(v*factor)+offset > 0) {
			d = 0
		}
		dz[i] = d
	}
}

// backwardColumns is backward for [n, f].
func (b *batchNorm[T]) backwardColumns() {
	f, n := b.channels, b.count
	for c := range f {
		var sumDZ, sumDZX float64
		for i := range n {
			v, d := b.x.data[i*f+c], b.grad.data[i*f+c]
			if b.relu && !(T(v*b.factor[c])+b.offset[c] > 0) {
				d = 0
			}
			sumDZ += float64(d)
			sumDZX += float64(d) * (float64(v) - b.mean[c])
		}
		slope, constant := b.coefficients(c, sumDZ, sumDZX)
		if !b.x.needsGradient {
			continue
		}
		for i := range n {
			v, d := b.x.data[i*f+c], b.grad.data[i*f+c]
			if b.relu && !(T(v*b.factor[c])+b.offset[c] > 0) {
				d = 0
			}
			b.dx.data[i*f+c] = d*b.factor[c] + v*slope + constant
		}
	}
}

// squaredL2 and dot run in the vector units where T is float32.

func squaredL2[T kernel.Float](a, b []T) T {
	if a32, ok := any(a).([]float32); ok {
		return T(kernel.SquaredL2(a32, any(b).([]float32)))
	}
	var total T
	for i, v := range a {
		d := v - b[i]
		total += d * d
	}
	return total
}

func dot[T kernel.Float](a, b []T) T {
	if a32, ok := any(a).([]float32); ok {
		return T(kernel.Dot(a32, any(b).([]float32)))
	}
	var total T
	for i, v := range a {
		total += v * b[i]
	}
	return total
}
