package search

import (
	"context"
	"fmt"
	"slices"

	"imgsearch/dataset"
	"imgsearch/store"
)

// Remove takes images out and brings the graph up to date. An id that the collection does not hold is ErrNotFound, and
// nothing is removed then; an id that is given twice counts once. The other errors are those of Add.
func (c *Collection) Remove(ctx context.Context, ids ...dataset.ID) error {
	if err := c.mayWrite(); err != nil {
		return err
	}
	c.adding.Lock()
	defer c.adding.Unlock()
	return c.remove(ctx, slices.Clone(ids))
}

func (c *Collection) remove(ctx context.Context, ids []dataset.ID) error {
	slices.Sort(ids)
	if ids = slices.Compact(ids); len(ids) == 0 {
		return nil
	}
	if _, err := c.store.Apply(ctx, store.Batch{Remove: ids}); err != nil {
		return err
	}
	return c.updateGraph(ctx, 0, func(int, int) {})
}

// RemoveSources takes out the images with these sources, and those below them where a source is a folder. It returns the
// ids that it removed, rising. A source that stands for no image is ErrNotFound, and nothing is removed then. The other
// errors are those of Add.
func (c *Collection) RemoveSources(ctx context.Context, sources ...string) ([]dataset.ID, error) {
	if err := c.mayWrite(); err != nil {
		return nil, err
	}
	c.adding.Lock()
	defer c.adding.Unlock()
	var ids []dataset.ID
	found := make([]bool, len(sources))
	for r, err := range c.Records(ctx) {
		if err != nil {
			return nil, err
		}
		for i, source := range sources {
			if r.Source == source || isBelow(source, r.Source) {
				found[i] = true
				ids = append(ids, r.ID)
				break
			}
		}
	}
	for i, source := range sources {
		if !found[i] && !slices.Contains(sources[:i], source) {
			return nil, fmt.Errorf("%s: %w", source, ErrNotFound)
		}
	}
	return ids, c.remove(ctx, slices.Clone(ids))
}
