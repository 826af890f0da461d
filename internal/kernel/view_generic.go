//go:build !amd64

package kernel

func (r *Resampler) stretch(plane []uint8, out []float32) [16]float32 { return r.stretchGo(plane, out) }

func (r *Resampler) paint(m *ColorMap, out []float32) { r.paintGo(m, out) }

func dropout32(x []float32, key uint64, limit uint32, scale float32) {
	dropoutGo(x, key, limit, scale)
}
