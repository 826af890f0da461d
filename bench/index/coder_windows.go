package main

import (
	"errors"

	"imgsearch/index"
)

// newCoder fails: the library does not build on Windows.
func newCoder(_, _, _ int) (index.Index, error) {
	return nil, errors.New("github.com/coder/hnsw does not build on Windows: leave coder out of --engines")
}
