package dataset

import (
	"context"
	"fmt"
	"slices"
)

// Subset returns the images of ds at the given indices, in that order, as a data set of its own. The indices must be
// within ds and not repeat. Closing it leaves ds open.
func Subset(ds Dataset, name string, indices []int) (Dataset, error) {
	seen := make(map[int]bool, len(indices))
	for _, i := range indices {
		if i < 0 || i >= ds.Len() {
			return nil, fmt.Errorf("subset of %s: index %d is not within its %d images", ds.Name(), i, ds.Len())
		}
		if seen[i] {
			return nil, fmt.Errorf("subset of %s: index %d comes twice", ds.Name(), i)
		}
		seen[i] = true
	}
	return &subset{ds, name, slices.Clone(indices)}, nil
}

type subset struct {
	of      Dataset
	name    string
	indices []int
}

func (s *subset) Name() string      { return s.name }
func (s *subset) Len() int          { return len(s.indices) }
func (s *subset) Entry(i int) Entry { return s.of.Entry(s.indices[i]) }
func (s *subset) Close() error      { return nil }

func (s *subset) Read(ctx context.Context, i int) (Sample, error) {
	return s.of.Read(ctx, s.indices[i])
}
