package exact_test

import (
	"testing"

	"imgsearch/index"
	"imgsearch/index/exact"
	"imgsearch/index/indextest"
)

func TestConformance(t *testing.T) {
	indextest.Run(t, func(m index.Metric, dim int) (index.Index, error) { return exact.New(m, dim) }, 1)
}
