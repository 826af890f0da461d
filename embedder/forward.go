package embedder

import (
	"math"

	"imgsearch/internal/kernel"
)

// worker is the memory that one goroutine needs to run a net. It is used by one goroutine at a time.
type worker struct {
	net    *net
	input  []float32   // one image as the net takes it
	images int         // at a time, of which the memory below is large enough
	inputs [][]float32 // of each segment
	free   [][]float32 // buffers for the activations of all segments
	length int         // of such a buffer
}

func newWorker(n *net) *worker {
	return &worker{net: n, input: make([]float32, 3*n.inputPixels), inputs: make([][]float32, len(n.segments))}
}

// reserve gets memory for so many images at a time: a single one takes far less than a block.
func (w *worker) reserve(images int) {
	if images <= w.images {
		return
	}
	w.images, w.free, w.length = images, nil, 0
	for i, s := range w.net.segments {
		n := min(images*s.copies, s.block)
		w.inputs[i] = make([]float32, n*s.inLen)
		w.length = max(w.length, n*s.widest)
	}
}

// block returns the most images that [worker.embed] takes.
func (n *net) block() int { return n.segments[len(n.segments)-1].block }

func (w *worker) get() []float32 {
	if last := len(w.free) - 1; last >= 0 {
		b := w.free[last]
		w.free = w.free[:last]
		return b
	}
	return make([]float32, w.length)
}

func (w *worker) put(b []float32) { w.free = append(w.free, b[:cap(b)]) }

// embed computes the embeddings of count images, at most net.block, into out [count, dim]. input(i) returns image i
// normalised; what it returned is not used any more when it is called again. All kernels compute each image, or row, in
// the same way whatever lies beside it, so an embedding depends on its image alone.
func (w *worker) embed(count int, input func(i int) []float32, out []float32) {
	w.reserve(count)
	w.segment(len(w.net.segments)-1, 0, count, input, out)
}

// segment writes what segments 0 to k make of count activations from the given one on, at most the block of segment k, to
// out. Where a segment has two for each image, the odd ones are those of mirror images.
func (w *worker) segment(k, first, count int, input func(i int) []float32, out []float32) {
	s, x := &w.net.segments[k], w.inputs[k]
	if k == 0 {
		for i := range count {
			at := x[i*s.inLen:][:s.inLen]
			switch row := first + i; {
			case s.copies == 1:
				kernel.Block(1, 3, w.net.inputPixels, input(row), at)
			case row%2 == 0:
				kernel.Block(1, 3, w.net.inputPixels, input(row/2), at)
			default: // the image itself came just before, at this very place where the block is 1
				mirror(at, x[max(i-1, 0)*s.inLen:][:s.inLen], w.net.inputSize)
			}
		}
	} else {
		before := &w.net.segments[k-1]
		copies := s.inLen / before.outLen // 2 where mirror images join
		for from := 0; from < count*copies; from += before.block {
			n := min(before.block, count*copies-from)
			w.segment(k-1, first*copies+from, n, input, x[from*before.outLen:][:n*before.outLen])
		}
	}
	y, owned := w.run(s.ops, x, count, false)
	copy(out, y[:count*s.outLen])
	if owned {
		w.put(y)
	}
}

// run applies ops to x, the activations of n images, and returns where the result is. x is overwritten only where it is
// owned, that is, a buffer of the worker's that nobody else uses; owned tells the same of the result.
func (w *worker) run(ops []op, x []float32, n int, owned bool) (result []float32, resultOwned bool) {
	own := func(size int) {
		if !owned {
			y := w.get()
			copy(y, x[:size])
			x, owned = y, true
		}
	}
	for i := range ops {
		o := &ops[i]
		var y []float32
		switch o.kind {
		// In place:
		case opAffine:
			own(n * o.inLen)
			for i := range n {
				o.affine(x[i*o.inLen:][:o.inLen])
			}
			continue
		case opReLU:
			own(n * o.inLen)
			kernel.ReLU(x[:n*o.inLen], x[:n*o.inLen])
			continue
		case opL2Norm:
			own(n * o.inLen)
			for i := range n {
				l2Normalize(x[i*o.inLen:][:o.inLen])
			}
			continue
		case opResidual:
			y, _ := w.run(o.body, x, n, false) // a body has at least one op, so the result is another buffer
			if o.last != nil {
				own(n * o.inLen)
				o.last.convolve(n, y, x, true, o.relu)
				w.put(y)
				continue
			}
			size := n * o.inLen
			kernel.AddInto(y[:size], y[:size], x[:size], o.relu)
			if owned {
				w.put(x)
			}
			x, owned = y, true
			continue
		// To another buffer:
		case opConv:
			y = w.get()
			o.convolve(n, x, y, false, o.relu)
		case opLinear:
			y = w.get()
			kernel.Gemm(false, true, n, o.outLen, o.inLen, 1, x, o.inLen, o.weight, o.inLen, 0, y, o.outLen)
			for i := range n {
				addRow(y[i*o.outLen:][:o.outLen], o.bias, o.relu)
			}
		case opMirrorMean:
			y = w.get()
			for i := range n {
				own, mirrored := x[i*o.inLen:][:o.outLen], x[i*o.inLen+o.outLen:][:o.outLen]
				for j, v := range own {
					y[i*o.outLen+j] = v/2 + mirrored[j]/2
				}
			}
		case opMaxPool:
			y = w.get()
			for i := range n {
				o.maxPool(x[i*o.inLen:][:o.inLen], y[i*o.outLen:][:o.outLen])
			}
		case opGlobalMean:
			y = w.get()
			for i := range n {
				o.globalMean(x[i*o.inLen:][:o.inLen], y[i*o.outLen:][:o.outLen])
			}
		case opFlatten:
			y = w.get()
			kernel.Unblock(n, o.in.C, o.in.H*o.in.W, x, y)
		}
		if o.relu && (o.kind == opGlobalMean || o.kind == opFlatten) {
			kernel.ReLU(y[:n*o.outLen], y[:n*o.outLen])
		}
		if owned {
			w.put(x)
		}
		x, owned = y, true
	}
	return x, owned
}

// mirror writes a blocked image of so many pixels a row, [H, W, BlockChannels], to dst with left and right exchanged; dst
// may be the image itself.
func mirror(dst, image []float32, width int) {
	const b = kernel.BlockChannels
	for row := 0; row < len(image); row += width * b {
		for left, right := row, row+(width-1)*b; left <= right; left, right = left+b, right-b {
			l, r := [b]float32(image[left:]), [b]float32(image[right:])
			copy(dst[left:], r[:])
			copy(dst[right:], l[:])
		}
	}
}

// convolve writes the convolution of n images to y, or, with add, adds it to what y holds.
func (o *op) convolve(n int, x, y []float32, add, withReLU bool) {
	o.conv.Forward(1, n, x, o.weight, y, kernel.ConvEpilogue{Bias: o.bias, Add: add, ReLU: withReLU})
}

// affine applies scale and shift to each channel of one activation, blocked or flat.
func (o *op) affine(x []float32) {
	if o.in.Flat() {
		shift := o.shift[:len(x)]
		for i, s := range o.scale[:len(x)] {
			x[i] = x[i]*s + shift[i]
		}
		if o.relu {
			kernel.ReLU(x, x)
		}
		return
	}
	const b = kernel.BlockChannels
	size := o.in.H * o.in.W * b
	a := kernel.LaneAffine[float32]{ReLU: o.relu}
	for block := range len(x) / size {
		copy(a.Factor[:], o.scale[block*b:])
		copy(a.Offset[:], o.shift[block*b:])
		part := x[block*size:][:size]
		a.Apply(part, part, nil)
	}
}

// maxPool takes the maximum over the windows of one blocked activation. NaN wins.
func (o *op) maxPool(x, y []float32) {
	p := kernel.MaxPool{H: o.in.H, W: o.in.W, Size: o.layer.Kernel, Stride: o.layer.StrideOrOne(), ReLU: o.relu}
	in, out := o.in.H*o.in.W*kernel.BlockChannels, o.out.H*o.out.W*kernel.BlockChannels
	for block := range len(x) / in {
		kernel.MaxPoolForward(p, x[block*in:][:in], y[block*out:][:out], nil)
	}
}

// globalMean averages each channel of one blocked activation: y is [C].
func (o *op) globalMean(x, y []float32) {
	size := o.in.H * o.in.W * kernel.BlockChannels
	for from := 0; from < o.in.C; from += kernel.BlockChannels {
		kernel.GlobalMean(x[from/kernel.BlockChannels*size:][:size], y[from:min(from+kernel.BlockChannels, o.in.C)])
	}
}

// addRow adds the biases, which may be nil, to the values of a row.
func addRow(x, bias []float32, withReLU bool) {
	if bias != nil {
		kernel.AddInto(x, x, bias, withReLU)
	} else if withReLU {
		kernel.ReLU(x, x)
	}
}

// l2Normalize divides x by its Euclidean length, at least 1e-12.
func l2Normalize(x []float32) {
	var sum float64
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	scale := 1 / max(math.Sqrt(sum), 1e-12)
	for i, v := range x {
		x[i] = float32(float64(v) * scale)
	}
}
