package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"imgsearch/atlas"
	"imgsearch/dataset"
	"imgsearch/evaluation"
	"imgsearch/search"
	"imgsearch/training"
)

// The demo trains on the sample's training part and asks with its test part.
const (
	demoData    = "sample:train"
	demoQueries = "sample:test"
	demoPreset  = "tiny"
	demoMinutes = 0.4
	demoRows    = 10
)

type demoFlags struct {
	dir     string
	minutes float64
}

func newDemo(s *streams) *cobra.Command {
	var f demoFlags
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "See the whole way on built-in images: train, index, query, measure",
		Long: `Train a small encoder for half a minute on CIFAR-10 images that are built in, index them, ask for the neighbours of
images that it has not seen, and measure how often neighbours share their label.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runDemo(cmd.Context(), s, f) },
	}
	cmd.Flags().StringVar(&f.dir, "dir", "imgsearch-demo", "`FOLDER` for the files that the demo writes; those of an earlier demo are replaced")
	cmd.Flags().Float64Var(&f.minutes, "minutes", demoMinutes, "train for about `M` minutes; more make a better encoder")
	return cmd
}

func runDemo(ctx context.Context, s *streams, f demoFlags) error {
	err := demo(ctx, s, f)
	if errors.Is(err, context.Canceled) {
		return interruptedError{"the demo begins anew when it is run again", err}
	}
	return err
}

func demo(ctx context.Context, s *streams, f demoFlags) error {
	dir := f.dir
	o, err := training.PresetByName(demoPreset)
	if err != nil {
		return err
	}
	if !(f.minutes > 0) {
		return usagef("--minutes %g: must be above 0", f.minutes)
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("make the demo's folder (another one: --dir FOLDER): %w", err)
	}
	encoderFile := filepath.Join(dir, "demo.encoder")
	indexFile := filepath.Join(dir, "demo.imgsearch")
	sheetFile := filepath.Join(dir, "neighbours.png")

	fmt.Fprintf(s.out, "1. Train an encoder on the images of %s for %s, without labels\n", demoData,
		duration(time.Duration(f.minutes*float64(time.Minute))))
	o.Out, o.Overwrite, o.Minutes, o.Seed, o.Program = encoderFile, true, f.minutes, 1, "imgsearch "+version()
	result, err := train(ctx, s, o, []string{demoData})
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "   %s of %s in %s, loss %.3f\n\n", count(result.Steps, "step"), count(result.Batch, "image"),
		duration(result.Elapsed), result.Loss)

	fmt.Fprintf(s.out, "2. Embed the images and index them\n")
	if err := os.Remove(indexFile); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	c, err := search.Create(indexFile, search.CreateOptions{Encoder: result.Encoder})
	if err != nil {
		return err
	}
	defer c.Close()
	ds, err := dataset.Open(ctx, demoData, dataset.Options{})
	if err != nil {
		return err
	}
	defer ds.Close()
	added, err := addImages(ctx, s, c, ds, search.AddOptions{})
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "   %s in %.1f s\n\n", count(added.Images, "image"), added.Seconds)

	fmt.Fprintf(s.out, "3. Ask for the neighbours of images of %s, which it has never seen\n", demoQueries)
	if err := demoSheet(ctx, s, c, sheetFile); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "\n4. Measure how often neighbours share the query's label\n")
	report, _, err := evaluate(ctx, s, c, evalFlags{queries: []string{demoQueries}, baselines: pixelBaselines, seed: 1})
	if err != nil {
		return err
	}
	if err := evaluation.WriteSummary(s.out, report); err != nil {
		return err
	}
	return demoEnd(s, dir, sheetFile, encoderFile, indexFile)
}

// demoSheet queries with a few images, one of each class, and draws them with their neighbours.
func demoSheet(ctx context.Context, s *streams, c *search.Collection, path string) error {
	ds, err := dataset.Open(ctx, demoQueries, dataset.Options{})
	if err != nil {
		return err
	}
	defer ds.Close()
	f := queryFlags{k: 10, picture: "auto"}
	var rows sheetRows
	seen := make(map[dataset.Label]bool)
	for i := 0; i < ds.Len() && len(rows) < demoRows; i++ {
		entry := ds.Entry(i)
		if seen[entry.Label] {
			continue
		}
		seen[entry.Label] = true
		sample, err := ds.Read(ctx, i)
		if err != nil {
			return err
		}
		q := question{name: entry.Source, sample: &sample, entry: entry}
		neighbors, err := f.neighbors(ctx, c, q)
		if err != nil {
			return err
		}
		answered := answer{Query: q.name, Neighbors: neighbors}
		if len(rows) == 0 {
			if err := f.printTable(ctx, s, c, q, answered, true); err != nil {
				return err
			}
		}
		if err := rows.add(ctx, c, q, answered); err != nil {
			return err
		}
	}
	_, err = atlas.SaveSheets(ctx, path, rows, atlas.SheetOptions{Title: "imgsearch demo", Subtitle: "queries of " + demoQueries + " and their nearest neighbours"})
	return err
}

// demoEnd names the files and what to try next.
func demoEnd(s *streams, dir, sheet, encoder, index string) error {
	fmt.Fprintf(s.out, "\nFiles:\n")
	columnsIndented(s.out,
		sheet, "queries and their neighbours: look at it",
		encoder, "the encoder, with the record of its training beside it",
		index, "the collection: images, embeddings, graph")
	_, err := fmt.Fprintf(s.out, `
Try next:
  # the neighbours of an image of yours, or of indexed image 17
  imgsearch query --id 17 --index %s --sheet %s
  # a folder of yours, with the built-in encoder
  imgsearch index PHOTOS --index photos.imgsearch
  # an encoder of your own
  imgsearch train --data PHOTOS --minutes 10 --out photos.encoder
`, word(index), word(filepath.Join(dir, "17.png")))
	return err
}
