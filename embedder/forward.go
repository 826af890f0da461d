package embedder

import (
	"math"

	"imgsearch/internal/kernel"
)

// worker is the memory that one goroutine needs to run a net. It is used by one goroutine at a time.
type worker struct {
	net     *net
	input   []float32   // one image
	columns []float32   // unrolled input of a convolution
	rows    []float32   // what the spatial part makes of a block of images
	free    [][]float32 // buffers of net.bufferLen values
}

func newWorker(n *net) *worker {
	return &worker{
		net:     n,
		input:   make([]float32, n.inputLen),
		columns: make([]float32, n.columnLen),
		rows:    make([]float32, n.block*n.flatLen),
	}
}

func (w *worker) get() []float32 {
	if last := len(w.free) - 1; last >= 0 {
		b := w.free[last]
		w.free = w.free[:last]
		return b
	}
	return make([]float32, w.net.bufferLen)
}

func (w *worker) put(b []float32) { w.free = append(w.free, b[:w.net.bufferLen]) }

// embed computes the embeddings of count images, at most net.block, into out [count, dim]. input(i) returns the
// normalised image i; what it returned is not used any more when it is called again. The spatial part sees one image at
// a time, and a row of a matrix product does not depend on the other rows, so an embedding depends on its image alone.
func (w *worker) embed(count int, input func(i int) []float32, out []float32) {
	n := w.net
	for i := range count {
		x, owned := w.run(n.spatial, input(i), 1, false)
		copy(w.rows[i*n.flatLen:], x[:n.flatLen])
		if owned {
			w.put(x)
		}
	}
	x, owned := w.run(n.flat, w.rows, count, false)
	copy(out, x[:count*n.dim])
	if owned {
		w.put(x)
	}
}

// run applies ops to x, which holds rows activations, and returns where the result is. x is overwritten only where it
// is owned, that is, a buffer of the worker's that nobody else uses; owned tells the same of the result.
func (w *worker) run(ops []op, x []float32, rows int, owned bool) (result []float32, resultOwned bool) {
	for i := range ops {
		o := &ops[i]
		var y []float32
		switch o.kind {
		case opAffine, opReLU, opL2Norm: // in place
			if y = x; !owned {
				y = w.get()
				copy(y, x[:rows*o.in.Len()])
			}
			for r := range rows {
				row := y[r*o.in.Len():][:o.in.Len()]
				switch o.kind {
				case opAffine:
					affine(row, o.scale, o.shift, o.relu)
				case opReLU:
					relu(row)
				case opL2Norm:
					l2Normalize(row)
				}
			}
			x, owned = y, true
			continue
		case opResidual:
			var bodyOwned bool
			if y, bodyOwned = w.run(o.body, x, rows, false); !bodyOwned {
				// Only a body that does nothing, a flatten of what is flat, would leave x itself, and none is valid.
				panic("embedder: residual body without effect")
			}
			if n := rows * o.in.Len(); o.relu {
				addReLU(y[:n], x[:n])
			} else {
				kernel.Add(x[:n], y[:n])
			}
		case opConv:
			y = w.get()
			w.conv(o, x, y)
		case opLinear:
			y = w.get()
			kernel.Gemm(false, true, rows, o.out.C, o.in.C, 1, x, o.in.C, o.weight, o.in.C, 0, y, o.out.C)
			for r := range rows {
				addRow(y[r*o.out.C:][:o.out.C], o.bias, o.relu)
			}
		case opMaxPool:
			y = w.get()
			maxPool(o, x, y)
		case opGlobalMean:
			y = w.get()
			plane := o.in.H * o.in.W
			for c := range o.in.C {
				y[c] = kernel.Sum(x[c*plane:][:plane]) / float32(plane)
			}
		}
		if o.relu && (o.kind == opMaxPool || o.kind == opGlobalMean) {
			relu(y[:rows*o.out.Len()])
		}
		if owned {
			w.put(x)
		}
		x, owned = y, true
	}
	return x, owned
}

// conv convolves one image.
func (w *worker) conv(o *op, x, y []float32) {
	if o.grid.used {
		w.convTaps(o, x, y)
	} else {
		w.convUnrolled(o, x, y)
	}
}

// convUnrolled multiplies the weight [Out, In*K*K] with the unrolled image [In*K*K, OH*OW].
func (w *worker) convUnrolled(o *op, x, y []float32) {
	l := o.layer
	plane := o.out.H * o.out.W
	k := o.in.C * l.Kernel * l.Kernel
	columns := x
	if !o.direct() {
		columns = w.columns
		kernel.Im2col(x[:o.in.Len()], o.in.C, o.in.H, o.in.W, l.Kernel, l.StrideOrOne(), l.Pad, l.DilationOrOne(), columns)
	}
	kernel.Gemm(false, false, o.out.C, plane, k, 1, o.weight, k, columns, plane, 0, y, plane)
	for c := range o.out.C {
		row := y[c*plane:][:plane]
		switch {
		case o.bias == nil && o.relu:
			relu(row)
		case o.bias != nil:
			addConstant(row, o.bias[c], o.relu)
		}
	}
}

// convTaps lays the image out on the op's grid and adds up the products of the taps.
func (w *worker) convTaps(o *op, x, y []float32) {
	g := &o.grid
	input, wide := w.columns[:o.gridLen()], w.columns[o.gridLen():][:o.wideLen()]
	o.spread(x, input)
	phase, plane := o.in.C*g.h*g.w, g.h*g.w
	n := (o.out.H-1)*g.w + o.out.W
	size := o.out.C * o.in.C
	var beta float32
	for i, t := range g.taps {
		kernel.Gemm(false, false, o.out.C, n, o.in.C, 1, g.weight[i*size:][:size], o.in.C, input[t.phase*phase+t.offset:], plane, beta, wide, o.out.H*g.w)
		beta = 1
	}
	for c := range o.out.C {
		var b float32
		if o.bias != nil {
			b = o.bias[c]
		}
		for r := range o.out.H {
			gather(y[(c*o.out.H+r)*o.out.W:][:o.out.W], wide[(c*o.out.H+r)*g.w:][:o.out.W], b, o.relu)
		}
	}
}

// spread lays one image out on the grid.
func (o *op) spread(x, input []float32) {
	g, pad, s := &o.grid, o.layer.Pad, o.layer.StrideOrOne()
	clear(input)
	h, w := o.in.H, o.in.W
	for p, phase := range g.phases {
		// Line r of the phase holds line r*s + offset of the image, and position q its pixel q*s + offset.
		offsetY, offsetX := phase[0]-pad, phase[1]-pad
		fromY, toY := onGrid(g.h, h, offsetY, s)
		fromX, toX := onGrid(g.w, w, offsetX, s)
		if fromX == toX {
			continue
		}
		for c := range o.in.C {
			plane := x[c*h*w:][:h*w]
			lines := input[(p*o.in.C+c)*g.h*g.w:][:g.h*g.w]
			for r := fromY; r < toY; r++ {
				src := plane[(r*s+offsetY)*w:][:w][fromX*s+offsetX:]
				dst := lines[r*g.w:][fromX:toX]
				if s == 1 {
					copy(dst, src)
					continue
				}
				for q := range dst {
					dst[q] = src[q*s]
				}
			}
		}
	}
}

// onGrid returns the positions [from, to), of count, that hold a pixel of [0, size): position q holds q*stride + offset.
func onGrid(count, size, offset, stride int) (from, to int) {
	if offset < 0 {
		from = (-offset + stride - 1) / stride
	}
	to = min(count, (size-offset+stride-1)/stride)
	if from >= to { // a phase of padding alone
		return 0, 0
	}
	return from, to
}

// gather writes x + b, or max(x + b, 0), to y.
func gather(y, x []float32, b float32, withReLU bool) {
	x = x[:len(y)]
	if withReLU {
		for i, v := range x {
			y[i] = max(v+b, 0)
		}
		return
	}
	for i, v := range x {
		y[i] = v + b
	}
}

// affine applies scale and shift to each channel of one activation of len(scale) channels.
func affine(x, scale, shift []float32, withReLU bool) {
	plane := len(x) / len(scale)
	for c, s := range scale {
		t := shift[c]
		row := x[c*plane:][:plane]
		for i, v := range row {
			row[i] = v*s + t
		}
	}
	if withReLU {
		relu(x)
	}
}

// relu sets x to max(x, 0).
func relu(x []float32) {
	for i, v := range x {
		x[i] = max(v, 0)
	}
}

// addConstant adds a bias to all values of a channel.
func addConstant(x []float32, b float32, withReLU bool) {
	if withReLU {
		for i, v := range x {
			x[i] = max(v+b, 0)
		}
		return
	}
	for i, v := range x {
		x[i] = v + b
	}
}

// addRow adds the biases, which may be nil, to the values of a row.
func addRow(x, bias []float32, withReLU bool) {
	if bias != nil {
		bias = bias[:len(x)]
		for i, v := range x {
			x[i] = v + bias[i]
		}
	}
	if withReLU {
		relu(x)
	}
}

// addReLU sets y to max(y+x, 0).
func addReLU(y, x []float32) {
	x = x[:len(y)]
	for i, v := range y {
		y[i] = max(v+x[i], 0)
	}
}

// maxPool takes the maximum over windows that lie within the image. NaN wins.
func maxPool(o *op, x, y []float32) {
	k, stride := o.layer.Kernel, o.layer.StrideOrOne()
	h, w, oh, ow := o.in.H, o.in.W, o.out.H, o.out.W
	for c := range o.in.C {
		plane := x[c*h*w:][:h*w]
		for oy := range oh {
			out := y[(c*oh+oy)*ow:][:ow]
			for ky := range k {
				line := plane[(oy*stride+ky)*w:][:w]
				for ox := range out {
					m := line[ox*stride]
					for _, v := range line[ox*stride:][:k][1:] {
						m = max(m, v)
					}
					if ky > 0 {
						m = max(m, out[ox])
					}
					out[ox] = m
				}
			}
		}
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
