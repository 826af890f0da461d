package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"imgsearch/atlas"
	"imgsearch/search"
)

type outliersFlags struct {
	index   string
	output  outputFlags
	json    bool
	options search.OutlierOptions
}

func newOutliers(s *streams) *cobra.Command {
	var f outliersFlags
	cmd := &cobra.Command{
		Use:   "outliers --index FILE",
		Short: "Find images whose label disagrees with their neighbours'",
		Long: `Find the images whose label disagrees with those of their neighbours, worst first: candidates for wrong labels. The score
is 1 minus the share of neighbours with the image's own label, divided by what that share is on the average over the
images of the label: 1 where no neighbour has the label, 0 for what is usual in it.

Labels are the names of sub-folders, or those of the data set.

With --json the result is {"images","labelled","labels","k","outvoted","outliers":[{"rank","id","source","label",
"suggested","score","own","other","neighbors":[{"id","label","distance"}]}]}.`,
		Example: `  imgsearch outliers --index photos.imgsearch --sheet outliers.png
  imgsearch outliers --index photos.imgsearch -n 1000 --csv outliers.csv`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runOutliers(cmd.Context(), s, f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.index, "index", "", "collection `FILE` to look through")
	flags.IntVarP(&f.options.Limit, "limit", "n", 100, "report the `N` worst")
	flags.IntVarP(&f.options.K, "k", "k", 0, "let `N` neighbours vote (default: 100, or a tenth of a small collection)")
	flags.IntVar(&f.options.Threads, "threads", 0, "use `N` threads (default: all cores)")
	flags.BoolVar(&f.json, "json", false, "print one JSON object")
	f.output.add(cmd)
	return cmd
}

func runOutliers(ctx context.Context, s *streams, f outliersFlags) error {
	if err := requireFlag("index", f.index, "photos.imgsearch"); err != nil {
		return err
	}
	switch {
	case f.options.Limit < 1:
		return usagef("-n %d: must be at least 1", f.options.Limit)
	case f.options.K < 0 || f.options.K > 1000:
		return usagef("-k %d: must be 1 to 1000", f.options.K)
	case f.options.Threads < 0:
		return usagef("--threads %d: must not be negative", f.options.Threads)
	}
	if err := f.output.check(f.index); err != nil {
		return err
	}
	c, err := openCollection(f.index, "")
	if err != nil {
		return err
	}
	defer c.Close()
	bars := newStages(s)
	f.options.OnProgress = bars.show
	report, err := c.Outliers(ctx, f.options)
	bars.finish()
	if err != nil {
		return err
	}
	if f.json {
		err = printJSON(s.out, report)
	} else {
		printOutliers(s, report)
	}
	if err != nil {
		return err
	}
	rows := [][]string{{"rank", "id", "source", "label", "suggested", "score", "own", "other"}}
	for _, o := range report.Outliers {
		rows = append(rows, []string{
			strconv.Itoa(o.Rank), strconv.FormatUint(uint64(o.ID), 10), o.Source, string(o.Label), string(o.Suggested),
			decimals(o.Score), decimals(o.Own), decimals(o.Other),
		})
	}
	if err := f.output.write(s, rows); err != nil || f.output.sheet == "" {
		return err
	}
	sheet, err := outlierRows(ctx, c, report)
	if err != nil {
		return err
	}
	return f.output.save(ctx, s, sheet, atlas.SheetOptions{
		Title: "Labels that disagree with their neighbours", Subtitle: f.index, QueryText: "image", Columns: 5, Across: 2,
	})
}

func printOutliers(s *streams, r *search.OutlierReport) {
	fmt.Fprintf(s.out, "%s with %s: %s outvoted by their neighbours\n", count(r.Labelled, "image"), count(r.Labels, "label"),
		thousands(r.Outvoted))
	if len(r.Outliers) == 0 {
		return
	}
	fmt.Fprintln(s.out)
	t := newTable(s.out, 1, 2, 3, 4)
	t.AppendHeader(table.Row{"rank", "score", "own", "other", "label", "suggested", "source"})
	for _, o := range r.Outliers {
		t.AppendRow(table.Row{
			o.Rank, fmt.Sprintf("%.3f", o.Score), fmt.Sprintf("%.3f", o.Own), fmt.Sprintf("%.3f", o.Other), o.Label, o.Suggested, o.Source,
		})
	}
	t.Render()
}

// outlierRows shows each image beside its five nearest neighbours.
func outlierRows(ctx context.Context, c *search.Collection, r *search.OutlierReport) ([]atlas.SheetRow, error) {
	var rows []atlas.SheetRow
	for _, o := range r.Outliers {
		image, err := thumbnail(ctx, c, o.ID)
		if err != nil {
			return nil, err
		}
		row := atlas.SheetRow{Query: atlas.SheetCell{Image: image, Caption: string(o.Label), Sub: fmt.Sprintf("%.3f  %s", o.Score, filepath.Base(o.Source))}}
		for _, n := range o.Neighbors[:min(len(o.Neighbors), 5)] {
			image, err := thumbnail(ctx, c, n.ID)
			if err != nil {
				return nil, err
			}
			row.Cells = append(row.Cells, atlas.SheetCell{
				Image: image, Caption: string(n.Label), Sub: fmt.Sprintf("%.3f  #%d", n.Distance, n.ID), Frame: frame(o.Label, n.Label),
			})
		}
		rows = append(rows, row)
	}
	return rows, nil
}
