//go:build !amd64

package kernel

// productTileSize returns the largest tile of a product, in rows and blocks of columns.
func productTileSize() (rows, blocks int) { return 14, 2 }

func (t *winogradTransform) run(kind winogradKind) { t.runGo(kind) }

func (p *winogradProduct) run(outer bool) { p.runGo(outer) }
