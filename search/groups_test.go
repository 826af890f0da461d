package search

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"imgsearch/dataset"
	"imgsearch/index"
)

// coloured is a data set of n pictures of each colour, little different from each other.
func coloured(rng *rand.Rand, n int, colours ...[3]int) *memory {
	m := &memory{name: "coloured", images: map[string]*dataset.Image{}}
	for c, colour := range colours {
		for i := range n {
			img := dataset.NewImage(16, 16)
			for p := range img.Pix {
				img.Pix[p] = uint8(max(0, min(255, colour[p%3]+rng.IntN(60)-30)))
			}
			m.put(rng, fmt.Sprintf("%d/%03d.png", c, i), img)
			m.entries[len(m.entries)-1].Label = dataset.Label(fmt.Sprint("colour ", c))
		}
	}
	return m
}

var threeColours = [][3]int{{220, 40, 40}, {40, 220, 40}, {30, 60, 230}}

func TestGroups(t *testing.T) {
	ctx := context.Background()
	for _, normalized := range []bool{true, false} {
		c := newCollection(t, smallEncoder(t, 1, normalized), CreateOptions{})
		add(t, c, coloured(rand.New(rand.NewPCG(1, 2)), 40, threeColours...), AddOptions{})
		var stages []string
		r, err := c.Groups(ctx, GroupOptions{Count: 3, OnProgress: func(stage string, done, total int) {
			if !slices.Contains(stages, stage) {
				stages = append(stages, stage)
			}
			if total > 0 && done > total {
				t.Errorf("%s: %d of %d", stage, done, total)
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		if r.Images != 120 || r.Labelled != 120 || r.Labels != 3 || r.K != 12 || len(r.Groups) != 3 || !slices.Equal(stages, []string{"searching", "grouping"}) {
			t.Fatalf("%+v; %v", r, stages)
		}
		if *r.Purity < 0.99 || *r.MutualInformation < 0.95 {
			t.Errorf("purity %v, NMI %v", *r.Purity, *r.MutualInformation)
		}
		seen := map[dataset.ID]bool{}
		for i, g := range r.Groups {
			if g.Group != i+1 || g.Size != len(g.Members) || g.Members[0].ID != g.Medoid.ID || g.Medoid.Source == "" || len(g.Nearest) != 2 ||
				g.Labels[0].Count < g.Size-1 || !(g.Tightness > 0.1 && g.Tightness < 1) || i > 0 && g.Size > r.Groups[i-1].Size {
				t.Errorf("group %+v", g)
			}
			for _, m := range g.Members {
				seen[m.ID] = true
			}
		}
		for _, l := range r.Nowhere {
			seen[l.ID] = true
		}
		if len(seen) != 120 {
			t.Errorf("%d images in all", len(seen))
		}
		for _, threads := range []int{1, 3} {
			again, err := c.Groups(ctx, GroupOptions{Count: 3, Threads: threads})
			if err != nil || !reflect.DeepEqual(r, again) {
				t.Errorf("%d threads: another report, %v", threads, err)
			}
		}
	}
}

func TestGroupsOfFewImages(t *testing.T) {
	ctx := context.Background()
	e := smallEncoder(t, 1, true)
	c := newCollection(t, e, CreateOptions{})
	r, err := c.Groups(ctx, GroupOptions{})
	if err != nil || r.Images != 0 || len(r.Groups) != 0 || r.Groups == nil || r.Nowhere == nil {
		t.Fatalf("of nothing: %+v, %v", r, err)
	}
	rng := rand.New(rand.NewPCG(3, 3))
	one := pictures(rng, 1)
	add(t, c, one, AddOptions{})
	if r, err = c.Groups(ctx, GroupOptions{}); err != nil || r.Images != 1 || len(r.Groups) != 0 || len(r.Nowhere) != 1 || r.Purity != nil {
		t.Fatalf("of one: %+v, %v", r, err)
	}
	for i := range 300 {
		one.put(rng, fmt.Sprintf("copy%03d.png", i), one.images["pictures/000.png"])
	}
	add(t, c, one, AddOptions{})
	if r, err = c.Groups(ctx, GroupOptions{}); err != nil || len(r.Groups) != 1 || r.Groups[0].Size != 301 || r.Groups[0].Tightness != 1 || len(r.Nowhere) != 0 {
		t.Fatalf("of equal images: %d groups, %v", len(r.Groups), err)
	}
	// A crowd of equal images beside others leaves those their own neighbours.
	for i, s := range coloured(rng, 30, threeColours...).images {
		one.put(rng, i, s)
	}
	add(t, c, one, AddOptions{})
	if r, err = c.Groups(ctx, GroupOptions{}); err != nil || r.Images != 391 || len(r.Groups) < 3 || len(r.Nowhere) > 20 {
		t.Fatalf("beside a crowd: %d groups, %d nowhere, %v", len(r.Groups), len(r.Nowhere), err)
	}
	for _, g := range r.Groups {
		copies := 0
		for _, m := range g.Members {
			if m.ID <= 300 {
				copies++
			}
		}
		if copies != 0 && copies != 301 {
			t.Errorf("equal images are torn apart: %d in group %d", copies, g.Group)
		}
	}
}

func TestGroupsWithManyLabels(t *testing.T) {
	c := newCollection(t, smallEncoder(t, 1, true), CreateOptions{})
	ds := coloured(rand.New(rand.NewPCG(4, 4)), 400, threeColours...)
	for i := range ds.entries {
		ds.entries[i].Label = dataset.Label([]string{"ярлык", "ラベル", strings.Repeat("long ", 50)}[i%3] + fmt.Sprint(i%1000))
	}
	ds.entries[7].Label = ""
	add(t, c, ds, AddOptions{})
	r, err := c.Groups(context.Background(), GroupOptions{Count: 3})
	if err != nil || r.Labels < 999 || r.Labelled != 1199 || r.Purity == nil {
		t.Fatalf("%d labels, %d labelled, %v", r.Labels, r.Labelled, err)
	}
	for _, g := range r.Groups {
		sum := 0
		for _, l := range g.Labels {
			sum += l.Count
		}
		if sum != g.Size && sum != g.Size-1 {
			t.Errorf("group %d of %d has %d labels", g.Group, g.Size, sum)
		}
	}
}

func TestGroupsErrors(t *testing.T) {
	c := newCollection(t, smallEncoder(t, 1, true), CreateOptions{})
	add(t, c, pictures(rand.New(rand.NewPCG(5, 5)), 30), AddOptions{})
	for _, o := range []GroupOptions{{K: -1}, {K: 201}, {Resolution: -1}, {Resolution: math.NaN()}, {Count: -1}, {MinSize: -1}, {Threads: -1}} {
		if _, err := c.Groups(context.Background(), o); !errors.Is(err, ErrOptions) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := c.Groups(ctx, GroupOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestQueryExamples(t *testing.T) {
	ctx := context.Background()
	for _, normalized := range []bool{true, false} {
		c := newCollection(t, smallEncoder(t, 1, normalized), CreateOptions{})
		ds := coloured(rand.New(rand.NewPCG(6, 6)), 20, threeColours...)
		add(t, c, ds, AddOptions{})
		sample := func(source string) Example {
			at := slices.IndexFunc(ds.entries, func(e dataset.Entry) bool { return e.Source == source })
			s, err := ds.Read(ctx, at)
			if err != nil {
				t.Fatal(err)
			}
			return Example{Sample: &s, Source: source}
		}
		// Two colours together, and not the third.
		results, err := c.QueryExamples(ctx, []Example{{ID: 0}, sample("1/003.png")}, []Example{{ID: 45}}, QueryOptions{K: 12})
		if err != nil || len(results) != 12 {
			t.Fatalf("%d results, %v", len(results), err)
		}
		for i, r := range results {
			if r.Label == "colour 2" || r.ID == 0 || r.Source == "1/003.png" || r.Rank != i+1 || i > 0 && r.Distance < results[i-1].Distance {
				t.Errorf("result %+v", r)
			}
		}
		// One example asks what the image does.
		want, err := c.QueryID(ctx, 7, QueryOptions{K: 5})
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.QueryExamples(ctx, []Example{{ID: 7}}, nil, QueryOptions{K: 5})
		if err != nil {
			t.Fatal(err)
		}
		for i := range want {
			if got[i].ID != want[i].ID || math.Abs(float64(got[i].Distance-want[i].Distance)) > 1e-5 {
				t.Errorf("result %d: %+v, want %+v", i, got[i], want[i])
			}
		}
		all, err := c.QueryExamples(ctx, []Example{{ID: 7}, sample("1/003.png")}, []Example{{ID: 9}}, QueryOptions{K: 100})
		if err != nil || len(all) != 57 {
			t.Errorf("%d results, %v", len(all), err)
		}
		if _, err := c.QueryExamples(ctx, nil, []Example{{ID: 9}}, QueryOptions{K: 1}); !errors.Is(err, ErrExamples) {
			t.Errorf("nothing to be like: %v", err)
		}
		if _, err := c.QueryExamples(ctx, []Example{{ID: 900}}, nil, QueryOptions{K: 1}); !errors.Is(err, ErrNotFound) {
			t.Errorf("an unknown id: %v", err)
		}
		if _, err := c.QueryExamples(ctx, []Example{{ID: 9}}, nil, QueryOptions{}); !errors.Is(err, ErrK) {
			t.Errorf("k 0: %v", err)
		}
	}
}

func TestCombine(t *testing.T) {
	a, b := []float32{3, 0}, []float32{0, 4}
	for _, test := range []struct {
		metric       index.Metric
		like, unlike [][]float32
		want         []float64
	}{
		{index.Cosine, [][]float32{a, b}, nil, []float64{math.Sqrt2 / 2, math.Sqrt2 / 2}},
		{index.L2, [][]float32{a, b}, nil, []float64{2.5, 2.5}},
		{index.Cosine, [][]float32{a}, [][]float32{b, b}, []float64{2 / math.Sqrt(5), -1 / math.Sqrt(5)}},
		{index.Cosine, [][]float32{a}, [][]float32{{5, 5}}, []float64{0.9428090, -0.3333333}}, // 1, -0.5 * sqrt(1/2)
		{index.Cosine, [][]float32{a}, [][]float32{a}, []float64{1, 0}},
		{index.L2, [][]float32{a}, nil, []float64{3, 0}},
	} {
		got, err := combine(test.metric, test.like, test.unlike, 0.5)
		if err != nil || math.Abs(float64(got[0])-test.want[0]) > 1e-6 || math.Abs(float64(got[1])-test.want[1]) > 1e-6 {
			t.Errorf("%+v: %v, %v", test, got, err)
		}
	}
	if _, err := combine(index.Cosine, [][]float32{a, {-5, 0}}, nil, 0.5); !errors.Is(err, ErrExamples) {
		t.Errorf("what cancels out: %v", err)
	}
}
