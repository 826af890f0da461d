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
	"runtime"
	"slices"
	"strconv"
	"strings"

	"imgsearch/internal/kernel"
)

// errUsage is wrapped where a flag is wrong.
var errUsage = errors.New("wrong usage")

type options struct {
	peers, data, cache, out, plot string
	engines, efs                  string
	n, queries                    int
	rounds, builds                int
	m, efConstruction, ours       int
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the harness; it returns the exit code: 0, 1 on failure, 2 on wrong usage, 130 when interrupted.
func run(ctx context.Context, arguments []string, stdout, stderr io.Writer) int {
	var o options
	flags := flag.NewFlagSet("index", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.peers, "peers", "", "virtual environment `VENV` of Python with bench/peers/requirements.txt; without it only imgsearch is measured")
	flags.StringVar(&o.data, "data", os.Getenv("IMGSEARCH_CIFAR10"), "the `ARCHIVE` cifar-10-binary.tar.gz; needed once for each number of vectors")
	flags.StringVar(&o.cache, "cache", filepath.Join(os.TempDir(), "imgsearch-bench-index"), "`FOLDER` that keeps the vectors")
	flags.StringVar(&o.engines, "engines", "imgsearch,hnswlib,faiss,usearch,exact", "`NAMES` of what is measured, with commas between them; also: coder")
	flags.StringVar(&o.efs, "ef", "10,20,30,40,60,80,120,160,240,320,480,640", "values `N` of efSearch, with commas between them")
	flags.IntVar(&o.n, "n", trainImages, "number `N` of vectors; more than 50000 are of views of the images")
	flags.IntVar(&o.queries, "queries", 2000, "number `N` of queries")
	flags.IntVar(&o.rounds, "rounds", 5, "number `N` of rounds of searches")
	flags.IntVar(&o.builds, "builds", 1, "number `N` of builds of each engine")
	flags.IntVar(&o.m, "m", 16, "`M` of all graphs")
	flags.IntVar(&o.efConstruction, "ef-construction", 200, "`N`, efConstruction of all graphs")
	flags.IntVar(&o.ours, "our-ef-construction", 0, "`N`, efConstruction of imgsearch; 0: that of all")
	flags.StringVar(&o.out, "out", "", "JSON `FILE` to write with everything that was measured")
	flags.StringVar(&o.plot, "plot", "", "SVG `FILE` to write with the curves")
	if err := flags.Parse(arguments); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	h := &harness{options: o, stdout: stdout, stderr: stderr}
	err := h.check(flags.Args())
	if err == nil {
		err = h.run(ctx)
	}
	switch {
	case err == nil:
		return 0
	case ctx.Err() != nil:
		fmt.Fprintln(stderr, "bench/index: interrupted")
		return 130
	case errors.Is(err, errUsage):
		fmt.Fprintf(stderr, "bench/index: %v\n", err)
		return 2
	default:
		fmt.Fprintf(stderr, "bench/index: %v\n", err)
		return 1
	}
}

// measured is what was found of an engine.
type measured struct {
	Name   string  `json:"name"`
	Builds []built `json:"builds"`
	Curve  []point `json:"curve"`

	engine         engine
	efs            []int
	efConstruction int
	times          [][]float64 // by efSearch, by round
}

type harness struct {
	options
	stdout, stderr io.Writer
	efList         []int
	about          map[string]string
}

func (h *harness) log(format string, args ...any) { fmt.Fprintf(h.stderr, format+"\n", args...) }

func (h *harness) check(rest []string) error {
	if len(rest) > 0 {
		return fmt.Errorf("%w: argument %q: there are only flags", errUsage, rest[0])
	}
	for _, f := range []struct {
		name           string
		value, low, up int
	}{
		{"n", h.n, 100, 1 << 24}, {"queries", h.queries, 1, testImages}, {"rounds", h.rounds, 1, 1000}, {"builds", h.builds, 1, 100},
	} {
		if f.value < f.low || f.value > f.up {
			return fmt.Errorf("%w: --%s %d: must be %d to %d", errUsage, f.name, f.value, f.low, f.up)
		}
	}
	for _, field := range strings.Split(h.efs, ",") {
		ef, err := strconv.Atoi(field)
		if err != nil || ef < 1 {
			return fmt.Errorf("%w: --ef %s: must be numbers of 1 and more", errUsage, h.efs)
		}
		h.efList = append(h.efList, ef)
	}
	slices.Sort(h.efList)
	return kernel.Err()
}

func (h *harness) run(ctx context.Context) error {
	s := source{data: h.data, cache: h.cache, log: h.log}
	v, err := s.load(ctx, h.n, h.queries)
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "bench-index-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	truth, err := newTruth(v, 0)
	if err != nil {
		return err
	}
	runtime.GOMAXPROCS(1)
	var p *peers
	if h.peers != "" {
		if p, err = startPeers(ctx, h.peers, folder); err != nil {
			return err
		}
		defer p.close()
		a, err := p.ask(request{Do: "about"})
		if err != nil {
			return err
		}
		h.about = a.About
		if err := p.load(v); err != nil {
			return err
		}
	}
	all, err := h.list(v, p)
	if err != nil {
		return err
	}
	if err := h.build(ctx, all); err != nil {
		return err
	}
	if err := h.search(ctx, all, truth); err != nil {
		return err
	}
	h.report(all, v)
	return h.write(all, v)
}

// list makes the engines that were asked for and can be measured.
func (h *harness) list(v *vectors, p *peers) ([]*measured, error) {
	own := map[string]*ours{
		"imgsearch": {v: v, create: newGraph, find: searchGraph},
		"exact":     {v: v, create: newExact, find: searchExact},
		"coder":     {v: v, create: newCoder, find: searchExact},
	}
	var all []*measured
	for _, name := range strings.Split(h.engines, ",") {
		m := &measured{Name: name, efs: h.efList, efConstruction: h.efConstruction}
		switch e := own[name]; {
		case e != nil:
			m.engine = e
			if name != "imgsearch" {
				m.efs = h.efList[:1] // there is nothing to set
			} else if h.ours > 0 {
				m.efConstruction = h.ours
			}
		case !slices.Contains([]string{"hnswlib", "faiss", "usearch"}, name):
			return nil, fmt.Errorf("%w: --engines %s: no engine %q", errUsage, h.engines, name)
		case p == nil || h.about[name] == "":
			h.log("%s is not measured: it is not in the virtual environment of --peers", name)
			continue
		default:
			m.engine = &peerEngine{p: p, name: name}
		}
		m.times = make([][]float64, len(m.efs))
		all = append(all, m)
	}
	return all, nil
}

func (h *harness) build(ctx context.Context, all []*measured) error {
	for range h.builds {
		for _, m := range all {
			if err := ctx.Err(); err != nil {
				return err
			}
			b, err := m.engine.build(h.m, m.efConstruction, 1)
			if err != nil {
				return err
			}
			m.Builds = append(m.Builds, b)
			h.log("%s built: %.1f s of processor time", m.Name, b.Processor)
		}
	}
	return nil
}

func (h *harness) search(ctx context.Context, all []*measured, truth *truth) error {
	for _, m := range all {
		for _, ef := range m.efs {
			answers, err := m.engine.answers(ef)
			if err != nil {
				return err
			}
			recall, err := truth.recall(answers)
			if err != nil {
				return fmt.Errorf("%s: %w", m.Name, err)
			}
			m.Curve = append(m.Curve, point{Ef: ef, Recall: recall})
		}
	}
	for round := range h.rounds {
		for i := range h.efList {
			for j := range all {
				m := all[(j+round)%len(all)]
				if i >= len(m.efs) {
					continue
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				spent, err := m.engine.search(m.efs[i])
				if err != nil {
					return err
				}
				m.times[i] = append(m.times[i], float64(h.queries)/spent)
			}
		}
		h.log("round %d of %d", round+1, h.rounds)
	}
	for _, m := range all {
		for i := range m.Curve {
			m.Curve[i].QPS = median(m.times[i])
		}
	}
	return nil
}

// targets are the recalls at which speeds are compared.
var targets = []float64{.95, .99, .999}

func (h *harness) report(all []*measured, v *vectors) {
	w := h.stdout
	fmt.Fprintf(w, "%d vectors, %d queries, encoder %.12s; M %d, efConstruction %d", v.len(), h.queries, v.encoder, h.m, h.efConstruction)
	if h.ours > 0 {
		fmt.Fprintf(w, " (imgsearch %d)", h.ours)
	}
	fmt.Fprintf(w, "; %s, %s kernels; peers: %v\n\n", runtime.Version(), kernel.Name(), h.about)
	fmt.Fprint(w, "| engine | build, CPU-s | bytes a vector beyond it |")
	for _, t := range targets {
		fmt.Fprintf(w, " QPS at %v |", t)
	}
	fmt.Fprint(w, "\n|---|---|---|---|---|---|\n")
	answers := neighbors * h.queries
	best := make([]float64, len(targets))
	for _, m := range all {
		var builds, bytes []float64
		for _, b := range m.Builds {
			builds, bytes = append(builds, b.Processor), append(bytes, float64(b.Bytes)/float64(v.len()))
		}
		beyond := median(bytes) - 4*embeddingDim
		fmt.Fprintf(w, "| %s | %.2f | %.0f |", m.Name, median(builds), beyond)
		for i, t := range targets {
			qps, ok := qpsAt(m.Curve, t, answers)
			if _, peer := m.engine.(*peerEngine); peer {
				best[i] = max(best[i], qps)
			}
			if ok {
				fmt.Fprintf(w, " %.0f |", qps)
			} else {
				fmt.Fprint(w, " – |")
			}
		}
		fmt.Fprintln(w)
	}
	for _, m := range all {
		if m.Name != "imgsearch" || best[0] == 0 {
			continue
		}
		fmt.Fprint(w, "| imgsearch / best peer | | |")
		for i, t := range targets {
			qps, _ := qpsAt(m.Curve, t, answers)
			fmt.Fprintf(w, " %.2f |", qps/best[i])
		}
		fmt.Fprintln(w)
	}
	fmt.Fprint(w, "\n| efSearch |")
	for _, m := range all {
		fmt.Fprintf(w, " %s: recall | QPS |", m.Name)
	}
	fmt.Fprint(w, "\n|---|", strings.Repeat("---|---|", len(all)), "\n")
	for i, ef := range h.efList {
		fmt.Fprintf(w, "| %d |", ef)
		for _, m := range all {
			if i < len(m.Curve) {
				fmt.Fprintf(w, " %.4f | %.0f |", m.Curve[i].Recall, m.Curve[i].QPS)
			} else {
				fmt.Fprint(w, " | |")
			}
		}
		fmt.Fprintln(w)
	}
}

// record is the file of --out.
type record struct {
	Vectors        int               `json:"vectors"`
	Queries        int               `json:"queries"`
	Encoder        string            `json:"encoder"`
	M              int               `json:"m"`
	EfConstruction int               `json:"ef_construction"`
	Ours           int               `json:"our_ef_construction,omitempty"`
	Rounds         int               `json:"rounds"`
	Go             string            `json:"go"`
	Kernel         string            `json:"kernel"`
	Peers          map[string]string `json:"peers"`
	Engines        []*measured       `json:"engines"`
}

func (h *harness) write(all []*measured, v *vectors) error {
	if h.out != "" {
		data, err := json.MarshalIndent(record{
			v.len(), h.queries, v.encoder, h.m, h.efConstruction, h.ours, h.rounds, runtime.Version(), kernel.Name(), h.about, all,
		}, "", "\t")
		if err != nil {
			return err
		}
		if err := os.WriteFile(h.out, append(data, '\n'), 0o644); err != nil {
			return err
		}
	}
	if h.plot == "" {
		return nil
	}
	title := fmt.Sprintf("%d embeddings of 64 values, M %d, efConstruction %d", v.len(), h.m, h.efConstruction)
	return os.WriteFile(h.plot, plot(title, all, neighbors*h.queries), 0o644)
}
