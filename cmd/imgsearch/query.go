package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"imgsearch/dataset"
	"imgsearch/search"
)

type queryFlags struct {
	index       string
	ids         []int
	like        []string
	unlike      []string
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
		Use:   "query [IMG... | - | --like IMG...] --index FILE",
		Short: "Find the images most similar to a picture or to an indexed image",
		Long: `Find the images most similar to each IMG, or to each indexed image given by --id.

IMG is a picture file, a folder (each of its images is asked), or one image of a data set by its position:
sample:test/17, cifar10:test/3. With - the names are read from stdin, a line each. The query's own record is left out of
its answer (see --self).

With --like several images are one question: what is near the mean of their embeddings, each brought to length 1, turned
away from those of --unlike. Both take an IMG, or id:N for an indexed image, and may be repeated.

With --json an answer is {"query","neighbors":[{"rank","id","source","label","distance","similarity"}]}, with "like" and
"unlike" after "query" where these were given; where several images may be asked, each answer is on one line.`,
		Example: `  imgsearch query cat.jpg --index photos.imgsearch
  imgsearch query --id 17 -k 20 --index photos.imgsearch --sheet 17.png
  imgsearch query --like cat.jpg --like id:17 --unlike dog.jpg --index photos.imgsearch
  find new -name '*.jpg' | imgsearch query - --index photos.imgsearch --paths --max-distance 0.1`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("max-distance") && f.maxDistance == 0 {
				// For the library 0 is no limit; who writes it on the command line wants equal images only.
				f.maxDistance = math.SmallestNonzeroFloat64
			}
			return runQuery(cmd.Context(), s, f, args)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.index, "index", "", "collection `FILE` to search")
	flags.IntSliceVar(&f.ids, "id", nil, "ask for the neighbours of indexed image `N`; may be repeated")
	flags.StringArrayVar(&f.like, "like", nil, "ask one question of all `IMG` given so; may be repeated")
	flags.StringArrayVar(&f.unlike, "unlike", nil, "keep away from `IMG` in the question of --like; may be repeated")
	flags.IntVarP(&f.k, "k", "k", 10, "give `N` neighbours")
	flags.Float64Var(&f.maxDistance, "max-distance", 0, "leave out neighbours farther than `D` (default: no limit)")
	flags.BoolVar(&f.exact, "exact", false, "compare with every image instead of walking the graph")
	flags.BoolVar(&f.self, "self", false, "keep the query's own record in its answer")
	flags.IntVar(&f.ef, "ef", 0, "efSearch: keep `N` candidates during the search (default: as the index was built)")
	flags.StringVar(&f.encoder, "encoder", "", "refuse to answer unless the collection was made by this encoder `FILE`")
	flags.BoolVar(&f.json, "json", false, "print JSON")
	flags.BoolVar(&f.paths, "paths", false, "print only the neighbours' sources, a line each")
	flags.StringVar(&f.sheet, "sheet", "", "draw queries and neighbours into this PNG `FILE`")
	flags.BoolVar(&f.force, "force", false, "replace the file of --sheet if it exists")
	flags.StringVar(&f.picture, "picture", "auto", "show the pictures in the terminal `WHEN`: auto, always or never")
	exclusive(cmd, "json", "paths")
	_ = cmd.MarkFlagFilename("sheet", "png")
	_ = cmd.RegisterFlagCompletionFunc("picture", cobra.FixedCompletions([]string{"auto", "always", "never"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func runQuery(ctx context.Context, s *streams, f queryFlags, args []string) error {
	if err := f.check(args); err != nil {
		return err
	}
	if err := checkOutput(f.sheet, f.force); err != nil {
		return err
	}
	c, err := openCollection(f.index, f.encoder)
	if err != nil {
		return err
	}
	defer c.Close()
	a := asker{f: f, s: s, collection: c}
	a.several = len(args)+len(f.ids) > 1 || slices.Contains(args, "-")
	if err := a.askExamples(ctx); err != nil {
		return err
	}
	for _, id := range f.ids {
		if err := a.askID(ctx, dataset.ID(id)); err != nil {
			return err
		}
	}
	for name, err := range namesFrom(ctx, args, s.in) {
		if err == nil {
			err = a.askName(ctx, name)
		}
		if err != nil {
			return err
		}
	}
	if err := a.saveSheet(ctx); err != nil {
		return err
	}
	switch {
	case a.skipped > 0 && a.asked == 0:
		return fmt.Errorf("nothing could be asked: the reasons are named above")
	case a.skipped > 0:
		return incompleteError{a.skipped, "query"}
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
	case f.sheet != "" && !strings.EqualFold(filepath.Ext(f.sheet), ".png"):
		return usagef("--sheet %s: sheets are PNG files: end the name in .png", f.sheet)
	case len(f.unlike) > 0 && len(f.like) == 0:
		return usagef("--unlike alone is no question: give --like IMG too")
	case len(f.like) > 0 && len(args)+len(f.ids) > 0:
		return usagef("--like and --unlike make one question of their own: leave out IMG and --id, or give them as --like IMG and --like id:N")
	case len(args)+len(f.ids)+len(f.like) == 0:
		return usagef("nothing to ask for: give picture files, - for names on stdin, or --id N")
	}
	return checkIDs(f.ids)
}

// checkIDs refuses what cannot be an id.
func checkIDs(ids []int) error {
	for _, id := range ids {
		if id < 0 {
			return usagef("--id %d: must be a whole number from 0 on", id)
		}
	}
	return nil
}

// question is one query: an indexed image, or a picture from outside the collection.
type question struct {
	name   string
	id     dataset.ID
	sample *dataset.Sample // nil for an indexed image
	image  *dataset.Image  // stands for the pictures of a question of several, nil otherwise
	entry  dataset.Entry
}

// answer is a question with what the collection answered; its JSON form is part of the command line's contract.
type answer struct {
	Query     string          `json:"query"`
	Like      []string        `json:"like,omitempty"`
	Unlike    []string        `json:"unlike,omitempty"`
	Neighbors []search.Result `json:"neighbors"`
}

// asker puts questions to a collection and prints each answer at once, so that any number of them takes little memory.
type asker struct {
	f          queryFlags
	s          *streams
	collection *search.Collection
	// several says that there may be more than one answer: a heading goes above each table, and JSON is a line each. A
	// single question that cannot be asked is an error, one of several is named and left out.
	several        bool
	asked, skipped int
	rows           sheetRows
}

// skip names what cannot be asked, unless it is the only question: then its error ends the command.
func (a *asker) skip(err error) error {
	if !a.several || errors.Is(err, context.Canceled) {
		return err
	}
	a.skipped++
	fmt.Fprintf(a.s.err, "skipped %s\n", oneLine(err))
	return nil
}

func (a *asker) askID(ctx context.Context, id dataset.ID) error {
	record, err := a.collection.Record(ctx, id)
	if errors.Is(err, search.ErrNotFound) {
		return a.skip(err)
	}
	if err != nil {
		return err
	}
	return a.ask(ctx, question{
		name: strconv.Itoa(int(id)), id: id, entry: dataset.Entry{Source: record.Source, Label: record.Label},
	})
}

// askName asks an image file, one image of a data set, or all images of a data set.
func (a *asker) askName(ctx context.Context, name string) error {
	ds, err := dataset.Open(ctx, name, dataset.Options{})
	if errors.Is(err, dataset.ErrNotFound) {
		err = fmt.Errorf("%s: there is no such picture: give a picture file, a folder, or one image of a data set such as sample:test/17", name)
	}
	if err != nil {
		return a.skip(err)
	}
	defer ds.Close()
	a.several = a.several || ds.Len() > 1
	for _, p := range dataset.Problems(ds) {
		if err := a.skip(p); err != nil {
			return err
		}
	}
	return dataset.Each(ctx, ds, 0, func(i int, sample dataset.Sample, err error) error {
		if err != nil {
			return a.skip(err)
		}
		q := question{name: ds.Entry(i).Source, sample: &sample, entry: ds.Entry(i)}
		if filepath.Clean(name) == q.name {
			q.name = name
		}
		return a.ask(ctx, q)
	})
}

// ask puts one question and prints the answer.
func (a *asker) ask(ctx context.Context, q question) error {
	neighbors, err := a.f.neighbors(ctx, a.collection, q)
	if err != nil {
		return fmt.Errorf("query %s: %w", q.name, err)
	}
	a.asked++
	return a.print(ctx, q, answer{Query: q.name, Neighbors: neighbors})
}

// neighbors is what a collection answers.
func (f queryFlags) neighbors(ctx context.Context, c *search.Collection, q question) ([]search.Result, error) {
	o := f.options()
	if q.sample == nil {
		return c.QueryID(ctx, q.id, o)
	}
	o.Source = q.entry.Source
	return c.QueryImage(ctx, *q.sample, o)
}

// options are those of every question.
func (f queryFlags) options() search.QueryOptions {
	return search.QueryOptions{K: f.k, MaxDistance: f.maxDistance, Exact: f.exact, IncludeSelf: f.self, Ef: f.ef}
}

// openCollection opens a collection for reading. An encoder file, where one is named, must be the one that made it.
func openCollection(path, encoderPath string) (*search.Collection, error) {
	if err := requireIndex(path); err != nil {
		return nil, err
	}
	c, err := search.Open(path, search.OpenOptions{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	if err := requireEncoder(c, encoderPath); err != nil {
		return nil, err
	}
	return c, nil
}
