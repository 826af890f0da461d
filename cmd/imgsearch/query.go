package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"imgsearch/dataset"
	"imgsearch/search"
)

type queryFlags struct {
	index       string
	ids         []uint
	k           int
	maxDistance float64
	exact       bool
	self        bool
	ef          int
	encoder     string
	json        bool
	paths       bool
	sheet       string
	force       bool
	picture     string
}

func newQuery(s *streams) *cobra.Command {
	var f queryFlags
	cmd := &cobra.Command{
		Use:   "query [IMG... | -] --index FILE",
		Short: "Find the images most similar to a picture or to an indexed image",
		Long: `Find the images most similar to each IMG, or to each indexed image given by --id.

IMG is a picture file, or one image of a data set by its position: sample:test/17, cifar10:test/3.
With - the names are read from stdin, a line each. The query's own record is left out of its answer (see --self).`,
		Example: `  imgsearch query cat.jpg --index photos.imgsearch
  imgsearch query --id 17 -k 20 --index photos.imgsearch --sheet 17.png
  find new -name '*.jpg' | imgsearch query - --index photos.imgsearch --paths --max-distance 0.1`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return runQuery(cmd.Context(), s, f, args) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.index, "index", "", "collection `FILE` to search")
	flags.UintSliceVar(&f.ids, "id", nil, "ask for the neighbours of indexed image `N`; may be repeated")
	flags.IntVarP(&f.k, "k", "k", 10, "number of neighbours")
	flags.Float64Var(&f.maxDistance, "max-distance", 0, "leave out neighbours farther than this (0: no limit)")
	flags.BoolVar(&f.exact, "exact", false, "compare with every image instead of walking the graph")
	flags.BoolVar(&f.self, "self", false, "keep the query's own record in its answer")
	flags.IntVar(&f.ef, "ef", 0, "efSearch: candidates kept during the search (0: as the index was built)")
	flags.StringVar(&f.encoder, "encoder", "", "refuse to answer unless the collection was made by this encoder `FILE`")
	flags.BoolVar(&f.json, "json", false, "print a JSON object a query")
	flags.BoolVar(&f.paths, "paths", false, "print only the neighbours' sources, a line each")
	flags.StringVar(&f.sheet, "sheet", "", "draw queries and neighbours into this PNG `FILE`")
	flags.BoolVar(&f.force, "force", false, "replace the file of --sheet if it exists")
	flags.StringVar(&f.picture, "picture", "auto", "show the pictures in the terminal: auto, always or never")
	cmd.MarkFlagsMutuallyExclusive("json", "paths")
	_ = cmd.MarkFlagFilename("sheet", "png")
	return cmd
}

func runQuery(ctx context.Context, s *streams, f queryFlags, args []string) error {
	if err := f.check(args); err != nil {
		return err
	}
	names, err := namesFrom(args, s.in)
	if err != nil {
		return err
	}
	if err := refuseOverwrite(f.sheet, f.force); err != nil {
		return err
	}
	c, err := openCollection(f.index, f.encoder)
	if err != nil {
		return err
	}
	defer c.Close()
	questions, skipped, err := f.questions(ctx, s, c, names)
	if err != nil {
		return err
	}
	answers := make([]answer, 0, len(questions))
	for _, q := range questions {
		neighbors, err := f.ask(ctx, c, q)
		if err != nil {
			return fmt.Errorf("query %s: %w", q.name, err)
		}
		answers = append(answers, answer{Query: q.name, Neighbors: neighbors})
	}
	if err := f.print(ctx, s, c, questions, answers); err != nil {
		return err
	}
	if skipped > 0 {
		return incompleteError{skipped, "query"}
	}
	return nil
}

// check returns the first mistake in the flags.
func (f queryFlags) check(args []string) error {
	if err := requireFlag("index", f.index, "photos.imgsearch"); err != nil {
		return err
	}
	switch {
	case f.k < 1:
		return usagef("-k %d: must be at least 1", f.k)
	case !(f.maxDistance >= 0):
		return usagef("--max-distance %g: must not be negative", f.maxDistance)
	case f.ef < 0:
		return usagef("--ef %d: must not be negative", f.ef)
	case f.picture != "auto" && f.picture != "always" && f.picture != "never":
		return usagef("--picture %s: must be auto, always or never", f.picture)
	case len(args)+len(f.ids) == 0:
		return usagef("nothing to ask for: give picture files, - for names on stdin, or --id N")
	}
	return nil
}

// question is one query: an indexed image, or a picture from outside the collection.
type question struct {
	name   string
	id     dataset.ID
	sample *dataset.Sample // nil for an indexed image
	entry  dataset.Entry
}

// answer is a question with what the collection answered; its JSON form is part of the command line's contract.
type answer struct {
	Query     string          `json:"query"`
	Neighbors []search.Result `json:"neighbors"`
}

// questions reads what is asked for. A picture that cannot be read is named and counted where others can be asked.
func (f queryFlags) questions(ctx context.Context, s *streams, c *search.Collection, names []string) (out []question, skipped int, err error) {
	for _, id := range f.ids {
		record, err := c.Record(ctx, dataset.ID(id))
		if err != nil {
			return nil, 0, err
		}
		out = append(out, question{name: strconv.Itoa(int(id)), id: record.ID, entry: dataset.Entry{Source: record.Source, Label: record.Label}})
	}
	for _, name := range names {
		pictures, err := readPictures(ctx, name)
		switch {
		case err == nil:
			out = append(out, pictures...)
		case ctx.Err() != nil || len(names)+len(f.ids) == 1:
			return nil, 0, err
		default:
			fmt.Fprintf(s.err, "skipped %s\n", oneLine(err))
			skipped++
		}
	}
	return out, skipped, nil
}

// readPictures reads an image file, one image of a data set, or all of a folder.
func readPictures(ctx context.Context, name string) ([]question, error) {
	ds, err := dataset.Open(ctx, name, dataset.Options{})
	if err != nil {
		return nil, err
	}
	defer ds.Close()
	var out []question
	err = dataset.Each(ctx, ds, 0, func(i int, sample dataset.Sample, err error) error {
		out = append(out, question{name: ds.Entry(i).Source, sample: &sample, entry: ds.Entry(i)})
		return err
	})
	return out, err
}

// ask puts one question to the collection.
func (f queryFlags) ask(ctx context.Context, c *search.Collection, q question) ([]search.Result, error) {
	o := search.QueryOptions{K: f.k, MaxDistance: f.maxDistance, Exact: f.exact, IncludeSelf: f.self, Ef: f.ef}
	if q.sample == nil {
		return c.QueryID(ctx, q.id, o)
	}
	o.Source = q.entry.Source
	return c.QueryImage(ctx, *q.sample, o)
}

// openCollection opens a collection for reading. An encoder file, where one is named, must be the one that made it.
func openCollection(path, encoderPath string) (*search.Collection, error) {
	c, err := search.Open(path, search.OpenOptions{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	if err := requireEncoder(c, encoderPath); err != nil {
		return nil, err
	}
	return c, nil
}
