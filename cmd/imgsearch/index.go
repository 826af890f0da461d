package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"

	"imgsearch/dataset"
	"imgsearch/index/hnsw"
	"imgsearch/search"
)

type indexFlags struct {
	index     string
	encoder   string
	prune     bool
	threads   int
	thumbnail int
	graph     hnsw.Options
	json      bool
}

func newIndex(s *streams) *cobra.Command {
	var f indexFlags
	cmd := &cobra.Command{
		Use:   "index D... --index FILE",
		Short: "Embed images and add them to a collection",
		Long: `Embed the images of data sets and add them to the collection FILE, which is made if it is not there.

A repeated run adds only what is new or changed. An interrupted run keeps what it committed; the same command goes on
with the rest. Without --encoder a new collection uses the built-in encoder, and an old one its own.`,
		Example: `  imgsearch index photos/ --index photos.imgsearch
  imgsearch index cifar10:train --index cifar.imgsearch --encoder cifar.encoder`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runIndex(cmd.Context(), s, f, args, cmd.Flags().Changed)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.index, "index", "", "collection `FILE` to make or extend")
	flags.StringVar(&f.encoder, "encoder", "", "encoder `FILE` (default: the collection's own, or the built-in one)")
	flags.BoolVar(&f.prune, "prune", false, "remove records whose file is gone from the named folders")
	flags.IntVar(&f.threads, "threads", 0, "threads to use (0: all cores)")
	flags.IntVar(&f.thumbnail, "thumbnail", 0, "longest side of a new collection's thumbnails in pixels (0: 128; negative: none)")
	flags.IntVar(&f.graph.M, "m", 0, "links of a node in a new collection's graph (0: 16)")
	flags.IntVar(&f.graph.EfConstruction, "ef-construction", 0, "candidates that a new node chooses its links from (0: 200)")
	flags.IntVar(&f.graph.EfSearch, "ef-search", 0, "candidates that a search keeps (0: 200)")
	flags.BoolVar(&f.json, "json", false, "print one JSON object")
	return cmd
}

// creationFlags only have an effect on a collection that is made.
var creationFlags = []string{"thumbnail", "m", "ef-construction", "ef-search"}

// indexReport is what "index --json" prints.
type indexReport struct {
	Index  string `json:"index"`
	Images int    `json:"images"`
	search.AddReport
	Skipped int     `json:"skipped"`
	Seconds float64 `json:"seconds"`
}

func runIndex(ctx context.Context, s *streams, f indexFlags, names []string, changed func(string) bool) error {
	if err := requireFlag("index", f.index, "photos.imgsearch"); err != nil {
		return err
	}
	ds, err := dataset.OpenAll(ctx, names, dataset.Options{})
	if err != nil {
		return err
	}
	defer ds.Close()
	c, err := openForWriting(f, changed)
	if err != nil {
		return err
	}
	report, err := addImages(ctx, s, c, ds, search.AddOptions{Prune: f.prune, Roots: names, Threads: f.threads})
	if err = errors.Join(err, c.Close()); err != nil {
		return err
	}
	report.Index = f.index
	if f.json {
		err = printJSON(s.out, report)
	} else {
		_, err = fmt.Fprintf(s.out, "%s: %s (%s added, %s replaced, %s updated, %s unchanged, %s pruned, %s skipped) in %.1f s\n",
			f.index, count(report.Images, "image"), thousands(report.Added), thousands(report.Replaced),
			thousands(report.Updated), thousands(report.Unchanged), thousands(report.Pruned), thousands(report.Skipped), report.Seconds)
	}
	if err == nil && report.Skipped > 0 {
		return incompleteError{report.Skipped, "input"}
	}
	return err
}

// openForWriting opens the collection, or makes it where there is none.
func openForWriting(f indexFlags, changed func(string) bool) (*search.Collection, error) {
	_, err := os.Stat(f.index)
	if errors.Is(err, fs.ErrNotExist) {
		encoder, err := loadEncoder(f.encoder)
		if err != nil {
			return nil, err
		}
		return search.Create(f.index, search.CreateOptions{Encoder: encoder, Graph: f.graph, Thumbnail: f.thumbnail})
	}
	for _, name := range creationFlags {
		if changed(name) {
			return nil, usagef("--%s only counts when a collection is made, and %s exists already", name, f.index)
		}
	}
	c, err := search.Open(f.index, search.OpenOptions{})
	if err != nil {
		return nil, err
	}
	if err := requireEncoder(c, f.encoder); err != nil {
		return nil, err
	}
	return c, nil
}

// requireEncoder closes the collection and returns an error unless the encoder file, where one is named, made it.
func requireEncoder(c *search.Collection, path string) error {
	if path == "" {
		return nil
	}
	encoder, err := loadEncoder(path)
	if err == nil {
		err = c.RequireEncoder(encoder)
	}
	if err != nil {
		return errors.Join(err, c.Close())
	}
	return nil
}

// addImages brings a data set into a collection with progress on stderr.
func addImages(ctx context.Context, s *streams, c *search.Collection, ds dataset.Dataset, o search.AddOptions) (indexReport, error) {
	started := time.Now()
	o.OnProblem = func(p dataset.Problem) { fmt.Fprintf(s.err, "skipped %s\n", p.Error()) }
	bars := newStages(s)
	o.OnProgress = func(p search.Progress) { bars.show(stageNames[p.Stage], p.Done, p.Total) }
	added, err := c.Add(ctx, ds, o)
	bars.finish()
	if err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("interrupted: %s kept; the same command goes on with the rest: %w",
				count(added.Added+added.Replaced, "image"), err)
		}
		return indexReport{}, err
	}
	n, err := c.Len()
	return indexReport{
		Images: n, AddReport: added, Skipped: len(added.Skipped), Seconds: time.Since(started).Seconds(),
	}, err
}

var stageNames = map[search.Stage]string{
	search.StageCompare: "comparing", search.StageEmbed: "embedding", search.StageLink: "linking",
}
