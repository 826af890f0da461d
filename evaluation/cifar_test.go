package evaluation

import (
	"bytes"
	"context"
	"math"
	"testing"
	"time"

	"imgsearch/dataset"
	"imgsearch/internal/cifartest"
)

// TestBaselinesOnCIFAR10 holds the baselines to figures that were measured by an independent program in Python.
func TestBaselinesOnCIFAR10(t *testing.T) {
	archive := cifartest.Archive(t)
	ctx := context.Background()
	read := func(name string, limit int) (*Pixels, Set) {
		ds, err := dataset.Open(ctx, name, dataset.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer ds.Close()
		n := min(limit, ds.Len())
		pixels, set := NewPixels(n), Set{IDs: make([]dataset.ID, n), Labels: make([]dataset.Label, n)}
		for i := range n {
			s, err := ds.Read(ctx, i)
			if err != nil {
				t.Fatal(err)
			}
			pixels.Set(i, s.Image)
			set.IDs[i], set.Labels[i] = dataset.ID(i), ds.Entry(i).Label
		}
		return pixels, set
	}
	galleryPixels, gallery := read(archive+":train", math.MaxInt)
	queryPixels, queries := read(archive+":test", math.MaxInt)
	start := time.Now()
	some, fewer := &Pixels{queryPixels.data[:2000*PixelDim]}, Set{IDs: queries.IDs[:2000], Labels: queries.Labels[:2000]}
	report, err := RawPixels(ctx, some, galleryPixels, fewer, gallery, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("raw pixels, 2,000 queries: %v", time.Since(start))
	check := func(name string, s Scores, purity1, purity10, knn float64) {
		t.Helper()
		for _, v := range []struct {
			what      string
			got, want float64
		}{{"purity@1", s.Purity[1], purity1}, {"purity@10", s.Purity[10], purity10}, {"kNN accuracy", float64(s.KNNAccuracy), knn}} {
			t.Logf("%s: %s %.4f", name, v.what, v.got)
			if math.Abs(v.got-v.want) > 0.0015 {
				t.Errorf("%s: %s is %.4f, want %.4f", name, v.what, v.got, v.want)
			}
		}
	}
	check("raw pixels", report.Scores, .410, .334, .4125)
	start = time.Now()
	pca, err := FitPCA(ctx, galleryPixels, PCAOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("components of 50,000 images: %v", time.Since(start))
	for _, test := range []struct {
		name                   string
		halfWhiten             bool
		purity1, purity10, knn float64
	}{{"PCA-64", false, .422, .340, .425}, {"PCA-64 half-whitened", true, .460, .370, .5175}} {
		start = time.Now()
		queries.Embeddings, queries.Dim = pca.Project(queryPixels, test.halfWhiten, 0), pca.Dim()
		gallery.Embeddings, gallery.Dim = pca.Project(galleryPixels, test.halfWhiten, 0), pca.Dim()
		t.Logf("projected: %v", time.Since(start))
		start = time.Now()
		report, err = Evaluate(ctx, queries, gallery, Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("evaluated 10,000 queries: %v", time.Since(start))
		check(test.name, report.Scores, test.purity1, test.purity10, test.knn)
	}
	var text bytes.Buffer
	if err := WriteText(&text, report, 0); err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", &text)
}
