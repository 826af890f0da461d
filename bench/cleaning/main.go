package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// options are the flags of all measurements.
type options struct {
	data, index, pairs, out string
	seed                    uint64
	threads                 int
}

// run is the command; it returns the exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
func run(ctx context.Context, arguments []string, stdout, stderr io.Writer) int {
	measurements := map[string]func(context.Context, options, io.Writer) error{
		"pairs": findPairs, "rank": rank, "noise": noise,
	}
	if len(arguments) == 0 || measurements[arguments[0]] == nil {
		fmt.Fprintln(stderr, "cleaning: say what to measure: pairs, rank or noise")
		return 2
	}
	var o options
	flags := flag.NewFlagSet("cleaning "+arguments[0], flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.data, "data", "cifar10", "data set `D`: all of CIFAR-10")
	flags.StringVar(&o.index, "index", "", "collection `FILE` of the training part")
	flags.StringVar(&o.pairs, "pairs", "", "`FILE` of pairs, made by pairs, or the list of ciFAIR")
	flags.StringVar(&o.out, "out", "", "`FILE` to write")
	flags.Uint64Var(&o.seed, "seed", 1, "seed `N` of what is drawn")
	flags.IntVar(&o.threads, "threads", 0, "use `N` threads (default: all cores)")
	if err := flags.Parse(arguments[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	switch err := measurements[arguments[0]](ctx, o, stdout); {
	case err == nil:
		return 0
	case ctx.Err() != nil:
		fmt.Fprintln(stderr, "cleaning: interrupted")
		return 130
	default:
		fmt.Fprintf(stderr, "cleaning: %v\n", err)
		return 1
	}
}
