package training

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"imgsearch/dataset"
	"imgsearch/embedder"
)

func TestSplit(t *testing.T) {
	train, back := split(1, 100, 10)
	if len(train) != 90 || len(back) != 10 || !slices.IsSorted(train) || !slices.IsSorted(back) {
		t.Fatalf("train %v, back %v", train, back)
	}
	all := append(slices.Clone(train), back...)
	slices.Sort(all)
	if !slices.Equal(all, allRows(100)) {
		t.Errorf("together %v", all)
	}
	if _, other := split(2, 100, 10); slices.Equal(back, other) {
		t.Error("the seed does not matter")
	}
}

// TestJudge has embeddings on a line: two classes at 0, 1, 2 and at 10, 11, 20, without a label for the last.
func TestJudge(t *testing.T) {
	m := stripes(6, 16, 2)
	m.labels = []dataset.Label{"a", "a", "b", "b", "b", ""}
	o := miniOptions(t)
	s := newHeldBackSet(testCorpus(m, 16), allRows(6), o)
	// Nearest others: 0: 1 yes; 1: 0 (tie with 2 goes to the lower place) yes; 2: 1 no; 10: 11 yes; 11: 10 yes.
	embeddings := []float32{0, 1, 2, 10, 11, 20 /* views: the third is nearer to the second image */, 0.1, 0.9, 1.2, 9, 12, 30}
	h := s.judge(embeddings, 1, 7)
	if h.Step != 7 || h.Images != 6 || math.Abs(h.Match-5./6) > 1e-12 {
		t.Errorf("match %v of %d, want 5/6", h.Match, h.Images)
	}
	if h.Purity == nil || math.Abs(h.Purity.At1-4./5) > 1e-12 {
		t.Fatalf("purity %+v", h.Purity)
	}
	// Fewer than ten others: all five. a has 1 of 5, b 2 of 5.
	if want := (2*0.2 + 3*0.4) / 5; math.Abs(h.Purity.At10-want) > 1e-12 || math.Abs(h.Purity.Chance-want) > 1e-12 {
		t.Errorf("purity@10 %v, chance %v, want %v", h.Purity.At10, h.Purity.Chance, want)
	}
}

// TestHeldBackEmbeddings: image by image what the encoder makes of the images and of their views, on any number of
// threads.
func TestHeldBackEmbeddings(t *testing.T) {
	const n, size = heldBackChunk + 40, 16
	m := stripes(n+5, size, 3)
	a := miniNet(size)
	weights := embedder.InitWeights(a, rand.New(rand.NewPCG(1, 2)))
	encoder, err := embedder.New(a, weights, embedder.Metadata{})
	if err != nil {
		t.Fatal(err)
	}
	rows := allRows(n + 5)[5:]
	for _, threads := range []int{1, 3} {
		s := newHeldBackSet(testCorpus(m, size), rows, Options{Views: strong, Seed: 4, Threads: threads})
		got, _, err := s.embed(t.Context(), trainedNet{a, weights}, s.image, s.view)
		if err != nil {
			t.Fatal(err)
		}
		view := dataset.NewImage(size, size)
		for i, row := range rows {
			s.view(threads-1, i, view)
			want, err := encoder.Embed(t.Context(), []*dataset.Image{m.images[row], view}, 1)
			if err != nil {
				t.Fatal(err)
			}
			dim := encoder.Dim()
			if !slices.Equal(got[i*dim:][:dim], want[:dim]) || !slices.Equal(got[(n+i)*dim:][:dim], want[dim:]) {
				t.Fatalf("%d threads: image %d has other embeddings", threads, i)
			}
		}
	}
}

func TestClosest(t *testing.T) {
	nan := float32(math.NaN())
	distances := []float32{5, 1, nan, 3, 1, 0, 2}
	out := make([]int32, 4)
	if k := closest(distances, 5, out); k != 4 || !slices.Equal(out, []int32{1, 4, 6, 3}) {
		t.Errorf("%d: %v", k, out)
	}
	if k := closest(distances[:3], 0, out); k != 1 || out[0] != 1 {
		t.Errorf("%d: %v", k, out)
	}
}
