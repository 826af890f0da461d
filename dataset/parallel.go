package dataset

import (
	"context"

	"golang.org/x/sync/errgroup"
)

// inParallel calls do(0) to do(n-1) on the given number of goroutines and returns the first error.
func inParallel(ctx context.Context, n, workers int, do func(i int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(1, workers))
	for i := range n {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return do(i)
		})
	}
	return group.Wait()
}
