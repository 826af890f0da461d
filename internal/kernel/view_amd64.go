package kernel

import "unsafe"

// stretchArgs is what the assembly of Stretch takes; gen/view.go knows the offsets. Distances are in bytes.
type stretchArgs struct {
	source, target       unsafe.Pointer
	groups               unsafe.Pointer // columnGroup
	groupCount           int
	share                unsafe.Pointer
	rows                 int
	sourceRow, targetRow int
	lanes                unsafe.Pointer // [16]float32
}

// paintArgs is what the assembly of Paint takes.
type paintArgs struct {
	source, target           unsafe.Pointer
	taps                     unsafe.Pointer // rowTap
	rows, width              int
	sourcePlane, targetPlane int
	colors                   unsafe.Pointer // the values of a ColorMap, with AVX2 each 8 times
}

//go:noescape
func stretch512(arg *stretchArgs)

//go:noescape
func stretch256(arg *stretchArgs)

//go:noescape
func paint512(arg *paintArgs)

//go:noescape
func paint256(arg *paintArgs)

//go:noescape
func dropout512(x *float32, n int, low, high, limit uint32, scale float32)

//go:noescape
func dropout256(x *float32, n int, low, high, limit uint32, scale float32)

func (r *Resampler) stretch(plane []uint8, out []float32) (lanes [16]float32) {
	if vector == vectorNone || r.source < shortestLine {
		return r.stretchGo(plane, out)
	}
	arg := stretchArgs{
		source: unsafe.Pointer(unsafe.SliceData(plane)), target: unsafe.Pointer(unsafe.SliceData(out)),
		groups: unsafe.Pointer(unsafe.SliceData(r.columns)), groupCount: r.groups,
		share: unsafe.Pointer(unsafe.SliceData(r.share)), rows: r.count,
		sourceRow: r.source, targetRow: 4 * 16 * r.groups, lanes: unsafe.Pointer(&lanes),
	}
	if vector == vector512 {
		stretch512(&arg)
	} else {
		stretch256(&arg)
	}
	return lanes
}

func (r *Resampler) paint(m *ColorMap, out []float32) {
	if vector == vectorNone || r.source < shortestLine {
		r.paintGo(m, out)
		return
	}
	arg := paintArgs{
		source: unsafe.Pointer(unsafe.SliceData(r.stretched)), target: unsafe.Pointer(unsafe.SliceData(out)),
		taps: unsafe.Pointer(unsafe.SliceData(r.rows)), rows: r.size, width: r.size,
		sourcePlane: 4 * r.source * 16 * r.groups, targetPlane: 4 * r.size * r.size, colors: unsafe.Pointer(m),
	}
	if vector == vector512 {
		paint512(&arg)
		return
	}
	for i, x := range (*[18]float32)(unsafe.Pointer(m)) {
		for lane := range 8 {
			r.wide[8*i+lane] = x
		}
	}
	arg.colors = unsafe.Pointer(&r.wide)
	paint256(&arg)
}

func dropout32(x []float32, key uint64, limit uint32, scale float32) {
	switch vector {
	case vector512:
		dropout512(unsafe.SliceData(x), len(x), uint32(key), uint32(key>>32), limit, scale)
	case vector256:
		dropout256(unsafe.SliceData(x), len(x), uint32(key), uint32(key>>32), limit, scale)
	default:
		dropoutGo(x, key, limit, scale)
	}
}
