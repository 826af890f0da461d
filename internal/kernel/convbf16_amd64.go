package kernel

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

var availableBF16 = cpu.X86.HasAVX512BF16

// roundArgs is what the assembly that rounds to bfloat16 takes; gen/convbf16.go knows the offsets.
type roundArgs struct {
	from, and, to unsafe.Pointer // and: the second image, or nil
	pixels        int            // at least 1
	mask          int            // bit c: the block has channel c
}

func ptrBF16(x []BF16, i int) unsafe.Pointer {
	return unsafe.Add(unsafe.Pointer(unsafe.SliceData(x)), 2*i)
}

func toBF16(from []float32, to []BF16, channels int) {
	if !HasBF16() {
		toBF16Go(from, to, channels)
		return
	}
	roundBF16(&roundArgs{
		from: ptr(from, 0), to: ptrBF16(to, 0), pixels: len(from) / BlockChannels, mask: 1<<min(BlockChannels, channels) - 1,
	})
}

func toPairsBF16(from, and []float32, to []BF16) {
	if !HasBF16() {
		toPairsBF16Go(from, and, to)
		return
	}
	roundPairsBF16(&roundArgs{from: ptr(from, 0), and: ptr(and, 0), to: ptrBF16(to, 0), pixels: len(from) / BlockChannels})
}

func (t *convTile) runBF16() {
	if !HasBF16() {
		t.runBF16Go()
		return
	}
	job := t.job
	arg := convArgs{
		source:      ptrBF16(job.sourceBF16, 0),
		taps:        unsafe.Pointer(unsafe.SliceData(t.r.taps)),
		tapCount:    len(t.r.taps),
		weights:     ptrBF16(job.weightsBF16, t.block*t.weightsNext),
		weightsNext: 2 * t.weightsNext,
		target:      ptr(job.target, t.target),
		targetNext:  4 * t.targetNext,
		sourcePitch: 2 * t.sourcePitch,
		targetPitch: 4 * t.targetPitch,
		sourceAt:    2 * t.source,
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
	convTileBF16(t.count, t.blocks, &arg)
}

func (w *convWeightsBF16Tile) run() {
	if !HasBF16() {
		w.runGo()
		return
	}
	convWeightsBF16(w.channels, &convWeightsArgs{
		x: ptrBF16(w.x, 0), dy: ptrBF16(w.dy, 0), dw: ptr(w.dw, 0),
		rows: w.rows, cols: w.cols, images: w.images,
		xPitch: 2 * w.xPitch, xRow: 2 * w.xRow, xImage: 2 * w.xImage,
		dyRow: 2 * w.dyRow, dyImage: 2 * w.dyImage,
	})
}
