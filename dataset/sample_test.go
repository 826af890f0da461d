package dataset

import (
	"bytes"
	"testing"
	"time"

	"imgsearch/internal/cifartest"
)

func TestSampleIsBalanced(t *testing.T) {
	start := time.Now()
	all, err := Open(t.Context(), "sample", Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes unpacked in %v", len(packedSample), time.Since(start))
	if len(packedSample) > 8_000_000 {
		t.Errorf("the embedded sample has %d bytes, allowed are 8,000,000", len(packedSample))
	}
	if all.Len() != 5000 {
		t.Errorf("sample has %d images, want 5000", all.Len())
	}
	for _, part := range []struct {
		split    string
		perClass int
	}{{"train", 400}, {"test", 100}} {
		ds, err := Open(t.Context(), "sample:"+part.split, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if ds.Len() != 10*part.perClass {
			t.Errorf("%s has %d images, want %d", ds.Name(), ds.Len(), 10*part.perClass)
		}
		count := map[Label]int{}
		for i := range ds.Len() {
			count[ds.Entry(i).Label]++
		}
		for _, label := range CIFAR10Labels() {
			if count[label] != part.perClass {
				t.Errorf("%s has %d images of %s, want %d", ds.Name(), count[label], label, part.perClass)
			}
		}
	}
}

func TestSamplePosition(t *testing.T) {
	test, err := Open(t.Context(), "sample:test", Options{})
	if err != nil {
		t.Fatal(err)
	}
	one, err := Open(t.Context(), "sample:test/17", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if one.Len() != 1 || one.Entry(0) != test.Entry(17) || one.Entry(0).Source != "sample:test/17" {
		t.Errorf("sample:test/17 is %+v, want %+v", one.Entry(0), test.Entry(17))
	}
}

// TestSampleIsReal compares every image of the sample with the official archive.
func TestSampleIsReal(t *testing.T) {
	file := cifartest.Archive(t)
	for _, split := range []string{"train", "test"} {
		official, err := Open(t.Context(), file+":"+split, Options{})
		if err != nil {
			t.Fatal(err)
		}
		sample, err := Open(t.Context(), "sample:"+split, Options{})
		if err != nil {
			t.Fatal(err)
		}
		next := 0
		for i := range sample.Len() {
			want, _, _ := sample.(*recordSet).record(i)
			for {
				if next == official.Len() {
					t.Fatalf("sample:%s/%d is not in the archive at or behind its predecessor", split, i)
				}
				got, _, _ := official.(*recordSet).record(next)
				next++
				if bytes.Equal(got, want) {
					break
				}
			}
		}
	}
}
