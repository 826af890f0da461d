package training

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"imgsearch/embedder"
)

func TestHeldBackCount(t *testing.T) {
	for images, want := range map[int]int{8: 0, 49: 0, 50: 10, 100: 20, 200: 40, 249: 49, 300: 50, 500: 50, 700: 70, 2000: 200, 20_000: 2000, 1_000_000: 2000} {
		if got, err := (Options{}).heldBackCount(images); err != nil || got != want {
			t.Errorf("%d images: %d, %v, want %d", images, got, err, want)
		}
	}
}

func TestMeanAndError(t *testing.T) {
	if mean, err := meanAndError([]float64{0, 1, 1, 0}); math.Abs(mean-0.5) > 1e-15 || math.Abs(err-math.Sqrt(1./3/4)) > 1e-15 {
		t.Errorf("%v, %v", mean, err)
	}
	if mean, err := meanAndError([]float64{0.25}); mean != 0.25 || err != 1 {
		t.Errorf("of one value: %v, %v", mean, err)
	}
}

// TestComparer: who is asked for, among whom, and what the encoder makes of it, on any number of threads.
func TestComparer(t *testing.T) {
	c := testCorpus(stripes(100, 16, 3), 16)
	train, back := split(5, 100, 30)
	a := miniNet(16)
	encoder, err := embedder.New(a, embedder.InitWeights(a, rand.New(rand.NewPCG(1, 2))), embedder.Metadata{})
	if err != nil {
		t.Fatal(err)
	}
	var first []float64
	for _, threads := range []int{1, 3} {
		cmp := newComparer(c, back, train, Options{Seed: 5, Threads: threads})
		if cmp.asked != 30 || cmp.views != 8 || len(cmp.gallery) != 100 {
			t.Fatalf("%d asked, %d views, %d in the gallery", cmp.asked, cmp.views, len(cmp.gallery))
		}
		held, known := slices.Clone(cmp.gallery[:30]), slices.Clone(cmp.gallery[30:60])
		slices.Sort(held)
		if !slices.Equal(held, back) || slices.ContainsFunc(known, func(i int32) bool { return !slices.Contains(train, i) }) {
			t.Errorf("held back %v, training %v", held, known)
		}
		all := slices.Sorted(slices.Values(cmp.gallery))
		if !slices.Equal(all, allRows(100)) {
			t.Errorf("gallery %v", all)
		}
		found, err := cmp.found(t.Context(), encoder)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = found
		}
		if mean, _ := meanAndError(found); len(found) != 60 || !slices.Equal(found, first) || mean <= 0.01 || mean >= 1 {
			t.Errorf("%d threads: %v", threads, found)
		}
	}
	wide := newComparer(testCorpus(stripes(1300, 16, 3), 16), allRows(600), allRows(1300)[600:], Options{Threads: 1})
	if wide.asked != compareImages || wide.views != 1 || len(wide.gallery) != compareGallery {
		t.Errorf("of many images %d asked, %d views, %d in the gallery", wide.asked, wide.views, len(wide.gallery))
	}
}

// TestJudgeComparison: differences are told where they are large beside what chance gives.
func TestJudgeComparison(t *testing.T) {
	shares := func(n int, found float64) []float64 {
		out := make([]float64, n)
		for i := range out {
			if float64(i) < found*float64(n) {
				out[i] = 1
			}
		}
		return out
	}
	for _, c := range []struct {
		n                       int
		held, training, builtIn float64
		want                    string
	}{
		{40, 0.5, 0.5, 0.5, ""},
		{40, 0.525, 0.875, 0.975, "built-in 0.975 0.525, overfitted 0.875 0.525"},
		{40, 0.8, 0.9, 0.9, ""}, // 40 images cannot tell
		{500, 0.8, 0.95, 0.7, "overfitted 0.950 0.800"},
		{500, 0.8, 0.82, 0.9, "built-in 0.900 0.800"},
		{500, 0.9, 0.94, 0.94, ""}, // too small to be worth a word
		{500, 0.9, 0.5, 0.5, ""},
	} {
		var out Comparison
		texts := out.judge(shares(c.n, c.held), shares(c.n, c.training), shares(c.n, c.builtIn))
		var got []string
		if text := texts["built-in"]; text != "" {
			got = append(got, fmt.Sprintf("built-in %.3f %.3f", out.BuiltIn, out.HeldBack))
			if !strings.Contains(text, fmt.Sprintf("%.3f of their views find their image, %.3f with this one", out.BuiltIn, out.HeldBack)) {
				t.Errorf("text %q", text)
			}
		}
		if text := texts["overfitted"]; text != "" {
			got = append(got, fmt.Sprintf("overfitted %.3f %.3f", out.Training, out.HeldBack))
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

// TestCompare: the comparison is in the result and in the run record, whether images are in memory or in a file; without
// held-back images nothing is compared.
func TestCompare(t *testing.T) {
	o := miniOptions(t)
	o.Data, o.HeldBack, o.Steps = stripes(200, 16, 3), 0, 2
	r, err := run(t.Context(), o, newFake)
	if err != nil {
		t.Fatal(err)
	}
	c := r.Comparison
	if c == nil || c.Images != 40 || c.Views != 8 || c.Gallery != 200 || !(c.BuiltIn > c.HeldBack) {
		t.Fatalf("%+v", c)
	}
	record := lines(t, r.Record)
	if compared, ok := record[len(record)-1]["comparison"].(map[string]any); !ok || compared["built_in"] != c.BuiltIn {
		t.Errorf("record ends with %v", record[len(record)-1])
	}
	o.Out, o.Threads, o.Corpus.Memory = "", 3, 1
	if again, err := run(t.Context(), o, newFake); err != nil || *again.Comparison != *c {
		t.Errorf("from a file on three threads: %+v, %v, want %+v", again, err, c)
	}
	for _, change := range []func(*Options){func(o *Options) { o.HeldBack = -1 }, func(o *Options) { o.TrainOnAll = true }} {
		o := miniOptions(t)
		o.Steps = 2
		change(&o)
		if r, err := run(t.Context(), o, newFake); err != nil || r.Comparison != nil {
			t.Errorf("%+v, %v", r, err)
		}
	}
}
