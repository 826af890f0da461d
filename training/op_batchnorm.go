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
//
// A pass over memory takes the sums of the batch, another one makes the result; backward likewise. Where a convolution
// makes what is summed up, the sums are taken while that is in the cache. What the ReLU let
// through is reckoned anew from x, so neither z nor y needs to be kept.
type batchNorm[T kernel.Float] struct {
	graph                   *graph[T]
	x, y                    *variable[T]
	grad, dx                *variable[T]
	scale, shift            *parameter[T]
	runningMean, runningVar *parameter[T]
	fixed                   bool
	residual                *residual[T] // whose input is added to the result; may be nil
	channels, count         int          // count is the number of values of a channel

	mean, inverse []float64              // by channel
	affine        []kernel.LaneAffine[T] // by block: z = x*Factor + Offset
	moments       *laneSums[T]
	// collects and collectsGradient tell that the sums are taken as soon as the images, or the gradients, are made.
	collects, collectsGradient bool
	// [n, f] is worked on as one image of n pixels, which is laid out here, and its gradient there.
	columns, columnsGrad []T
}

// streamLen is the number of values from which on a result is not expected to stay in the caches.
const streamLen = 1 << 22

// addBatchNorm adds a batch normalisation, with ReLU where asked for. Where it ends a residual layer, r not being nil, the
// layer's input is added to what comes out.
func addBatchNorm[T kernel.Float](g *graph[T], name string, x *variable[T], scale, shift, runningMean, runningVar *parameter[T], fixed, relu bool, r *residual[T]) (*variable[T], error) {
	b := &batchNorm[T]{
		graph: g, x: x, scale: scale, shift: shift, runningMean: runningMean, runningVar: runningVar,
		fixed: fixed, channels: scale.len(), residual: r,
	}
	blocks := kernel.Blocks(b.channels)
	if b.images() {
		b.moments = newLaneSums[T](g, x, 2)
	} else {
		b.moments = newLaneSums[T](g, &variable[T]{shape: []int{1, blocks, x.shape[0], 1, lanes}}, 2)
		b.columns, b.columnsGrad = make([]T, blocks*b.moments.area), make([]T, blocks*b.moments.area)
	}
	b.count = b.moments.images * b.moments.area / lanes
	b.mean, b.inverse = make([]float64, b.channels), make([]float64, b.channels)
	b.affine = make([]kernel.LaneAffine[T], blocks)
	for i := range b.affine {
		b.affine[i].ReLU, b.affine[i].Stream = relu, x.len() >= streamLen
	}
	o := &operation[T]{name: name, run: b.forward, diff: b.differentiate, stops: -1, overwrites: -1}
	args := []*variable[T]{x, scale.variable, shift.variable}
	if r != nil {
		o.stops, args = len(args), append(args, r.input)
	}
	y, err := g.add(o, x.shape, args...)
	b.y = y
	b.collects = b.listen(x, func(first, end int) { b.collect(x.data, first, end) })
	return y, err
}

// images reports whether the input is images.
func (b *batchNorm[T]) images() bool { return len(b.x.shape) > 2 }

// setAffine derives factor and offset of a channel from its mean and variance.
func (b *batchNorm[T]) setAffine(c int, mean, variance float64) {
	b.mean[c], b.inverse[c] = mean, 1/math.Sqrt(variance+embedder.BatchNormEpsilon)
	factor := float64(b.scale.data[c]) * b.inverse[c]
	a, l := &b.affine[c/lanes], c%lanes
	a.Factor[l], a.Center[l] = T(factor), T(mean)
	a.Offset[l] = T(float64(b.shift.data[c]) - mean*factor)
}

// setStatistics takes the batch's mean and sum of squared deviations of a channel.
func (b *batchNorm[T]) setStatistics(c int, mean, squares float64) {
	b.setAffine(c, mean, squares/float64(b.count))
	if b.graph.guest {
		return
	}
	b.runningMean.data[c] += T(batchNormMomentum * (mean - float64(b.runningMean.data[c])))
	b.runningVar.data[c] += T(batchNormMomentum * (squares/float64(b.count-1) - float64(b.runningVar.data[c])))
}

func (b *batchNorm[T]) forward() {
	x, y := b.x.data, b.y.data
	var skip []T
	if b.residual != nil {
		skip = b.residual.input.data
	}
	if !b.images() {
		packColumns(b.columns, x, b.channels)
		x, y = b.columns, b.columnsGrad
		if skip != nil {
			packColumns(y, skip, b.channels)
			skip = y
		}
	}
	if b.fixed {
		for c := range b.channels {
			b.setAffine(c, float64(b.runningMean.data[c]), float64(b.runningVar.data[c]))
		}
	} else {
		if !b.collects {
			b.collect(x, 0, b.moments.groups)
		}
		for c := range b.channels {
			first, n := float64(b.affine[c/lanes].Center[c%lanes]), float64(b.count)
			sum, squares := b.moments.total(0, c), b.moments.total(1, c)
			b.setStatistics(c, first+sum/n, max(squares-sum*sum/n, 0))
		}
	}
	b.moments.each(func(from, to int) {
		if skip == nil {
			b.at(from).Apply(y[from:to], x[from:to], nil)
		} else {
			b.at(from).Apply(y[from:to], x[from:to], skip[from:to])
		}
	})
	if !b.images() {
		unpackColumns(b.y.data, y, b.channels)
	}
}

// collect sums up the groups [first, end) of x. The first group must come first.
func (b *batchNorm[T]) collect(x []T, first, end int) {
	if first == 0 {
		// Values are taken relative to the channel's first one, which is about as large as its mean.
		for i := range b.affine {
			b.affine[i].Center = [lanes]T(x[i*b.moments.area:])
		}
	}
	b.moments.runGroups(first, end, func(from, to int, sums [][lanes]float64) {
		kernel.LaneMoments(x[from:to], &b.at(from).Center, (*[2][lanes]float64)(sums))
	})
}

// collectGradient sums up the groups [first, end) of dy.
func (b *batchNorm[T]) collectGradient(x, dy []T, first, end int) {
	b.moments.runGroups(first, end, func(from, to int, sums [][lanes]float64) {
		b.at(from).GradientMoments(x[from:to], dy[from:to], (*[2][lanes]float64)(sums))
	})
}

// listen has the operation that makes images call fn with their groups, and tells whether it does.
func (b *batchNorm[T]) listen(images *variable[T], fn func(first, end int)) bool {
	if !b.images() || b.fixed || images.by == nil || !images.by.grouped || images.by.onImages != nil {
		return false
	}
	images.by.onImages = fn
	return true
}

// at returns the map of the block of channels that the image value at from belongs to.
func (b *batchNorm[T]) at(from int) *kernel.LaneAffine[T] {
	return &b.affine[from/b.moments.area%b.moments.blocks]
}

func (b *batchNorm[T]) differentiate(grad *variable[T]) ([]*variable[T], error) {
	b.grad = grad
	b.collectsGradient = b.listen(grad, func(first, end int) { b.collectGradient(b.x.data, grad.data, first, end) })
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
	gradients, err := parameterGradients(b.graph, dx, b.x, b.scale, b.shift)
	if b.residual != nil {
		b.residual.skipGrad = grad
		gradients = append(gradients, nil)
	}
	return gradients, err
}

// setGradients takes the sums over a channel of dz, the gradient before the ReLU, and of dz*(x-center).
func (b *batchNorm[T]) setGradients(c int, sumDZ, sumDZX float64) {
	a, l := &b.affine[c/lanes], c%lanes
	sumDZX += sumDZ * (float64(a.Center[l]) - b.mean[c])
	scale := sumDZX * b.inverse[c]
	if b.scale.trainable {
		b.scale.gradient[c], b.shift.gradient[c] = T(scale), T(sumDZ)
	}
	if !b.fixed {
		factor, n := float64(a.Factor[l]), float64(b.count)
		slope := -factor * b.inverse[c] * scale / n
		a.Slope[l], a.Constant[l] = T(slope), T(-factor*sumDZ/n-slope*b.mean[c])
	}
}

func (b *batchNorm[T]) backward() {
	x, dy, dx := b.x.data, b.grad.data, b.dx.data
	if !b.images() {
		packColumns(b.columnsGrad, dy, b.channels)
		x, dy, dx = b.columns, b.columnsGrad, b.columnsGrad
	}
	if !b.fixed || b.scale.trainable {
		if !b.collectsGradient {
			b.collectGradient(x, dy, 0, b.moments.groups)
		}
		for c := range b.channels {
			b.setGradients(c, b.moments.total(0, c), b.moments.total(1, c))
		}
	}
	if !b.x.needsGradient {
		return
	}
	b.moments.each(func(from, to int) { b.at(from).Gradient(dx[from:to], dy[from:to], x[from:to]) })
	if !b.images() {
		unpackColumns(b.dx.data, dx, b.channels)
	}
}
