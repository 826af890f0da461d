//go:build !windows

package main

import (
	"imgsearch/index"
	"imgsearch/index/coder"
)

// newCoder takes twice the links: with M as it is the library finds next to nothing (docs/index.md).
func newCoder(m, _, _ int) (index.Index, error) {
	return coder.New(index.L2, embeddingDim, coder.Options{M: 2 * m})
}
