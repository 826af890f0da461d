package index

import (
	"fmt"
	"math"
)

// Validate returns an error that names the metrics there are unless m is one of them.
func (m Metric) Validate() error {
	switch m {
	case L2, Cosine, InnerProduct:
		return nil
	}
	return fmt.Errorf("metric %q: must be %q, %q or %q", string(m), L2, Cosine, InnerProduct)
}

// Similarity turns a distance of metric m into a number that is larger for closer images and 1 for equal ones: the
// cosine itself for Cosine, the inner product for InnerProduct, 1/(1+d) for L2.
func Similarity(m Metric, distance float32) float32 {
	if m == Cosine || m == InnerProduct {
		return 1 - distance
	}
	return 1 / (1 + distance)
}

// FromSquaredL2 turns the squared Euclidean distance of two embeddings into a distance of metric m; for Cosine the
// embeddings must have length 1, where |a-b|^2 = 2 (1 - cos). The inner product does not follow from it.
func FromSquaredL2(m Metric, squared float32) float32 {
	if m == Cosine {
		return min(squared/2, 2) // rounding must not lead out of [0, 2]
	}
	return float32(math.Sqrt(float64(squared)))
}
