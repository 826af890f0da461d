package evaluation

import (
	"fmt"
	"math"

	"imgsearch/dataset"
)

// Set is a list of embeddings with what is known of each.
type Set struct {
	// Embeddings is [len(IDs), Dim] float32, row by row.
	Embeddings []float32
	// Dim is the length of an embedding.
	Dim int
	// IDs are the images' ids: of a gallery, those that its index answers with, each once. The ids of queries count
	// only with Options.LeaveOneOut and may be nil otherwise, when the length follows from Embeddings.
	IDs []dataset.ID
	// Labels are the images' classes; "" where none is known. Nil stands for no labels at all.
	Labels []dataset.Label
}

// Len is the number of embeddings.
func (s Set) Len() int {
	if s.IDs != nil {
		return len(s.IDs)
	}
	if s.Dim > 0 {
		return len(s.Embeddings) / s.Dim
	}
	return 0
}

// Row is embedding i, a slice of Embeddings.
func (s Set) Row(i int) []float32 { return s.Embeddings[i*s.Dim:][:s.Dim:s.Dim] }

// Label is the label of embedding i.
func (s Set) Label(i int) dataset.Label {
	if s.Labels == nil {
		return ""
	}
	return s.Labels[i]
}

// Subset returns the embeddings at the given positions as a set of its own.
func (s Set) Subset(positions []int) Set {
	out := Set{Dim: s.Dim, Embeddings: make([]float32, 0, len(positions)*s.Dim)}
	for _, p := range positions {
		out.Embeddings = append(out.Embeddings, s.Row(p)...)
	}
	if s.IDs != nil {
		out.IDs = pick(s.IDs, positions)
	}
	if s.Labels != nil {
		out.Labels = pick(s.Labels, positions)
	}
	return out
}

func pick[T any](from []T, positions []int) []T {
	out := make([]T, len(positions))
	for i, p := range positions {
		out[i] = from[p]
	}
	return out
}

// check reports what makes the set unusable; needIDs demands ids, each once.
func (s Set) check(name string, needIDs bool) error {
	n := s.Len()
	switch {
	case s.Dim < 1:
		return fmt.Errorf("%w: %s of dim %d", ErrSet, name, s.Dim)
	case n == 0:
		return fmt.Errorf("%w: empty %s", ErrSet, name)
	case len(s.Embeddings) != n*s.Dim:
		return fmt.Errorf("%w: %s with %d values for %d embeddings of dim %d", ErrSet, name, len(s.Embeddings), n, s.Dim)
	case s.Labels != nil && len(s.Labels) != n:
		return fmt.Errorf("%w: %s with %d labels for %d embeddings", ErrSet, name, len(s.Labels), n)
	case needIDs && s.IDs == nil:
		return fmt.Errorf("%w: %s without ids", ErrSet, name)
	case n > math.MaxInt32:
		return fmt.Errorf("%w: %s of %d embeddings", ErrSet, name, n)
	}
	for i, v := range s.Embeddings {
		if v-v != 0 {
			return fmt.Errorf("%w: %s: embedding %d holds %v", ErrSet, name, i/s.Dim, v)
		}
	}
	return nil
}

// positions maps the ids of a set to their rows.
func (s Set) positions(name string) (map[dataset.ID]int32, error) {
	at := make(map[dataset.ID]int32, len(s.IDs))
	for i, id := range s.IDs {
		if first, ok := at[id]; ok {
			return nil, fmt.Errorf("%w: %s: id %d twice, at %d and %d", ErrSet, name, id, first, i)
		}
		at[id] = int32(i)
	}
	return at, nil
}
