package search

import (
	"context"
	"encoding/json"
	"fmt"

	"imgsearch/index/hnsw"
	"imgsearch/store"
)

// recallK is the number of neighbours whose recall SetTargetRecall measures.
const recallK = 10

// SetTargetRecall finds, on a sample of 500 images of the collection, the least efSearch that gives the target ANN
// recall@10, above 0 and at most 1, and makes it the collection's own. The graph is made up to date where it is stale.
// Where no efSearch reaches the target, the one that came nearest is kept. The errors to test for: ErrOptions, ErrLocked,
// ErrReadOnly, ErrCorrupt, ErrNoSpace.
func (c *Collection) SetTargetRecall(ctx context.Context, target float64, threads int) (hnsw.Measured, error) {
	fail := func(err error) (hnsw.Measured, error) {
		return hnsw.Measured{}, fmt.Errorf("measure the recall of %s: %w", c.Path(), err)
	}
	if !(target > 0 && target <= 1) {
		return fail(fmt.Errorf("%w: target recall %v: must be above 0 and at most 1", ErrOptions, target))
	}
	g, _, err := c.freshGraph(ctx, threads, func(int, int) {})
	if err != nil {
		return fail(err)
	}
	found, err := g.MeasureEf(target, recallK, 0, c.options.Seed)
	if err != nil {
		return fail(asCorrupt(err))
	}
	c.mu.Lock()
	o := c.options
	o.EfSearch = found.Ef
	c.mu.Unlock()
	encoded, err := json.Marshal(o)
	if err != nil {
		return fail(err)
	}
	if _, err := c.store.Apply(ctx, store.Batch{Options: encoded}); err != nil {
		return fail(err)
	}
	c.mu.Lock()
	c.options = o
	c.mu.Unlock()
	return found, c.updateGraph(ctx, threads, func(int, int) {})
}

// efSearch is the collection's own.
func (c *Collection) efSearch() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.options.EfSearch
}
