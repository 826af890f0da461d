//go:build !amd64

package kernel

// convTileSize returns the largest tile, in pixels and blocks of channels.
func convTileSize() (pixels, blocks int) { return 14, 2 }

func (t *convTile) run() { t.runGo() }

func (w *convWeightsTile) run() { w.runGo() }
