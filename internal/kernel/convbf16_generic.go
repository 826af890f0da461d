//go:build !amd64

package kernel

const availableBF16 = false

func toBF16(from []float32, to []BF16, channels int) { toBF16Go(from, to, channels) }

func toPairsBF16(from, and []float32, to []BF16) { toPairsBF16Go(from, and, to) }

func (t *convTile) runBF16() { t.runBF16Go() }

func (w *convWeightsBF16Tile) run() { w.runGo() }
