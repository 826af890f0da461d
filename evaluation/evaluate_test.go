package evaluation

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"imgsearch/dataset"
	"imgsearch/index"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// scripted is an index whose answers a test may spoil.
type scripted struct {
	gallery Set
	metric  index.Metric
	spoil   func([]index.Neighbor) []index.Neighbor
}

func (s scripted) Metric() index.Metric              { return s.metric }
func (s scripted) Dim() int                          { return s.gallery.Dim }
func (s scripted) Len() int                          { return s.gallery.Len() }
func (s scripted) Add([]dataset.ID, []float32) error { return errors.ErrUnsupported }
func (s scripted) Remove(...dataset.ID) error        { return errors.ErrUnsupported }
func (s scripted) Search(q []float32, k int) ([]index.Neighbor, error) {
	if k < 1 {
		return nil, index.ErrK
	}
	found := naive(Set{Dim: len(q), Embeddings: q}, s.gallery, s.metric, k, false)[0]
	if s.spoil != nil {
		found = s.spoil(found)
	}
	return found, nil
}

// line is a set on a line: embeddings of dim 1 with L2, so that neighbours can be read off.
func line(labels string, places ...float32) Set {
	s := Set{Dim: 1, Embeddings: places, IDs: make([]dataset.ID, len(places)), Labels: make([]dataset.Label, len(places))}
	for i := range places {
		s.IDs[i] = dataset.ID(i)
		if labels[i] != '-' {
			s.Labels[i] = dataset.Label(labels[i : i+1])
		}
	}
	return s
}

func TestEvaluateByHand(t *testing.T) {
	// Distances on a line; all cosines are 1, so the vote counts heads.
	gallery := line("aabbb", 1, 2, 4, 5, 6)
	queries := line("ab", 3.1, 5.2)
	// From 3.1: 4b 2a 5b 1a 6b; from 5.2: 5b 6b 4b 2a 1a.
	o := Options{Metric: index.L2, K: []int{1, 2, 4, 100}, Vote: 3, MatrixK: 2}
	for name, idx := range map[string]index.Index{"exact": nil, "index": scripted{gallery: gallery, metric: index.L2}} {
		o.Index = idx
		r, err := Evaluate(context.Background(), queries, gallery, o)
		if err != nil {
			t.Fatal(err)
		}
		want := AtK{1: (0. + 1) / 2, 2: (.5 + 1) / 2, 4: (.5 + .75) / 2, 100: (.4 + .6) / 2}
		if diff := cmp.Diff(want, r.Purity, cmpopts.EquateApprox(0, 1e-6)); diff != "" {
			t.Errorf("%s: purity (-want +got):\n%s", name, diff)
		}
		if r.KNNAccuracy != 0.5 { // the three nearest of the first are b, a, b
			t.Errorf("%s: kNN accuracy %v", name, r.KNNAccuracy)
		}
		if math.Abs(float64(r.Chance)-(.4+.6)/2) > 1e-12 {
			t.Errorf("%s: chance %v", name, r.Chance)
		}
		if diff := cmp.Diff([][]float64{{.5, .5}, {0, 1}}, r.Matrix.Shares); diff != "" {
			t.Errorf("%s: matrix (-want +got):\n%s", name, diff)
		}
		if r.PerClass[0].KNNAccuracy != 0 || r.PerClass[1].KNNAccuracy != 1 || r.PerClass[0].Purity[2] != .5 {
			t.Errorf("%s: per class %+v", name, r.PerClass)
		}
		if diff := cmp.Diff([]LabelShare{{"b", .5}}, r.PerClass[0].TakenFor); diff != "" {
			t.Errorf("%s: taken for (-want +got):\n%s", name, diff)
		}
		if r.Engine != name {
			t.Errorf("engine %q", r.Engine)
		}
		if idx != nil && r.ANNRecall[10] != 1 {
			t.Errorf("recall of an exact index: %v", r.ANNRecall)
		}
	}
}

func TestEvaluateLeavesTheQueryOut(t *testing.T) {
	gallery := line("aab", 0, 1, 3)
	for _, idx := range []index.Index{nil, scripted{gallery: gallery, metric: index.L2}} {
		r, err := Evaluate(context.Background(), gallery, gallery, Options{Index: idx, Metric: index.L2, LeaveOneOut: true, K: []int{1, 2, 5}})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(AtK{1: 2. / 3, 2: 1. / 3, 5: 1. / 3}, r.Purity, cmpopts.EquateApprox(0, 1e-6)); diff != "" {
			t.Errorf("purity (-want +got):\n%s", diff)
		}
		if math.Abs(float64(r.Chance)-(.5+.5+0)/3) > 1e-12 {
			t.Errorf("chance %v", r.Chance)
		}
		if idx != nil && r.ANNRecall[10] != 1 {
			t.Errorf("recall %v", r.ANNRecall)
		}
	}
}

func TestEvaluateLeavesOutWhatHasNoLabel(t *testing.T) {
	gallery := line("a-b---b", 0, 1, 2, 3, 4, 5, 6)
	queries := line("a-b", 1.1, 1.2, 4.1)
	for _, leaveOneOut := range []bool{false, true} {
		var reports []*Report
		for _, idx := range []index.Index{nil, scripted{gallery: gallery, metric: index.L2}} {
			r, err := Evaluate(context.Background(), queries, gallery, Options{Index: idx, Metric: index.L2, K: []int{1, 2}, Vote: 2, LeaveOneOut: leaveOneOut})
			if err != nil {
				t.Fatal(err)
			}
			if r.UnlabelledQueries != 1 || r.UnlabelledGallery != 4 || r.Queries != 3 || r.Gallery != 7 {
				t.Errorf("counts %+v", r)
			}
			r.Engine, r.ANNRecall, r.Intervals.ANNRecall = "", nil, nil
			reports = append(reports, r)
		}
		if diff := cmp.Diff(reports[0], reports[1]); diff != "" {
			t.Errorf("exact search and an exact index differ:\n%s", diff)
		}
		if !leaveOneOut { // 1.1: 2b, 0a; 4.1: 6b, 2b
			if diff := cmp.Diff(AtK{1: .5, 2: .75}, reports[0].Purity); diff != "" {
				t.Errorf("purity (-want +got):\n%s", diff)
			}
		}
	}
}

func TestEvaluateWithoutLabels(t *testing.T) {
	gallery := line("--", 0, 1)
	_, err := Evaluate(context.Background(), gallery, gallery, Options{Metric: index.L2})
	if !errors.Is(err, ErrNoLabels) {
		t.Errorf("exact: %v", err)
	}
	lonely := line("a-", 0, 1)
	if _, err := Evaluate(context.Background(), lonely, lonely, Options{Metric: index.L2, LeaveOneOut: true}); !errors.Is(err, ErrNoLabels) {
		t.Errorf("nothing but the query has a label: %v", err)
	}
	r, err := Evaluate(context.Background(), gallery, gallery, Options{Index: scripted{gallery: gallery, metric: index.L2}})
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back map[string]any
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"purity", "knn_accuracy", "chance"} {
		if v, ok := back[name]; !ok || v != nil {
			t.Errorf("%s is %v, want null", name, v)
		}
	}
	var report Report
	if err := json.Unmarshal(data, &report); err != nil || !math.IsNaN(float64(report.KNNAccuracy)) || report.ANNRecall[10] != 1 {
		t.Errorf("read back: %+v, %v", report, err)
	}
	var text bytes.Buffer
	if err := WriteText(&text, r, 0); err != nil || bytes.Contains(text.Bytes(), []byte("NaN")) {
		t.Errorf("%v\n%s", err, &text)
	}
}

func TestEvaluateRecall(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	gallery := randomSet(rng, 400, 6)
	half := scripted{gallery: gallery, metric: index.Cosine, spoil: func(n []index.Neighbor) []index.Neighbor {
		return n[len(n)/2:] // the nearer half is missed
	}}
	r, err := Evaluate(context.Background(), randomSet(rng, 50, 6), gallery, Options{Index: half, RecallK: []int{10, 20}})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []int{10, 20} {
		if math.Abs(r.ANNRecall[k]-.5) > .05 { // equal embeddings may stand for missed ones
			t.Errorf("recall@%d %v", k, r.ANNRecall[k])
		}
	}
	if r.Metric != index.Cosine {
		t.Errorf("metric %q is not the index's", r.Metric)
	}
	// Every embedding twice: an index that prefers the other twin at the border misses nothing.
	twins := Set{Dim: 6, IDs: make([]dataset.ID, 200)}
	for i := range 100 {
		twins.Embeddings = append(twins.Embeddings, gallery.Row(i*4+1)...)
	}
	twins.Embeddings = append(twins.Embeddings, twins.Embeddings...)
	for i := range twins.IDs {
		twins.IDs[i] = dataset.ID(i)
	}
	for _, metric := range []index.Metric{index.L2, index.Cosine} {
		other := scripted{gallery: twins, metric: metric, spoil: func(n []index.Neighbor) []index.Neighbor {
			n[len(n)-1].ID = (n[len(n)-1].ID + 100) % 200
			return n
		}}
		r, err = Evaluate(context.Background(), randomSet(rng, 50, 6), twins, Options{Index: other, RecallK: []int{1, 5}})
		if err != nil {
			t.Fatal(err)
		}
		if r.ANNRecall[1] != 1 || r.ANNRecall[5] != 1 {
			t.Errorf("%s: recall among twins %v", metric, r.ANNRecall)
		}
	}
}

func TestEvaluateErrors(t *testing.T) {
	gallery := line("aab", 0, 1, 3)
	stranger := scripted{gallery: gallery, metric: index.L2, spoil: func(n []index.Neighbor) []index.Neighbor {
		n[0].ID = 99
		return n
	}}
	for name, test := range map[string]struct {
		o    Options
		want error
	}{
		"an id that is not in the gallery": {Options{Index: stranger}, ErrUnknownNeighbor},
		"another metric than the index":    {Options{Index: stranger, Metric: index.Cosine}, ErrOption},
		"K of 0":                           {Options{Metric: index.L2, K: []int{0}}, ErrOption},
		"no K":                             {Options{Metric: index.L2, K: []int{}}, ErrOption},
		"negative vote":                    {Options{Metric: index.L2, Vote: -1}, ErrOption},
		"negative temperature":             {Options{Metric: index.L2, Temperature: -1}, ErrOption},
		"NaN temperature":                  {Options{Metric: index.L2, Temperature: math.NaN()}, ErrOption},
		"confidence of 1":                  {Options{Metric: index.L2, Confidence: 1}, ErrOption},
		"negative resamples":               {Options{Metric: index.L2, Resamples: -1}, ErrOption},
		"negative matrix":                  {Options{Metric: index.L2, MatrixK: -1}, ErrOption},
		"unknown metric":                   {Options{Metric: "manhattan"}, ErrOption},
		"an index of something else":       {Options{Index: scripted{gallery: line("a", 1), metric: index.L2}}, ErrSet},
	} {
		if _, err := Evaluate(context.Background(), gallery, gallery, test.o); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, idx := range []index.Index{nil, scripted{gallery: gallery, metric: index.L2}} {
		if _, err := Evaluate(ctx, gallery, gallery, Options{Index: idx, Metric: index.L2}); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	}
}

func TestEvaluateDoesNotDependOnThreads(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	gallery, queries := randomSet(rng, 1200, 8), randomSet(rng, 150, 8)
	gallery.Labels[5] = ""
	for _, idx := range []index.Index{nil, scripted{gallery: gallery, metric: index.Cosine}} {
		var reports []*Report
		for _, threads := range []int{1, 3} {
			last := 0
			o := Options{Index: idx, Threads: threads, Seed: 5, OnProgress: func(done, total int) {
				if done > total {
					t.Errorf("%d of %d done", done, total)
				}
				last = total - done
			}}
			r, err := Evaluate(context.Background(), queries, gallery, o)
			if err != nil {
				t.Fatal(err)
			}
			if last != 0 {
				t.Errorf("progress ended %d before the end", last)
			}
			reports = append(reports, r)
		}
		if !reflect.DeepEqual(reports[0], reports[1]) {
			t.Error("one thread and three threads differ")
		}
	}
}

func TestVoteWeighsByCosine(t *testing.T) {
	// One neighbour of class b in the query's direction outweighs two of class a at right angles, though L2 puts those nearer.
	gallery := Set{Dim: 2, Embeddings: []float32{0, .1, 0, .11, 3, 0}, IDs: []dataset.ID{0, 1, 2}, Labels: []dataset.Label{"a", "a", "b"}}
	queries := Set{Dim: 2, Embeddings: []float32{1, 0}, Labels: []dataset.Label{"b"}}
	r, err := Evaluate(context.Background(), queries, gallery, Options{Metric: index.L2, K: []int{1}})
	if err != nil {
		t.Fatal(err)
	}
	if r.Purity[1] != 0 || r.KNNAccuracy != 1 {
		t.Errorf("purity@1 %v, kNN accuracy %v", r.Purity[1], r.KNNAccuracy)
	}
	if r, err = Evaluate(context.Background(), queries, gallery, Options{Metric: index.L2, K: []int{1}, Temperature: 1e-4}); err != nil || r.KNNAccuracy != 1 {
		t.Errorf("at a low temperature: %v, %v", r.KNNAccuracy, err)
	}
}

func TestBootstrapCoversTheMean(t *testing.T) {
	// The interval of a mean of n fair coins has half width 1.96*0.5/sqrt(n).
	rng := rand.New(rand.NewPCG(1, 1))
	const n = 4000
	values := make([]float32, 2*n)
	for i := range n {
		values[2*i] = float32(rng.IntN(2))
		values[2*i+1] = 0.25
	}
	o, err := Options{Seed: 3}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	in := bootstrap(values, 2, o)
	mean := columnMeans(values, 2)
	half := 1.96 * 0.5 / math.Sqrt(n)
	if math.Abs(in[0][0]-(mean[0]-half)) > half/6 || math.Abs(in[0][1]-(mean[0]+half)) > half/6 {
		t.Errorf("interval %v around %v, want half width %v", in[0], mean[0], half)
	}
	if in[1] != (Interval{0.25, 0.25}) {
		t.Errorf("interval %v of a constant", in[1])
	}
}

// exampleReport is a report of fixed numbers with all its parts.
func exampleReport() *Report {
	labels := []dataset.Label{"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"}
	in := func(v, half float64) Interval { return Interval{v - half, v + half} }
	r := &Report{
		Queries: 10000, Gallery: 50000, Engine: "hnsw", Chance: 0.1,
		Scores: Scores{
			Dim: 64, Metric: index.Cosine, Purity: AtK{1: .634, 5: .591, 10: .565, 100: .488}, KNNAccuracy: .6865, ANNRecall: AtK{10: .9931},
			Intervals: Intervals{
				Confidence: .95, Resamples: 1000,
				Purity:    ByK[Interval]{1: in(.634, .009), 5: in(.591, .007), 10: in(.565, .007), 100: in(.488, .006)},
				ANNRecall: ByK[Interval]{10: in(.9931, .0006)},
			},
		},
		Matrix: &Matrix{K: 10, Labels: labels},
	}
	knn := in(.6865, .0092)
	r.Intervals.KNNAccuracy = &knn
	rng := rand.New(rand.NewPCG(2, 2))
	for i, l := range labels {
		row := make([]float64, len(labels))
		left := 1.0
		row[i] = math.Round(400+300*rng.Float64()) / 1000
		left -= row[i]
		for j := range row {
			if j != i {
				v := left * rng.Float64() / 2
				row[j] = v
				left -= v
			}
		}
		row[i] += left
		r.Matrix.Shares = append(r.Matrix.Shares, row)
		r.PerClass = append(r.PerClass, Class{
			Label: l, Queries: 1000, Gallery: 5000, KNNAccuracy: row[i] + .1,
			Purity:   AtK{1: row[i] + .08, 5: row[i] + .03, 10: row[i], 100: row[i] - .08},
			TakenFor: []LabelShare{{labels[(i+1)%10], row[(i+1)%10]}, {labels[(i+3)%10], row[(i+3)%10]}, {labels[(i+4)%10], row[(i+4)%10]}},
		})
	}
	r.AddBaseline("raw pixels", &Report{Scores: Scores{Dim: 3072, Metric: index.Cosine, Purity: AtK{1: .41, 5: .36, 10: .334, 100: .26}, KNNAccuracy: .4125}})
	r.AddBaseline("PCA-64", &Report{Scores: Scores{Dim: 64, Metric: index.Cosine, Purity: AtK{1: .422, 5: .37, 10: .34, 100: .27}, KNNAccuracy: .425}})
	r.AddBaseline("PCA-64 half-whitened", &Report{Scores: Scores{Dim: 64, Metric: index.Cosine, Purity: AtK{1: .46, 5: .4, 10: .37, 100: .3}, KNNAccuracy: .5175}})
	r.AddBaseline("untrained encoder", &Report{Scores: Scores{Dim: 64, Metric: index.Cosine, Purity: AtK{1: .248, 5: .22, 10: .208, 100: .18}, KNNAccuracy: .281}})
	return r
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got; -update rewrites it):\n%s", name, diff)
	}
}

func TestReportText(t *testing.T) {
	for _, width := range []int{80, 100} {
		var b bytes.Buffer
		if err := WriteText(&b, exampleReport(), width); err != nil {
			t.Fatal(err)
		}
		golden(t, fmt.Sprintf("report-%d.txt", width), b.Bytes())
	}
	odd := &Report{
		Queries: 1, Gallery: 2, Engine: "exact", LeaveOneOut: true, UnlabelledQueries: 1, UnlabelledGallery: 1,
		Scores: Scores{Dim: 3, Metric: index.L2, Purity: AtK{1: 1}, Intervals: Intervals{Confidence: .9, Purity: ByK[Interval]{1: {0, 1}}, KNNAccuracy: &Interval{}}},
		PerClass: []Class{
			{Label: "日本語のとても長いラベルの名前でどこまでも続きます", Queries: 1, Gallery: 1, Purity: AtK{1: 1}, TakenFor: []LabelShare{{"κόσμος", .3}}},
			{Label: "line\nbreak \x1b[31mred", Queries: 1, Gallery: 1, Purity: AtK{1: .5}},
		},
		Matrix: &Matrix{K: 10, Labels: []dataset.Label{"日本語のとても長いラベルの名前でどこまでも続きます", "b"}, Shares: [][]float64{{1, 0}, {.25, .75}}},
	}
	var b bytes.Buffer
	if err := WriteText(&b, odd, 80); err != nil {
		t.Fatal(err)
	}
	golden(t, "report-odd.txt", b.Bytes())
	many := exampleReport()
	many.Matrix = nil
	for i := range 50 {
		many.PerClass = append(many.PerClass, Class{Label: dataset.Label(fmt.Sprint("class ", i)), Queries: i, Gallery: 1, Purity: many.PerClass[0].Purity})
	}
	b.Reset()
	if err := WriteText(&b, many, 100); err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(b.Bytes(), []byte("The 30 classes with the most queries are shown; there are 30 more.\n")) {
		t.Errorf("60 classes:\n%s", &b)
	}
}

func TestReportJSON(t *testing.T) {
	data, err := json.MarshalIndent(exampleReport(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "report.json", append(data, '\n'))
	var back Report
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(exampleReport(), &back); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
}
