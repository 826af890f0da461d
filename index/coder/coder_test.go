//go:build !windows

package coder

import (
	"testing"

	"imgsearch/index"
	"imgsearch/index/indextest"
)

// recallFloor is as low as the library is: on clustered embeddings its graph falls apart into the clusters, and what is
// not reached cannot be ranked. docs/index.md has its recall on real ones.
const recallFloor = 0.4

func TestConformance(t *testing.T) {
	indextest.Run(t, func(m index.Metric, dim int) (index.Index, error) { return New(m, dim, Options{}) }, recallFloor)
}

func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []Options{{M: 1}, {M: 500}, {Fetch: -1}, {Fetch: 1 << 20}} {
		if _, err := New(index.L2, 4, o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}
