//go:build !amd64

package kernel

func (t *winogradTransformBF16) run(place winogradPlace) { t.runGo(place) }

func (p *winogradPairs) run(outer bool) { p.runGo(outer) }
