package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"imgsearch/internal/usage"
	"imgsearch/training"
)

type options struct {
	data, out string
	rows      string
	steps     int
	seed      uint64
	threads   int
	precision string
	list      bool
	table     bool
	keep      bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "ablate:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, arguments []string, stdout, stderr io.Writer) error {
	var o options
	flags := flag.NewFlagSet("ablate", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.data, "data", "cifar10", "data set `D`; its training images are used")
	flags.StringVar(&o.out, "out", "", "folder `DIR` for records and measures")
	flags.StringVar(&o.rows, "rows", "", "comma-separated names, or beginnings of names, of the `ROWS` to run; default all")
	flags.IntVar(&o.steps, "steps", 1200, "the arithmetic of `N` steps of the reference is what each row may spend")
	flags.Uint64Var(&o.seed, "seed", 1, "seed `N` of the training runs")
	flags.IntVar(&o.threads, "threads", 0, "use `N` threads; the results do not depend on it (default all cores)")
	flags.StringVar(&o.precision, "precision", "", "precision `P` of the convolutions, as that of imgsearch train")
	flags.BoolVar(&o.list, "list", false, "list the rows and stop")
	flags.BoolVar(&o.table, "table", false, "print what DIR holds as a table in Markdown and stop")
	flags.BoolVar(&o.keep, "keep", false, "keep the encoder files")
	if err := flags.Parse(arguments); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%q: no arguments are taken", flags.Arg(0))
	}
	rows, err := chosen(o.rows)
	if err != nil {
		return err
	}
	if o.list {
		w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
		for _, r := range rows {
			fmt.Fprintf(w, "%s\t%s\n", r.name, r.about)
		}
		return w.Flush()
	}
	if o.out == "" {
		return errors.New("--out is required")
	}
	if o.table {
		return writeTable(stdout, o.out)
	}
	if o.steps < 1 {
		return fmt.Errorf("--steps %d: must be at least 1", o.steps)
	}
	if err := os.MkdirAll(o.out, 0o777); err != nil {
		return err
	}
	images, err := load(ctx, o.data)
	if err != nil {
		return err
	}
	defer images.close()
	for _, r := range rows {
		m, err := images.measured(ctx, r, o)
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		fmt.Fprintf(stdout, "%-34s seed %d  %6d steps  %5.1f passes  kNN accuracy %.4f  purity@1 %.4f  purity@10 %.4f  %.0f s\n",
			m.Row, m.Seed, m.Steps, m.Passes, m.KNNAccuracy, m.Purity1, m.Purity10, m.Seconds)
	}
	return nil
}

// chosen returns the rows that are asked for, in the order of the table.
func chosen(names string) ([]row, error) {
	if names == "" {
		return rows, nil
	}
	var out []row
	for _, name := range strings.Split(names, ",") {
		found := false
		for _, r := range rows {
			if strings.HasPrefix(r.name, name) {
				found = true
				if !slices.ContainsFunc(out, func(o row) bool { return o.name == r.name }) {
					out = append(out, r)
				}
			}
		}
		if !found {
			return nil, fmt.Errorf("--rows %s: there is no such row; --list shows them", name)
		}
	}
	return out, nil
}

// measures is what is written of a row.
type measures struct {
	Row   string `json:"row"`
	About string `json:"about"`
	Seed  uint64 `json:"seed"`
	// Budget is the number of steps of the reference whose arithmetic was spent, GFLOP that arithmetic, counted by the
	// definition.
	Budget int     `json:"budget"`
	GFLOP  float64 `json:"gflop"`
	// Steps of Batch anchors, Passes over the training images.
	Steps  int     `json:"steps"`
	Batch  int     `json:"batch"`
	Passes float64 `json:"passes"`
	// Seconds by the clock and of processor time that the training took.
	Seconds          float64  `json:"seconds"`
	ProcessorSeconds float64  `json:"processor_seconds"`
	KNNAccuracy      float64  `json:"knn_accuracy"`
	Purity1          float64  `json:"purity_1"`
	Purity10         float64  `json:"purity_10"`
	Loss             float64  `json:"loss"`
	Warnings         []string `json:"warnings,omitempty"`
}

// measured returns the measures of a row, which are made if they are not there yet.
func (im *images) measured(ctx context.Context, r row, o options) (measures, error) {
	name := fmt.Sprintf("%s-%d-s%d", strings.ReplaceAll(r.name, "/", "."), o.steps, o.seed)
	path := filepath.Join(o.out, name+".json")
	if data, err := os.ReadFile(path); err == nil {
		var m measures
		if err := json.Unmarshal(data, &m); err != nil {
			return m, fmt.Errorf("read %s: %w", path, err)
		}
		return m, nil
	}
	options, err := r.options(o)
	if err != nil {
		return measures{}, err
	}
	steps, gflop, err := budget(options, r.cost, o)
	if err != nil {
		return measures{}, err
	}
	options.Steps, options.Epochs, options.Minutes = steps, 0, 0
	options.Data, options.HeldBack = im.train, -1
	options.Out, options.Overwrite = filepath.Join(o.out, name+".encoder"), true
	before, begun := usage.ProcessorTime(), time.Now()
	result, err := training.Run(ctx, options)
	if err != nil {
		return measures{}, err
	}
	m := measures{
		Row: r.name, About: r.about, Seed: o.seed, Budget: o.steps, GFLOP: gflop, Steps: result.Steps, Batch: result.Batch,
		Passes: result.Epochs, Seconds: time.Since(begun).Seconds(), ProcessorSeconds: (usage.ProcessorTime() - before).Seconds(),
		Loss: result.Loss, Warnings: result.Warnings,
	}
	scores, err := im.scores(ctx, result.Encoder)
	if err != nil {
		return m, err
	}
	m.KNNAccuracy, m.Purity1, m.Purity10 = float64(scores.KNNAccuracy), scores.Purity[1], scores.Purity[10]
	if err := thin(result.Record); err != nil {
		return m, err
	}
	if !o.keep {
		if err := os.Remove(result.Path); err != nil {
			return m, err
		}
	}
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return m, err
	}
	return m, os.WriteFile(path, append(data, '\n'), 0o666)
}
