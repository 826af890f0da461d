package main

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"imgsearch/atlas"
	"imgsearch/dataset"
	"imgsearch/search"
)

type duplicatesFlags struct {
	index   string
	against []string
	output  outputFlags
	json    bool
	limit   int
	options search.DuplicateOptions
}

// outputFlags are the files that duplicates and outliers can write.
type outputFlags struct {
	csv, sheet string
	force      bool
}

func (o *outputFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.csv, "csv", "", "write everything found into this CSV `FILE`")
	cmd.Flags().StringVar(&o.sheet, "sheet", "", "draw what was found into this PNG `FILE`")
	cmd.Flags().BoolVar(&o.force, "force", false, "replace the files of --csv and --sheet if they exist")
	_ = cmd.MarkFlagFilename("csv", "csv")
	_ = cmd.MarkFlagFilename("sheet", "png")
}

// check refuses files that cannot or must not be written.
func (o outputFlags) check(index string) error {
	if o.sheet != "" && !strings.EqualFold(filepath.Ext(o.sheet), ".png") {
		return usagef("--sheet %s: sheets are PNG files: end the name in .png", o.sheet)
	}
	if o.csv != "" && o.csv == o.sheet {
		return usagef("%s is named twice: each output needs a file of its own", o.csv)
	}
	for _, path := range []string{o.csv, o.sheet} {
		if path != "" && sameFile(path, index) {
			return usagef("%s is the collection itself: name another file", path)
		}
		if err := checkOutput(path, o.force); err != nil {
			return err
		}
	}
	return nil
}

// save draws rows, where a sheet is wanted and there are any.
func (o outputFlags) save(ctx context.Context, s *streams, rows []atlas.SheetRow, options atlas.SheetOptions) error {
	if o.sheet == "" || len(rows) == 0 {
		return nil
	}
	// Many rows take several files, whose names are only known now.
	paths, err := atlas.SheetPaths(o.sheet, rows, options)
	if err != nil {
		return err
	}
	for _, path := range paths {
		if err := checkOutput(path, o.force); err != nil {
			return err
		}
	}
	paths, err = atlas.SaveSheets(ctx, o.sheet, rows, options)
	for _, path := range paths {
		fmt.Fprintf(s.err, "wrote %s\n", path)
	}
	return err
}

// write makes the CSV file, where one is wanted.
func (o outputFlags) write(s *streams, rows [][]string) error {
	if o.csv == "" {
		return nil
	}
	err := atlas.WriteFile(o.csv, func(w io.Writer) error {
		out := csv.NewWriter(w)
		_ = out.WriteAll(rows)
		return out.Error()
	})
	if err == nil {
		fmt.Fprintf(s.err, "wrote %s\n", o.csv)
	}
	return err
}

func newDuplicates(s *streams) *cobra.Command {
	var f duplicatesFlags
	cmd := &cobra.Command{
		Use:   "duplicates --index FILE [--against D]",
		Short: "Find images that show the same picture",
		Long: `Find exact copies, which have the same content, and near-duplicates, which show the same picture in another file: scaled,
cropped or shifted a little, compressed anew, brighter or darker, in other colours, or mirrored.

Near-duplicates are looked for among the nearest neighbours of each image and verified on the pixels: their detail, laid
over one another as well as it goes, may differ by at most --max-difference, which is calibrated (docs/duplicates.md). Of
each group the largest file is to be kept, of several the first; all others are copies of that one.

With --against the images of D are looked up in the collection instead, whether it has them already.

With --json the result is {"images","exact","near","compared","unread","max_difference","groups":[{"keep":{"id","source",
"label","bytes"},"copies":[{"id","source","label","bytes","kind","difference","mirrored"}]}]}; with --against
{"queries","images","exact","near","near_at_rank_1","compared","unread","max_difference","found":[{"query":{"source",
"label"},"matches":[{"id","source","label","bytes","kind","difference","mirrored","rank","distance","equal"}]}]}.`,
		Example: `  imgsearch duplicates --index photos.imgsearch --sheet duplicates.png
  imgsearch duplicates --index photos.imgsearch --csv duplicates.csv
  imgsearch duplicates --index photos.imgsearch --against camera/`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runDuplicates(cmd.Context(), s, f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.index, "index", "", "collection `FILE` to look through")
	flags.StringArrayVar(&f.against, "against", nil, "look up the images of data set `D`; may be repeated")
	flags.BoolVar(&f.options.ExactOnly, "exact", false, "look for exact copies only")
	flags.IntVarP(&f.options.K, "k", "k", 10, "compare each image with its `N` nearest neighbours")
	flags.Float64Var(&f.options.MaxDifference, "max-difference", atlas.NearDuplicate, "let near-duplicates differ by up to `X`, above 0 and below 1")
	flags.IntVarP(&f.limit, "limit", "n", 100, "print and draw the first `N` groups; --json and --csv have all")
	flags.IntVar(&f.options.Threads, "threads", 0, "use `N` threads (default: all cores)")
	flags.BoolVar(&f.json, "json", false, "print one JSON object")
	f.output.add(cmd)
	return cmd
}

func runDuplicates(ctx context.Context, s *streams, f duplicatesFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	c, err := openCollection(f.index, "")
	if err != nil {
		return err
	}
	defer c.Close()
	skipped := 0
	bars := newStages(s)
	defer bars.finish()
	f.options.OnProgress = bars.show
	f.options.OnProblem = func(p dataset.Problem) {
		fmt.Fprintf(s.err, "skipped %s\n", oneLine(p))
		skipped++
	}
	if len(f.against) > 0 {
		err = f.matches(ctx, s, c, bars, &skipped)
	} else {
		err = f.groups(ctx, s, c, bars)
	}
	if err == nil && skipped > 0 {
		return incompleteError{skipped, "image"}
	}
	return err
}

// check returns the first mistake in the flags.
func (f duplicatesFlags) check() error {
	if err := requireFlag("index", f.index, "photos.imgsearch"); err != nil {
		return err
	}
	switch {
	case f.options.K < 1 || f.options.K > 1000:
		return usagef("-k %d: must be 1 to 1000", f.options.K)
	case !(f.options.MaxDifference > 0 && f.options.MaxDifference < 1):
		return usagef("--max-difference %g: must be above 0 and below 1", f.options.MaxDifference)
	case f.limit < 1:
		return usagef("-n %d: must be at least 1", f.limit)
	case f.options.Threads < 0:
		return usagef("--threads %d: must not be negative", f.options.Threads)
	}
	return f.output.check(f.index)
}

// groups looks for duplicates within the collection.
func (f duplicatesFlags) groups(ctx context.Context, s *streams, c *search.Collection, bars *stages) error {
	report, err := c.Duplicates(ctx, f.options)
	bars.finish()
	if err != nil {
		return err
	}
	shown := report.Groups[:min(len(report.Groups), f.limit)]
	if f.json {
		err = printJSON(s.out, report)
	} else {
		printGroups(s, report, shown)
	}
	if err != nil {
		return err
	}
	rows := [][]string{{"group", "kind", "id", "source", "label", "bytes", "difference", "mirrored"}}
	for i, g := range report.Groups {
		row := func(kind string, m search.DuplicateImage, difference float64, mirrored bool) []string {
			return []string{
				strconv.Itoa(i + 1), kind, strconv.FormatUint(uint64(m.ID), 10), m.Source, string(m.Label),
				strconv.FormatInt(m.Bytes, 10), decimals(difference), strconv.FormatBool(mirrored),
			}
		}
		rows = append(rows, row("keep", g.Keep, 0, false))
		for _, m := range g.Copies {
			rows = append(rows, row(string(m.Kind), m.DuplicateImage, m.Difference, m.Mirrored))
		}
	}
	if err := f.output.write(s, rows); err != nil || f.output.sheet == "" {
		return err
	}
	var sheet []atlas.SheetRow
	for _, g := range shown {
		query, err := duplicateCell(ctx, c, g.Keep, "")
		if err != nil {
			return err
		}
		row := atlas.SheetRow{Query: query}
		for _, m := range g.Copies[:min(len(g.Copies), maxSheetCopies)] {
			cell, err := copyCell(ctx, c, m)
			if err != nil {
				return err
			}
			row.Cells = append(row.Cells, cell)
		}
		sheet = append(sheet, withMore(row, len(g.Copies)-maxSheetCopies))
	}
	return f.output.save(ctx, s, sheet, duplicateSheet(sheet, "keep", "Duplicates", f.index))
}

// matches looks up the images of a data set.
func (f duplicatesFlags) matches(ctx context.Context, s *streams, c *search.Collection, bars *stages, skipped *int) error {
	ds, err := dataset.OpenAll(ctx, f.against, dataset.Options{})
	if err != nil {
		return err
	}
	defer ds.Close()
	*skipped += reportProblems(s, ds)
	report, err := c.DuplicatesAgainst(ctx, ds, f.options)
	bars.finish()
	if err != nil {
		return err
	}
	shown := report.Found[:min(len(report.Found), f.limit)]
	if f.json {
		err = printJSON(s.out, report)
	} else {
		printMatches(s, report, shown)
	}
	if err != nil {
		return err
	}
	rows := [][]string{{"query", "query_label", "kind", "id", "source", "label", "bytes", "difference", "mirrored", "rank", "distance", "equal"}}
	for _, q := range report.Found {
		for _, m := range q.Matches {
			rows = append(rows, []string{
				q.Query.Source, string(q.Query.Label), string(m.Kind), strconv.FormatUint(uint64(m.ID), 10), m.Source, string(m.Label),
				strconv.FormatInt(m.Bytes, 10), decimals(m.Difference), strconv.FormatBool(m.Mirrored), strconv.Itoa(m.Rank),
				decimals(float64(m.Distance)), strconv.Itoa(m.Equal),
			})
		}
	}
	if err := f.output.write(s, rows); err != nil || f.output.sheet == "" {
		return err
	}
	var sheet []atlas.SheetRow
	for _, q := range shown {
		sample, err := ds.Read(ctx, q.Place)
		if err != nil {
			return err
		}
		row := atlas.SheetRow{Query: atlas.SheetCell{
			Image: sample.Image, Caption: caption(q.Query.Label, q.Query.Source), Sub: filepath.Base(q.Query.Source),
		}}
		for _, m := range q.Matches[:min(len(q.Matches), maxSheetCopies)] {
			cell, err := copyCell(ctx, c, m.DuplicateCopy)
			if err != nil {
				return err
			}
			row.Cells = append(row.Cells, cell)
		}
		sheet = append(sheet, withMore(row, len(q.Matches)-maxSheetCopies))
	}
	return f.output.save(ctx, s, sheet, duplicateSheet(sheet, "query", "Duplicates of "+ds.Name(), f.index))
}

func decimals(x float64) string { return strconv.FormatFloat(x, 'f', 4, 64) }

func printGroups(s *streams, r *search.DuplicateReport, shown []search.DuplicateGroup) {
	fmt.Fprintf(s.out, "%s in %s of %s: %s, %s\n", copies(r.Exact+r.Near), count(len(r.Groups), "group"), count(r.Images, "image"),
		thousands(r.Exact)+" exact", thousands(r.Near)+" near")
	if len(shown) == 0 {
		return
	}
	fmt.Fprintln(s.out)
	t := newTable(s.out, 1, 3, 4)
	t.AppendHeader(table.Row{"group", "kind", "difference", "id", "label", "source"})
	for i, g := range shown {
		t.AppendRow(table.Row{i + 1, "keep", "", g.Keep.ID, g.Keep.Label, g.Keep.Source})
		for _, m := range g.Copies[:min(len(g.Copies), maxListedCopies)] {
			t.AppendRow(table.Row{"", kindOf(m), fmt.Sprintf("%.3f", m.Difference), m.ID, m.Label, m.Source})
		}
		if more := len(g.Copies) - maxListedCopies; more > 0 {
			t.AppendRow(table.Row{"", fmt.Sprintf("and %s more", thousands(more))})
		}
	}
	t.Render()
	printRest(s, len(r.Groups)-len(shown), "group")
}

func printMatches(s *streams, r *search.AgainstReport, shown []search.MatchedQuery) {
	fmt.Fprintf(s.out, "%s of %s %s in the collection of %s: %s exact, %s near (%s at rank 1)\n", thousands(r.Exact+r.Near),
		count(r.Queries, "image"), isAre(r.Exact+r.Near), count(r.Images, "image"), thousands(r.Exact), thousands(r.Near),
		thousands(r.NearAtRank1))
	if len(shown) == 0 {
		return
	}
	fmt.Fprintln(s.out)
	t := newTable(s.out, 3, 4, 5)
	t.AppendHeader(table.Row{"query", "kind", "difference", "rank", "id", "label", "source"})
	for _, q := range shown {
		name := q.Query.Source
		for _, m := range q.Matches {
			rank := ""
			if m.Rank > 0 {
				rank = strconv.Itoa(m.Rank)
			}
			t.AppendRow(table.Row{name, kindOf(m.DuplicateCopy), fmt.Sprintf("%.3f", m.Difference), rank, m.ID, m.Label, m.Source})
			name = ""
		}
	}
	t.Render()
	printRest(s, len(r.Found)-len(shown), "image")
}

// maxListedCopies and maxSheetCopies bound what is shown of one group.
const (
	maxListedCopies = 20
	maxSheetCopies  = 29
)

func printRest(s *streams, rest int, noun string) {
	if rest > 0 {
		fmt.Fprintf(s.out, "\nand %s more: raise -n, or take --csv or --json\n", count(rest, noun))
	}
}

func copies(n int) string {
	if n == 1 {
		return "1 copy"
	}
	return thousands(n) + " copies"
}

func kindOf(m search.DuplicateCopy) string {
	if m.Mirrored {
		return string(m.Kind) + ", mirrored"
	}
	return string(m.Kind)
}

// duplicateCell shows an image of the collection; kind stands before its id.
func duplicateCell(ctx context.Context, c *search.Collection, m search.DuplicateImage, kind string) (atlas.SheetCell, error) {
	image, err := thumbnail(ctx, c, m.ID)
	return atlas.SheetCell{
		Image: image, Caption: caption(m.Label, m.Source), Sub: strings.TrimSpace(fmt.Sprintf("%s  #%d", kind, m.ID)),
	}, err
}

func copyCell(ctx context.Context, c *search.Collection, m search.DuplicateCopy) (atlas.SheetCell, error) {
	kind, frame := "exact", atlas.FrameMatch
	if m.Kind == search.NearCopy {
		kind, frame = fmt.Sprintf("%.3f", m.Difference), atlas.FrameMismatch
	}
	cell, err := duplicateCell(ctx, c, m.DuplicateImage, kind)
	cell.Frame = frame
	return cell, err
}

// withMore ends a row that was cut short with the number of those that are left out.
func withMore(row atlas.SheetRow, more int) atlas.SheetRow {
	if more > 0 {
		row.Cells = append(row.Cells, atlas.SheetCell{Caption: "and " + thousands(more) + " more"})
	}
	return row
}

// duplicateSheet lays out groups: small ones stand side by side.
func duplicateSheet(rows []atlas.SheetRow, query, title, subtitle string) atlas.SheetOptions {
	sizes := make([]int, len(rows))
	for i, row := range rows {
		sizes[i] = len(row.Cells)
	}
	slices.Sort(sizes)
	columns := 1
	if len(sizes) > 0 {
		columns = min(max(sizes[len(sizes)*9/10], 1), 10)
	}
	return atlas.SheetOptions{
		Title: title, Subtitle: subtitle, QueryText: query, MatchText: "exact copy", MismatchText: "near-duplicate",
		Columns: columns, Across: min(max(12/(columns+1), 1), max(len(rows), 1)),
	}
}
