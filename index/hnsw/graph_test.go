package hnsw

import (
	"testing"

	"imgsearch/index"
	"imgsearch/index/indextest"
)

func TestConformance(t *testing.T) {
	indextest.Run(t, func(m index.Metric, dim int) (index.Index, error) { return New(m, dim, Options{}) }, 0.995)
}
