package index

import (
	"fmt"
	"math"
)

// Validate returns an error that names the metrics there are unless m is one of them.
func (m Metric) Validate() error {
	switch m {
	case L2, Cosine:
		return nil
	}
	return fmt.Errorf("metric %q: must be %q or %q", string(m), L2, Cosine)
}

// Similarity turns a distance of metric m into a number that is larger for closer images and 1 for equal ones: the
// cosine itself for Cosine, 1/(1+d) for L2.
func Similarity(m Metric, distance float32) float32 {
	if m == Cosine {
		return 1 - distance
	}
	return 1 / (1 + distance)
}

// FromSquaredL2 turns the squared Euclidean distance of two embeddings into a distance of metric m; for Cosine the
// embeddings must have length 1, where |a-b|^2 = 2 (1 - cos).
func FromSquaredL2(m Metric, squared float32) float32 {
	if m == Cosine {
		return min(squared/2, 2) // rounding must not lead out of [0, 2]
	}
	return float32(math.Sqrt(float64(squared)))
}
