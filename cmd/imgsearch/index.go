package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
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
	target    float64
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
		Args: atLeastOne("what to index: a folder of images, an image, or a data set"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runIndex(cmd.Context(), s, f, args, cmd.Flags().Changed)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.index, "index", "", "collection `FILE` to make or extend")
	flags.StringVar(&f.encoder, "encoder", "", "encoder `FILE` (default: the collection's own, or the built-in one)")
	flags.BoolVar(&f.prune, "prune", false, "remove records whose file is gone from the named folders")
	flags.IntVar(&f.threads, "threads", 0, "use `N` threads (default: all cores)")
	flags.IntVar(&f.thumbnail, "thumbnail", 0, "thumbnails of a new collection are at most `N` pixels wide and high (default: 128; -1: none)")
	flags.IntVar(&f.graph.M, "m", 0, "a node of a new collection's graph has `N` links (default: 16)")
	flags.IntVar(&f.graph.EfConstruction, "ef-construction", 0, "a new node chooses its links from `N` candidates (default: 200)")
	flags.IntVar(&f.graph.EfSearch, "ef-search", 0, "a search keeps `N` candidates (default: 200)")
	flags.Float64Var(&f.target, "target-recall", 0, "measure on a sample how many candidates a search needs to find this share `R` of the ten nearest, such as 0.99, and keep as many from now on")
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
	Skipped int `json:"skipped"`
	// EfSearch and Recall are what --target-recall found.
	EfSearch int     `json:"ef_search,omitempty"`
	Recall   float64 `json:"recall,omitempty"`
	Seconds  float64 `json:"seconds"`
}

func runIndex(ctx context.Context, s *streams, f indexFlags, names []string, changed func(string) bool) error {
	if err := requireFlag("index", f.index, "photos.imgsearch"); err != nil {
		return err
	}
	if changed("target-recall") && !(f.target > 0 && f.target <= 1) {
		return usagef("--target-recall %v: must be above 0 and at most 1", f.target)
	}
	ds, err := dataset.OpenAll(ctx, names, dataset.Options{})
	if err != nil {
		return err
	}
	defer ds.Close()
	c, made, err := openForWriting(f, changed)
	if err != nil {
		return err
	}
	report, err := addImages(ctx, s, c, ds, search.AddOptions{Prune: f.prune, Roots: names, Threads: f.threads})
	nothing := made && isEmpty(c)
	if err == nil && f.target > 0 && !nothing {
		err = reachRecall(ctx, c, f, &report)
	}
	if err = errors.Join(err, c.Close()); nothing {
		// A new collection that nothing came into is not left behind.
		err = errors.Join(err, os.Remove(f.index))
		if err == nil {
			err = fmt.Errorf("no image could be read, each is named above: %s is not made", f.index)
		}
	}
	if err != nil {
		return err
	}
	report.Index = f.index
	if f.json {
		err = printJSON(s.out, report)
	} else {
		fmt.Fprintf(s.out, "%s: %s (%s) in %s\n", f.index, count(report.Images, "image"), report.changes(),
			duration(time.Duration(report.Seconds*float64(time.Second))))
		if report.EfSearch > 0 {
			fmt.Fprintf(s.out, "a search keeps %s: recall %.4f on a sample\n", count(report.EfSearch, "candidate"), report.Recall)
		}
	}
	if err == nil && report.Skipped > 0 {
		return incompleteError{report.Skipped, "input"}
	}
	return err
}

// reachRecall makes searches find the share of the nearest that was asked for.
func reachRecall(ctx context.Context, c *search.Collection, f indexFlags, report *indexReport) error {
	found, err := c.SetTargetRecall(ctx, f.target, f.threads)
	report.EfSearch, report.Recall = found.Ef, found.Recall
	return err
}

// changes lists what an index run did, without what did not occur.
func (r indexReport) changes() string {
	var parts []string
	for _, part := range []struct {
		n    int
		what string
	}{
		{r.Added, "added"}, {r.Replaced, "replaced"}, {r.Updated, "updated"}, {r.Unchanged, "unchanged"},
		{r.Pruned, "pruned"}, {r.Skipped, "skipped"},
	} {
		if part.n > 0 || part.what == "added" {
			parts = append(parts, thousands(part.n)+" "+part.what)
		}
	}
	return strings.Join(parts, ", ")
}

// isEmpty tells whether a collection holds no images.
func isEmpty(c *search.Collection) bool {
	n, err := c.Len()
	return err == nil && n == 0
}

// openForWriting opens the collection, or makes it where there is none and says so.
func openForWriting(f indexFlags, changed func(string) bool) (c *search.Collection, made bool, err error) {
	if !exists(f.index) {
		if err := checkFolder(f.index); err != nil {
			return nil, false, err
		}
		encoder, err := loadEncoder(f.encoder)
		if err != nil {
			return nil, false, err
		}
		c, err := search.Create(f.index, search.CreateOptions{Encoder: encoder, Graph: f.graph, Thumbnail: f.thumbnail})
		return c, err == nil, err
	}
	for _, name := range creationFlags {
		if changed(name) {
			return nil, false, usagef("--%s only counts when a collection is made, and %s exists already", name, f.index)
		}
	}
	if c, err = search.Open(f.index, search.OpenOptions{}); err != nil {
		return nil, false, err
	}
	return c, false, requireEncoder(c, f.encoder)
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
	o.OnProblem = func(p dataset.Problem) { fmt.Fprintf(s.err, "skipped %s\n", oneLine(p)) }
	bars := newStages(s)
	o.OnProgress = func(p search.Progress) { bars.show(stageNames[p.Stage], p.Done, p.Total) }
	added, err := c.Add(ctx, ds, o)
	bars.finish()
	switch {
	case errors.Is(err, context.Canceled):
		return indexReport{}, interruptedError{fmt.Sprintf("%s came in and %s kept: the same command goes on with the rest",
			count(added.Added+added.Replaced, "image"), isAre(added.Added+added.Replaced)), err}
	case err != nil:
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
