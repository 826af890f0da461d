package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"imgsearch/dataset"
	"imgsearch/search"
)

type removeFlags struct {
	index string
	ids   []int
}

func newRemove(s *streams) *cobra.Command {
	var f removeFlags
	cmd := &cobra.Command{
		Use:   "remove [SOURCE... | -] --index FILE",
		Short: "Take images out of a collection",
		Long: `Take images out of a collection, by their source as queries print it, or by --id. A folder stands for the images in it
and below it. The image files are left alone. With - sources are read from stdin, a line each. Nothing is removed when
one of them is not in the collection. To remove what is gone from a folder: imgsearch index FOLDER --prune --index FILE.`,
		Example: "  imgsearch remove photos/blurred.jpg --index photos.imgsearch\n  imgsearch remove --id 17 --id 23 --index photos.imgsearch",
		Args:    cobra.ArbitraryArgs,
		RunE:    func(cmd *cobra.Command, args []string) error { return runRemove(cmd.Context(), s, f, args) },
	}
	cmd.Flags().StringVar(&f.index, "index", "", "collection `FILE` to change")
	cmd.Flags().IntSliceVar(&f.ids, "id", nil, "remove indexed image `N`; may be repeated")
	return cmd
}

func runRemove(ctx context.Context, s *streams, f removeFlags, args []string) error {
	if err := requireFlag("index", f.index, "photos.imgsearch"); err != nil {
		return err
	}
	if err := checkIDs(f.ids); err != nil {
		return err
	}
	if len(args)+len(f.ids) == 0 {
		return usagef("nothing to remove: give sources, - for sources on stdin, or --id N")
	}
	var sources []string
	for name, err := range namesFrom(ctx, args, s.in) {
		if err != nil {
			return err
		}
		sources = append(sources, name)
	}
	if err := requireIndex(f.index); err != nil {
		return err
	}
	c, err := search.Open(f.index, search.OpenOptions{})
	if err != nil {
		return err
	}
	removed, err := removeImages(ctx, c, f.ids, sources)
	if err = errors.Join(err, c.Close()); err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "%s removed\n", count(removed, "image"))
	return err
}

// removeImages removes by id and by source; neither when an id is not in the collection.
func removeImages(ctx context.Context, c *search.Collection, ids []int, sources []string) (removed int, err error) {
	wanted := make(map[dataset.ID]bool)
	for _, id := range ids {
		if _, err := c.Record(ctx, dataset.ID(id)); err != nil {
			return 0, err
		}
		wanted[dataset.ID(id)] = true
	}
	if len(sources) > 0 {
		bySource, err := c.RemoveSources(ctx, sources...)
		if err != nil {
			return 0, err
		}
		removed = len(bySource)
		for _, id := range bySource {
			delete(wanted, id)
		}
	}
	if len(wanted) > 0 {
		err = c.Remove(ctx, slices.Collect(maps.Keys(wanted))...)
	}
	return removed + len(wanted), err
}
