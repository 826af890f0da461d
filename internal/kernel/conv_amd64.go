package kernel

import "unsafe"

// convArgs is what the assembly of a convolution's tile takes; gen/conv.go knows the offsets. Distances are in bytes.
type convArgs struct {
	source      unsafe.Pointer
	taps        unsafe.Pointer // convTap
	tapCount    int
	weights     unsafe.Pointer // of the first target block
	weightsNext int            // to those of the second
	target      unsafe.Pointer
	targetNext  int
	sourcePitch int
	targetPitch int
	bias        unsafe.Pointer // nil, or that of the first target block
	add, relu   int            // 0 or 1
	sourceAt    int            // added to source together with a tap's offset, which keeps source itself inside its slice
}

// convWeightsArgs is what the assembly of a weights' gradient takes.
type convWeightsArgs struct {
	x, dy, dw            unsafe.Pointer
	rows, cols, images   int // at least 1
	xPitch, xRow, xImage int
	dyRow, dyImage       int
}

// convTileSize returns the largest tile, in pixels and blocks of channels.
func convTileSize() (pixels, blocks int) {
	if vector == vector256 {
		return 6, 1
	}
	return 14, 2
}

func (t *convTile) run() {
	if vector == vectorNone {
		t.runGo()
		return
	}
	job := t.job
	arg := convArgs{
		source:      unsafe.Pointer(unsafe.SliceData(job.source)),
		taps:        unsafe.Pointer(unsafe.SliceData(t.r.taps)),
		tapCount:    len(t.r.taps),
		weights:     ptr(job.weights, t.block*t.weightsNext),
		weightsNext: 4 * t.weightsNext,
		target:      ptr(job.target, t.target),
		targetNext:  4 * t.targetNext,
		sourcePitch: 4 * t.sourcePitch,
		targetPitch: 4 * t.targetPitch,
		sourceAt:    4 * t.source,
	}
	if job.bias != nil {
		arg.bias = ptr(job.bias, t.block*BlockChannels)
	}
	if job.add {
		arg.add = 1
	}
	if job.relu {
		arg.relu = 1
	}
	if vector == vector512 {
		convTile512(t.count, t.blocks, &arg)
	} else {
		convTile256(t.count, t.blocks, &arg)
	}
}

func (w *convWeightsTile) run() {
	if vector == vectorNone {
		w.runGo()
		return
	}
	arg := convWeightsArgs{
		x: ptr(w.x, 0), dy: ptr(w.dy, 0), dw: ptr(w.dw, 0),
		rows: w.rows, cols: w.cols, images: w.images,
		xPitch: 4 * w.xPitch, xRow: 4 * w.xRow, xImage: 4 * w.xImage,
		dyRow: 4 * w.dyRow, dyImage: 4 * w.dyImage,
	}
	if vector == vector512 {
		convWeights512(w.channels, &arg)
		return
	}
	eachTile(w.channels, 6, func(from, count int) {
		arg.x, arg.dw = ptr(w.x, from), ptr(w.dw, from*BlockChannels)
		convWeights256(count, &arg)
	})
}
