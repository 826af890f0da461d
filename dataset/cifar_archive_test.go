package dataset

import (
	"context"
	"testing"
	"time"

	"imgsearch/internal/cifartest"
)

func TestFullArchive(t *testing.T) {
	file := cifartest.Archive(t)
	start := time.Now()
	ds, err := Open(t.Context(), file, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer ds.Close()
	t.Logf("opened in %v", time.Since(start))
	if ds.Len() != 60_000 {
		t.Fatalf("%d images, want 60000", ds.Len())
	}
	for _, want := range []struct {
		i      int
		source string
		label  Label
		split  string
	}{
		{0, "cifar10:train/0", "frog", "train"},
		{49_999, "cifar10:train/49999", "automobile", "train"},
		{50_000, "cifar10:test/0", "cat", "test"},
		{59_999, "cifar10:test/9999", "horse", "test"},
	} {
		if e := ds.Entry(want.i); e.Source != want.source || e.Label != want.label || e.Split != want.split {
			t.Errorf("image %d is %+v, want %+v", want.i, e, want)
		}
	}
	perLabel := map[Label]int{}
	for i := range ds.Len() {
		perLabel[ds.Entry(i).Label]++
	}
	for _, label := range CIFAR10Labels() {
		if perLabel[label] != 6000 {
			t.Errorf("%d images of %s, want 6000", perLabel[label], label)
		}
	}
	start = time.Now()
	loaded, err := Load(context.Background(), ds, 32, 1, nil)
	if err != nil || len(loaded) != ds.Len() {
		t.Fatalf("loaded %d: %v", len(loaded), err)
	}
	t.Logf("loaded in %v", time.Since(start))
}
