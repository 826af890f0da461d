package index

import (
	"fmt"
	"math"

	"imgsearch/dataset"
)

// CheckNew returns nil when the settings of a new index are usable.
func CheckNew(m Metric, dim int) error {
	if err := m.Validate(); err != nil {
		return err
	}
	if dim < 1 || dim > 1<<16 {
		return fmt.Errorf("dim %d: must be 1 to %d", dim, 1<<16)
	}
	return nil
}

// Prepare returns the embedding as an index keeps it: a copy, for Cosine scaled to length 1. It is ErrVector when its
// length is not dim, a value is not finite or its length is out of float32's range, or, for Cosine, when it is zero.
func Prepare(m Metric, dim int, embedding []float32) ([]float32, error) {
	out := make([]float32, dim)
	return out, PrepareTo(out, m, embedding)
}

// PrepareTo is Prepare into memory of the caller.
func PrepareTo(dst []float32, m Metric, embedding []float32) error {
	if len(embedding) != len(dst) {
		return fmt.Errorf("%w: %d values, the index has dim %d", ErrVector, len(embedding), len(dst))
	}
	sum := 0.0
	for _, v := range embedding {
		sum += float64(v) * float64(v)
	}
	if math.IsNaN(sum) || sum > math.MaxFloat32/4 {
		return fmt.Errorf("%w: a value is not finite or too large", ErrVector)
	}
	copy(dst, embedding)
	if m != Cosine {
		return nil
	}
	if sum == 0 {
		return fmt.Errorf("%w: all values are zero, which has no cosine", ErrVector)
	}
	if math.Abs(sum-1) > unitTolerance {
		scale := 1 / math.Sqrt(sum)
		for i, v := range dst {
			dst[i] = float32(float64(v) * scale)
		}
	}
	return nil
}

// unitTolerance is how far the squared length of an embedding may be from 1 without being scaled: an encoder's own
// normalised output is kept bit for bit.
const unitTolerance = 1e-6

// CheckAdd returns nil when ids and embeddings fit each other and no id is given twice or held already.
func CheckAdd(ids []dataset.ID, embeddings []float32, dim int, held func(dataset.ID) bool) error {
	if len(embeddings) != len(ids)*dim {
		return fmt.Errorf("%w: %d values for %d ids of dim %d", ErrVector, len(embeddings), len(ids), dim)
	}
	seen := make(map[dataset.ID]bool, len(ids))
	for _, id := range ids {
		if seen[id] || held(id) {
			return fmt.Errorf("%w: %d", ErrExists, id)
		}
		seen[id] = true
	}
	return nil
}
