package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"imgsearch/dataset"
	"imgsearch/search"
)

type removeFlags struct {
	index string
	ids   []uint
}

func newRemove(s *streams) *cobra.Command {
	var f removeFlags
	cmd := &cobra.Command{
		Use:   "remove [SOURCE... | -] --index FILE",
		Short: "Take images out of a collection",
		Long: `Take images out of a collection, by their source as queries print it, or by --id. The image files are left alone.
With - sources are read from stdin, a line each. Nothing is removed when one of them is not in the collection.
To remove what is gone from a folder: imgsearch index FOLDER --prune --index FILE.`,
		Example: "  imgsearch remove photos/blurred.jpg --index photos.imgsearch\n  imgsearch remove --id 17 --id 23 --index photos.imgsearch",
		Args:    cobra.ArbitraryArgs,
		RunE:    func(cmd *cobra.Command, args []string) error { return runRemove(cmd.Context(), s, f, args) },
	}
	cmd.Flags().StringVar(&f.index, "index", "", "collection `FILE` to change")
	cmd.Flags().UintSliceVar(&f.ids, "id", nil, "remove indexed image `N`; may be repeated")
	return cmd
}

func runRemove(ctx context.Context, s *streams, f removeFlags, args []string) error {
	if err := requireFlag("index", f.index, "photos.imgsearch"); err != nil {
		return err
	}
	sources, err := namesFrom(args, s.in)
	if err != nil {
		return err
	}
	if len(sources)+len(f.ids) == 0 {
		return usagef("nothing to remove: give sources, - for sources on stdin, or --id N")
	}
	c, err := search.Open(f.index, search.OpenOptions{})
	if err != nil {
		return err
	}
	var ids []dataset.ID
	for _, id := range f.ids {
		ids = append(ids, dataset.ID(id))
	}
	if len(ids) > 0 {
		err = c.Remove(ctx, ids...)
	}
	removed := len(ids)
	if err == nil && len(sources) > 0 {
		var found []dataset.ID
		found, err = c.RemoveSources(ctx, sources...)
		removed += len(found)
	}
	if err = errors.Join(err, c.Close()); err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "%s removed\n", count(removed, "image"))
	return err
}
