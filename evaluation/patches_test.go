package evaluation

import (
	"context"
	"reflect"
	"slices"
	"testing"

	"imgsearch/dataset"
	"imgsearch/internal/cifartest"
	"imgsearch/internal/patches"
)

// readPart reads images [from, to) of a data set.
func readPart(t *testing.T, name string, from, to int) (*Pixels, Set) {
	t.Helper()
	ctx := context.Background()
	ds, err := dataset.Open(ctx, name, dataset.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer ds.Close()
	pixels, set := NewPixels(to-from), Set{IDs: make([]dataset.ID, to-from), Labels: make([]dataset.Label, to-from)}
	for i := range to - from {
		s, err := ds.Read(ctx, from+i)
		if err != nil {
			t.Fatal(err)
		}
		pixels.Set(i, s.Image)
		set.IDs[i], set.Labels[i] = dataset.ID(from+i), ds.Entry(from+i).Label
	}
	return pixels, set
}

// TestPatchesOfSample: small versions of both methods beat the pixels.
func TestPatchesOfSample(t *testing.T) {
	galleryPixels, gallery := readPart(t, "sample:train", 0, 1000)
	queryPixels, queries := readPart(t, "sample:train", 1000, 1300)
	raw, err := RawPixels(context.Background(), queryPixels, galleryPixels, queries, gallery, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, method := range []patches.Method{patches.Dictionary, patches.Manifold} {
		options := patches.Options{Method: method, Atoms: 256, Components: 32, Rounds: 2, Stride: 3, Seed: 1}
		var reports [2]Report
		for i := range reports {
			options.Threads = 1 + i
			err := reports[i].addPatches(context.Background(), "patches", queryPixels, galleryPixels, queries, gallery, Options{}, options)
			if err != nil {
				t.Fatal(err)
			}
		}
		if !reflect.DeepEqual(reports[0], reports[1]) {
			t.Errorf("%s: another report with 2 threads", method)
		}
		got := reports[0].Baselines
		if len(got) != 2 || got[0].Name != "patches" || got[1].Name != "patches PCA-64" || got[1].Dim != 64 || got[0].Dim <= 64 {
			t.Fatalf("%+v", got)
		}
		for _, b := range got {
			t.Logf("%s, %s: kNN accuracy %.3f, purity@10 %.3f; raw pixels %.3f, %.3f", method, b.Name, float64(b.KNNAccuracy), b.Purity[10], float64(raw.KNNAccuracy), raw.Purity[10])
			if b.KNNAccuracy < raw.KNNAccuracy {
				t.Errorf("%s, %s: kNN accuracy %.3f, of raw pixels %.3f", method, b.Name, float64(b.KNNAccuracy), float64(raw.KNNAccuracy))
			}
		}
	}
}

// TestFewPatches: a gallery of a few images has baselines too, of fewer components.
func TestFewPatches(t *testing.T) {
	pixels, set := readPart(t, "sample:train", 0, 12)
	var report Report
	options := patches.Options{Atoms: 30, Components: 5, Stride: 4}
	if err := report.addPatches(context.Background(), "few", pixels, pixels, set, set, Options{LeaveOneOut: true}, options); err != nil {
		t.Fatal(err)
	}
	names := []string{report.Baselines[0].Name, report.Baselines[1].Name}
	if !slices.Equal(names, []string{"few", "few PCA-11"}) {
		t.Errorf("%q", names)
	}
}

// TestPatchBaselinesOnCIFAR10: all four baselines at their default size, the transform's above a floor that pixels are below.
func TestPatchBaselinesOnCIFAR10(t *testing.T) {
	archive := cifartest.Archive(t)
	galleryPixels, gallery := readPart(t, archive+":train", 0, 3000)
	queryPixels, queries := readPart(t, archive+":train", 3000, 4000)
	var report Report
	if err := report.AddPatchBaselines(context.Background(), queryPixels, galleryPixels, queries, gallery, Options{Seed: 1}, nil); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, b := range report.Baselines {
		names = append(names, b.Name)
		t.Logf("%s, %d values: purity@1 %.3f, purity@10 %.3f, kNN accuracy %.3f", b.Name, b.Dim, b.Purity[1], b.Purity[10], float64(b.KNNAccuracy))
	}
	want := []string{"patch dictionary", "patch dictionary PCA-64", "sparse manifold transform", "sparse manifold transform PCA-64"}
	if !slices.Equal(names, want) {
		t.Fatalf("%q", names)
	}
	for i, floor := range []float64{0.1, 0.1, .38, .38} {
		if report.Baselines[i].Purity[1] < floor {
			t.Errorf("%s: purity@1 %.3f, at least %.3f is expected", names[i], report.Baselines[i].Purity[1], floor)
		}
	}
}
