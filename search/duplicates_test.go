package search

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"imgsearch/dataset"
)

// blobs returns a picture of 32x32 pixels with something to see in it.
func blobs(rng *rand.Rand) *dataset.Image {
	small := noise(rng, 6, 6)
	for i := range small.Pix {
		small.Pix[i] = uint8(rng.IntN(256))
	}
	return small.Square(32)
}

// moved returns a picture shifted by a pixel and a little brighter.
func moved(m *dataset.Image) *dataset.Image {
	out := dataset.NewImage(m.Width, m.Height)
	for y := range m.Height {
		for x := range m.Width {
			for c := range 3 {
				out.Pix[3*(y*m.Width+x)+c] = uint8(min(int(m.Pix[3*(y*m.Width+min(x+1, m.Width-1))+c])+9, 255))
			}
		}
	}
	return out
}

// filled makes a collection of a data set and opens it for reading.
func filled(t *testing.T, ds dataset.Dataset, options CreateOptions) *Collection {
	t.Helper()
	options.Encoder = smallEncoder(t, 1, true)
	c, err := Create(t.TempDir()+"/c.imgsearch", options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := c.Add(context.Background(), ds, AddOptions{}); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDuplicates(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	ds := &memory{name: "d", images: map[string]*dataset.Image{}}
	for i := range 40 {
		ds.put(rng, fmt.Sprintf("d/%02d", i), blobs(rng))
	}
	ds.put(rng, "d/exact of 03", ds.images["d/03"])
	ds.put(rng, "d/near to 05", moved(ds.images["d/05"]))
	ds.put(rng, "d/near to 03", moved(ds.images["d/03"]))
	for i := range ds.entries {
		ds.entries[i].Size = 1000
	}
	ds.entries[41].Size = 2000 // the near copy of 05 is the larger file
	c := filled(t, ds, CreateOptions{})
	report, err := c.Duplicates(context.Background(), DuplicateOptions{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	if report.Images != 43 || report.Exact != 1 || report.Near != 2 || len(report.Groups) != 2 || report.Unread != 0 {
		t.Fatalf("%+v", report)
	}
	first, second := report.Groups[0], report.Groups[1]
	if first.Keep.ID != 3 || len(first.Copies) != 2 || first.Copies[0].ID != 40 || first.Copies[0].Kind != ExactCopy ||
		first.Copies[1].ID != 42 || first.Copies[1].Kind != NearCopy || !(first.Copies[1].Difference > 0) {
		t.Errorf("first group %+v", first)
	}
	if second.Keep.ID != 41 || len(second.Copies) != 1 || second.Copies[0].ID != 5 {
		t.Errorf("second group %+v: the largest file is to be kept", second)
	}
	again, err := c.Duplicates(context.Background(), DuplicateOptions{Threads: 1})
	if err != nil || !reflect.DeepEqual(again, report) {
		t.Errorf("with one thread %+v, %v", again, err)
	}
	exact, err := c.Duplicates(context.Background(), DuplicateOptions{ExactOnly: true})
	if err != nil || exact.Exact != 1 || exact.Near != 0 || exact.Compared != 0 {
		t.Errorf("exact only: %+v, %v", exact, err)
	}

	// Against a data set: the images are in it themselves, which does not count.
	against, err := c.DuplicatesAgainst(context.Background(), ds, DuplicateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, q := range against.Found {
		for _, m := range q.Matches {
			found = append(found, fmt.Sprintf("%s %s %d", q.Query.Source, m.Kind, m.ID))
		}
	}
	slices.Sort(found)
	want := []string{
		"d/03 exact 40", "d/03 near 42", "d/05 near 41", "d/exact of 03 exact 3", "d/exact of 03 near 42",
		"d/near to 03 near 3", "d/near to 05 near 5",
	}
	if !slices.Equal(found, want) || against.Queries != 43 || against.Exact != 2 || against.Near != 3 {
		t.Errorf("%+v: found %q, want %q", against, found, want)
	}
}

// TestDuplicatesOfEqualImages looks at many images of one content, and of one picture in many contents.
func TestDuplicatesOfEqualImages(t *testing.T) {
	n := 3000
	if testing.Short() {
		n = 600
	}
	rng := rand.New(rand.NewPCG(1, 3))
	image, other := blobs(rng), blobs(rng)
	for name, of := range map[string]func(i int) *dataset.Image{
		"one content": func(int) *dataset.Image { return image },
		"one picture": func(i int) *dataset.Image {
			m := dataset.NewImage(32, 32)
			copy(m.Pix, image.Pix)
			m.Pix[i%3072] ^= uint8(1 + i/3072) // another content, which nobody sees
			return m
		},
	} {
		ds := &memory{name: "d", images: map[string]*dataset.Image{}}
		for i := range n {
			source := fmt.Sprintf("d/%05d", i)
			ds.images[source] = of(i)
			ds.entries = append(ds.entries, dataset.Entry{Source: source, Size: 7})
		}
		ds.images["d/other"] = other
		ds.entries = append(ds.entries, dataset.Entry{Source: "d/other", Size: 7})
		c := filled(t, ds, CreateOptions{})
		report, err := c.Duplicates(context.Background(), DuplicateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if len(report.Groups) != 1 || report.Exact+report.Near != n-1 || report.Groups[0].Keep.ID != 0 || report.Compared > 11*n {
			t.Errorf("%s: %d groups, %d exact, %d near, %d compared", name, len(report.Groups), report.Exact, report.Near, report.Compared)
		}
		part, err := dataset.Subset(ds, "part", []int{0, 1, 2, n})
		if err != nil {
			t.Fatal(err)
		}
		against, err := c.DuplicatesAgainst(context.Background(), part, DuplicateOptions{})
		if err != nil || against.Exact+against.Near != 3 {
			t.Errorf("%s: against %+v, %v", name, against, err)
		}
	}
}

func TestDuplicatesOfFewImages(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 4))
	for n := range 3 {
		c := filled(t, pictures(rng, n), CreateOptions{})
		report, err := c.Duplicates(context.Background(), DuplicateOptions{})
		if err != nil || report.Images != n || report.Groups == nil || len(report.Groups) != 0 {
			t.Errorf("%d images: %+v, %v", n, report, err)
		}
		against, err := c.DuplicatesAgainst(context.Background(), pictures(rng, 2), DuplicateOptions{})
		if err != nil || against.Queries != 2 || against.Found == nil || len(against.Found) != 0 {
			t.Errorf("against %d images: %+v, %v", n, against, err)
		}
	}
}

func TestDuplicatesWithoutThumbnails(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 5))
	ds := pictures(rng, 6) // no file of these exists
	ds.put(rng, "pictures/copy.png", ds.images["pictures/002.png"])
	c := filled(t, ds, CreateOptions{Thumbnail: -1})
	var problems []string
	report, err := c.Duplicates(context.Background(), DuplicateOptions{Threads: 1, OnProblem: func(p dataset.Problem) {
		problems = append(problems, p.Source)
		if !errors.Is(p.Err, ErrNoThumbnail) {
			t.Errorf("%v", p)
		}
	}})
	if err != nil || report.Exact != 1 || report.Near != 0 || report.Unread != len(problems) || len(problems) == 0 {
		t.Errorf("%+v, %v, problems %q", report, err, problems)
	}

	sample, err := dataset.Open(context.Background(), "sample:test", dataset.Options{})
	if err != nil {
		t.Fatal(err)
	}
	part, err := dataset.Subset(sample, "part", []int{3, 1, 4})
	if err != nil {
		t.Fatal(err)
	}
	c = filled(t, part, CreateOptions{Thumbnail: -1})
	report, err = c.Duplicates(context.Background(), DuplicateOptions{})
	if err != nil || report.Unread != 0 || report.Compared != 3 {
		t.Errorf("of the sample: %+v, %v", report, err)
	}
}

func TestDuplicateOptions(t *testing.T) {
	c := filled(t, pictures(rand.New(rand.NewPCG(1, 6)), 1), CreateOptions{})
	for _, o := range []DuplicateOptions{{K: -1}, {K: 1001}, {MaxDifference: -1}, {MaxDifference: 1}, {Threads: -1}} {
		if _, err := c.Duplicates(context.Background(), o); !errors.Is(err, ErrOptions) {
			t.Errorf("%+v: %v", o, err)
		}
		if _, err := c.DuplicatesAgainst(context.Background(), pictures(rand.New(rand.NewPCG(1, 7)), 1), o); !errors.Is(err, ErrOptions) {
			t.Errorf("against, %+v: %v", o, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := c.Duplicates(ctx, DuplicateOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestOutliers(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 8))
	ds := &memory{name: "d", images: map[string]*dataset.Image{}}
	// Two kinds, bright and dark, of which one bright image carries the wrong label, and one has none.
	for i := range 60 {
		m := dataset.NewImage(16, 16)
		for j := range m.Pix {
			m.Pix[j] = uint8(20 + 180*(i%2) + rng.IntN(40))
		}
		source := fmt.Sprintf("d/%02d", i)
		ds.put(rng, source, m)
		ds.entries[i].Label = []dataset.Label{"dark", "bright"}[i%2]
	}
	ds.entries[31].Label = "dark"
	ds.entries[8].Label = ""
	c := filled(t, ds, CreateOptions{})
	report, err := c.Outliers(context.Background(), OutlierOptions{Limit: 5})
	if err != nil {
		t.Fatal(err)
	}
	if report.Images != 60 || report.Labelled != 59 || report.Labels != 2 || report.K != 10 || len(report.Outliers) != 5 {
		t.Errorf("%+v", report)
	}
	worst := report.Outliers[0]
	if worst.ID != 31 || worst.Rank != 1 || worst.Suggested != "bright" || worst.Score != 1 || len(worst.Neighbors) == 0 {
		t.Errorf("worst %+v", worst)
	}
	// Any number of copies of one image takes one look at the neighbours.
	copied := ds.images["d/00"]
	for i := range 3000 {
		source := fmt.Sprintf("d/copy %04d", i)
		ds.images[source] = copied
		ds.entries = append(ds.entries, dataset.Entry{Source: source, Label: "dark", Size: 1})
	}
	if _, err := c.Add(context.Background(), ds, AddOptions{}); err != nil {
		t.Fatal(err)
	}
	searched := 0
	report, err = c.Outliers(context.Background(), OutlierOptions{K: 10, OnProgress: func(_ string, _, total int) { searched = total }})
	if err != nil || report.Images != 3060 || searched != 60 || report.Outliers[0].ID != 31 {
		t.Errorf("with copies: %d searched, %v", searched, err)
	}
	for _, o := range []OutlierOptions{{K: -1}, {K: 1001}, {Limit: -1}, {Threads: -1}} {
		if _, err := c.Outliers(context.Background(), o); !errors.Is(err, ErrOptions) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

func TestOutliersWithoutLabels(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 9))
	for name, test := range map[string]struct {
		n      int
		labels []dataset.Label
		want   error
	}{
		"empty":    {0, nil, nil},
		"none":     {4, []dataset.Label{""}, ErrNoLabels},
		"one":      {4, []dataset.Label{"a"}, ErrNoLabels},
		"one each": {4, []dataset.Label{"a", "b", "c", "d"}, nil},
		"two":      {2, []dataset.Label{"a", "b"}, nil},
	} {
		ds := pictures(rng, test.n)
		for i := range ds.entries {
			ds.entries[i].Label = test.labels[i%len(test.labels)]
		}
		c := filled(t, ds, CreateOptions{})
		report, err := c.Outliers(context.Background(), OutlierOptions{})
		if !errors.Is(err, test.want) || err == nil && (report.Images != test.n || report.Outliers == nil) {
			t.Errorf("%s: %+v, %v", name, report, err)
		}
	}
}
