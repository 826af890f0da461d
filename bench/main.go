package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"imgsearch/internal/kernel"
)

// The rows that are not made of work for workers, and one that is shown in another unit.
const (
	latencyRow = "latency"
	coldRow    = "cold"
	programRow = "program"
)

type options struct {
	peers, data, out string
	rows             string
	threads          string
	rounds           int
	seed             uint64
	quick            bool
	byProcessor      bool
}

func main() {
	if threads := os.Getenv(workerVariable); threads != "" {
		if err := runWorker(threads); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the harness; it returns the exit code: 0, 1 on failure, 2 on wrong usage, 3 where PyTorch could not do all
// that it was asked for, 130 when interrupted.
func run(ctx context.Context, arguments []string, stdout, stderr io.Writer) int {
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.peers, "peers", "", "virtual environment `VENV` of Python with bench/peers/requirements.txt; without it only imgsearch is measured")
	flags.StringVar(&o.data, "data", "", "data set `D`, such as cifar-10-binary.tar.gz or cifar10; without it inference is of random images, and the whole program trains on the built-in sample")
	flags.StringVar(&o.out, "out", "", "JSON `FILE` to write with everything that was measured")
	flags.StringVar(&o.rows, "rows", "", "measure only these rows, `NAMES` with commas between them; \"list\" prints all")
	flags.StringVar(&o.threads, "threads", defaultThreads(), "numbers `N` of threads, with commas between them")
	flags.IntVar(&o.rounds, "rounds", 7, "number `N` of rounds, in which each side takes its turn")
	flags.Uint64Var(&o.seed, "seed", 1, "seed `N` of weights and input")
	flags.BoolVar(&o.quick, "quick", false, "try it out: few rounds, fewer images, no torch.compile")
	flags.BoolVar(&o.byProcessor, "processor-time", false, "time turns by the time of processors: for a machine that does other work as well, with --threads 1")
	if err := flags.Parse(arguments); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "bench: argument %q: there are only flags\n", flags.Arg(0))
		return 2
	}
	set := map[string]string{}
	flags.VisitAll(func(f *flag.Flag) { set[f.Name] = f.Value.String() })
	delete(set, "peers") // a path of this machine; the record tells what is in it
	delete(set, "out")
	h := &harness{options: o, flags: set, stdout: stdout, stderr: stderr}
	switch err := h.run(ctx); {
	case err == nil:
		return 0
	case ctx.Err() != nil:
		fmt.Fprintln(stderr, "bench: interrupted")
		return 130
	case errors.Is(err, errUsage):
		fmt.Fprintf(stderr, "bench: %v\n", err)
		return 2
	case errors.Is(err, errIncomplete):
		fmt.Fprintf(stderr, "bench: %v\n", err)
		return 3
	default:
		fmt.Fprintf(stderr, "bench: %v\n", err)
		return 1
	}
}

// errUsage is wrapped where a flag is wrong.
var errUsage = errors.New("wrong usage")

// errIncomplete is wrapped where there are tables but something is missing in them.
var errIncomplete = errors.New("incomplete")

// defaultThreads is one and two threads where there are two processors.
func defaultThreads() string {
	if runtime.NumCPU() < 2 {
		return "1"
	}
	return "1,2"
}

// harness is one run.
type harness struct {
	options
	flags          map[string]string
	stdout, stderr io.Writer
}

func (h *harness) log(format string, args ...any) { fmt.Fprintf(h.stderr, format+"\n", args...) }

func (h *harness) run(ctx context.Context) error {
	begun := time.Now()
	threads, err := parseThreads(h.threads)
	if err != nil {
		return err
	}
	if h.rounds < 1 || h.rounds > 1000 {
		return fmt.Errorf("%w: --rounds %d: must be 1 to 1000", errUsage, h.rounds)
	}
	if h.byProcessor && (len(threads) != 1 || threads[0] != 1) {
		return fmt.Errorf("%w: --processor-time with --threads %s: only with 1", errUsage, h.threads)
	}
	if err := kernel.Err(); err != nil {
		return err
	}
	images := 10_000
	if h.quick {
		h.rounds, images = min(h.rounds, 2), 1000
	}
	folder, err := os.MkdirTemp("", "imgsearch-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	if h.rows == "list" {
		images = 1
		h.data = ""
	}
	p := plan{folder: folder, seed: h.seed, rounds: h.rounds, quick: h.quick}
	if p.pixels, p.source, err = loadPixels(ctx, h.data, images, h.seed); err != nil {
		return err
	}
	rows, err := makeRows(p)
	if err != nil {
		return err
	}
	if h.rows == "list" {
		h.list(rows)
		return nil
	}
	wanted, err := selection(h.rows, rows)
	if err != nil {
		return err
	}
	python := ""
	if h.peers == "" {
		fmt.Fprint(h.stderr, peerHelp)
	} else if python, err = pythonOf(h.peers); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	w, err := newWorkers(folder, python)
	if err != nil {
		return err
	}
	defer w.close()
	module, err := moduleFolder()
	if err != nil {
		return fmt.Errorf("find the source: %w", err)
	}
	r := &record{Version: recordVersion, Time: begun.UTC().Truncate(time.Second), Machine: thisMachine(), Commit: commitOf(module), Flags: h.flags,
		ByProcessor: h.byProcessor}
	if r.Workers, err = w.about(ctx, threads[0]); err != nil {
		return err
	}
	m := &measurer{workers: w, threads: threads, byProcessor: h.byProcessor, log: h.log}
	if err := h.measure(ctx, m, r, rows, wanted, module, folder); err != nil {
		return err
	}
	r.Idle, r.Undisturbed, r.Seconds = w.idle(), r.undisturbed(), time.Since(begun).Seconds()
	if h.peers == "" {
		r.Skipped = append(r.Skipped, "PyTorch: no --peers")
	}
	r.writeTables(h.stdout)
	if h.out != "" {
		if err := r.write(h.out); err != nil {
			return err
		}
	}
	for _, row := range r.Rows {
		if len(row.Notes) > 0 {
			return fmt.Errorf("%w: the tables say what PyTorch could not do", errIncomplete)
		}
	}
	return nil
}

// measure measures the wanted rows.
func (h *harness) measure(ctx context.Context, m *measurer, r *record, rows []row, wanted map[string]bool, module, folder string) error {
	for _, row := range rows {
		if !wanted[row.name] {
			continue
		}
		if row.isa == isaAVX2 && kernel.Name() != "avx512" {
			r.Skipped = append(r.Skipped, row.title+": the kernels are "+kernel.Name()+" anyway")
			continue
		}
		h.log("%s", row.title)
		result, err := m.measure(ctx, row)
		if err != nil {
			return err
		}
		r.Rows = append(r.Rows, result)
		for _, n := range m.threads {
			if c, ok := result.compare(n); ok {
				r.Comparisons = append(r.Comparisons, c)
				h.log("  %s: imgsearch %.0f images/s, PyTorch %.0f (%s), ratio %.2f, by processor time %.2f",
					threadsText(n), c.Ours, c.Peer, c.Variant, c.Ratio, c.ProcessorRatio)
			}
		}
	}
	if !wanted[coldRow] && !wanted[programRow] {
		return nil
	}
	p, err := build(ctx, module, folder)
	if err != nil {
		return err
	}
	named := func(name string) row { return rows[slices.IndexFunc(rows, func(r row) bool { return r.name == name })] }
	if wanted[coldRow] {
		h.log("whole processes")
		if r.Cold, err = m.measureCold(ctx, p, named(latencyRow), h.rounds); err != nil {
			return err
		}
	}
	if wanted[programRow] {
		h.log("imgsearch train")
		if r.Programs, err = m.measureProgram(ctx, p, named("default"), cmp.Or(h.data, "sample"), h.quick); err != nil {
			return err
		}
	}
	return nil
}

// names returns the names of all rows.
func names(rows []row) []string {
	var out []string
	for _, r := range rows {
		out = append(out, r.name)
	}
	return append(out, coldRow, programRow)
}

// list prints all rows.
func (h *harness) list(rows []row) {
	for _, r := range rows {
		fmt.Fprintf(h.stdout, "%-16s %s\n", r.name, r.title)
	}
	fmt.Fprintf(h.stdout, "%-16s %s\n", coldRow, "imgsearch query, from the start of the process to its end")
	fmt.Fprintf(h.stdout, "%-16s %s\n", programRow, "imgsearch train against its bare step, and its memory")
}

// selection reads the flag --rows.
func selection(flag string, rows []row) (map[string]bool, error) {
	all := names(rows)
	chosen := all
	if flag != "" {
		chosen = strings.Split(flag, ",")
	}
	out := map[string]bool{}
	for _, name := range chosen {
		if !slices.Contains(all, name) {
			return nil, fmt.Errorf("%w: --rows %s: must be some of %s", errUsage, name, strings.Join(all, ","))
		}
		out[name] = true
	}
	return out, nil
}

// parseThreads reads the flag --threads.
func parseThreads(flag string) ([]int, error) {
	var out []int
	for _, text := range strings.Split(flag, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 1024 {
			return nil, fmt.Errorf("%w: --threads %s: must be numbers from 1 to 1024 with commas between them", errUsage, flag)
		}
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out, nil
}
