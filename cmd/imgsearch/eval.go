package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"imgsearch/dataset"
	"imgsearch/evaluation"
	"imgsearch/search"
)

type evalFlags struct {
	index     string
	queries   []string
	limit     int
	exact     bool
	baselines baselines
	seed      uint64
	threads   int
	json      bool
}

func newEval(s *streams) *cobra.Command {
	var f evalFlags
	cmd := &cobra.Command{
		Use:   "eval --index FILE [--queries D]",
		Short: "Measure how well neighbours share their label",
		Long: `Measure how well the neighbours in a collection share the query's label: purity@1, 5, 10 and 100, kNN accuracy
(k 200, temperature 0.1), each class by itself, who is whose neighbour, and how many of the true neighbours the graph
finds (ANN recall). The labels are used here and nowhere else.

With --queries the images of D are embedded and asked for; without, each indexed image is asked for its neighbours,
itself left out.`,
		Example: `  imgsearch eval --index cifar.imgsearch --queries cifar10:test --baselines
  imgsearch eval --index photos.imgsearch --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runEval(cmd.Context(), s, f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.index, "index", "", "collection `FILE` to measure: the gallery")
	flags.StringArrayVar(&f.queries, "queries", nil, "data set `D` to ask for: the query set; may be repeated")
	flags.IntVar(&f.limit, "limit", 0, "ask for at most `N` queries, drawn by --seed (default: all)")
	flags.BoolVar(&f.exact, "exact", false, "let exact search answer instead of the graph")
	flags.Var(&f.baselines, "baselines", "put raw pixels, PCA and an untrained encoder beside it; --baselines=all: features of patches too, which take minutes")
	flags.Lookup("baselines").NoOptDefVal = string(pixelBaselines)
	flags.Uint64Var(&f.seed, "seed", 1, "seed `N` of the bootstrap, of --limit and of the untrained encoder")
	flags.IntVar(&f.threads, "threads", 0, "use `N` threads (default: all cores)")
	flags.BoolVar(&f.json, "json", false, "print one JSON object")
	return cmd
}

func runEval(ctx context.Context, s *streams, f evalFlags) error {
	if err := requireFlag("index", f.index, "photos.imgsearch"); err != nil {
		return err
	}
	for name, n := range map[string]int{"limit": f.limit, "threads": f.threads} {
		if n < 0 {
			return usagef("--%s %d: must not be negative", name, n)
		}
	}
	c, err := openCollection(f.index, "")
	if err != nil {
		return err
	}
	defer c.Close()
	report, skipped, err := evaluate(ctx, s, c, f)
	if err != nil {
		return err
	}
	if f.json {
		err = printJSON(s.out, report)
	} else {
		err = evaluation.WriteText(s.out, report, s.width)
	}
	if err == nil && skipped > 0 {
		return incompleteError{skipped, "image"}
	}
	return err
}

// evaluate runs the measurement with its progress on stderr and returns how many query images were left out.
func evaluate(ctx context.Context, s *streams, c *search.Collection, f evalFlags) (*evaluation.Report, int, error) {
	skipped := 0
	problem := func(p dataset.Problem) {
		fmt.Fprintf(s.err, "skipped %s\n", oneLine(p))
		skipped++
	}
	o := search.EvaluateOptions{
		Limit: f.limit, Exact: f.exact, Baselines: f.baselines != noBaselines,
		PatchBaselines: f.baselines == allBaselines, Seed: f.seed, Threads: f.threads, OnProblem: problem,
	}
	if len(f.queries) > 0 {
		ds, err := dataset.OpenAll(ctx, f.queries, dataset.Options{})
		if err != nil {
			return nil, 0, err
		}
		defer ds.Close()
		skipped += reportProblems(s, ds)
		o.Queries = ds
	}
	bars := newStages(s)
	defer bars.finish()
	o.OnProgress = bars.show
	report, err := c.Evaluate(ctx, o)
	return report, skipped, err
}
