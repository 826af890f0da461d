package dataset

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// scripted is a data set whose reads do what a test wants.
type scripted struct {
	n    int
	read func(ctx context.Context, i int) (Sample, error)
}

func (s *scripted) Name() string      { return "scripted" }
func (s *scripted) Len() int          { return s.n }
func (s *scripted) Entry(i int) Entry { return Entry{Source: fmt.Sprintf("scripted/%d", i)} }
func (s *scripted) Close() error      { return nil }
func (s *scripted) Read(ctx context.Context, i int) (Sample, error) {
	return s.read(ctx, i)
}

func numbered(i int) Sample {
	m := NewImage(40, 40)
	for p := range m.Pix {
		m.Pix[p] = uint8(i)
	}
	return Sample{Image: m, Hash: Hash{byte(i)}}
}

func TestLoadKeepsOrder(t *testing.T) {
	errOdd := errors.New("odd")
	ds := &scripted{100, func(_ context.Context, i int) (Sample, error) {
		time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
		if i%10 == 7 {
			return Sample{}, fmt.Errorf("scripted/%d: %w", i, errOdd)
		}
		return numbered(i), nil
	}}
	for _, workers := range []int{0, 1, 3, 200} {
		var problems []string
		loaded, err := Load(t.Context(), ds, 8, workers, func(p Problem) {
			if !errors.Is(p, errOdd) {
				t.Error(p)
			}
			problems = append(problems, p.Source)
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(loaded) != 90 || len(problems) != 10 || problems[0] != "scripted/7" || !slices.IsSortedFunc(loaded, func(a, b Loaded) int { return a.Index - b.Index }) {
			t.Fatalf("%d workers: %d loaded, problems %v", workers, len(loaded), problems)
		}
		for _, l := range loaded {
			if l.Image.Width != 8 || l.Image.Height != 8 || l.Image.Pix[0] != uint8(l.Index) || l.Hash != (Hash{byte(l.Index)}) || l.Entry != ds.Entry(l.Index) {
				t.Fatalf("image %d: %+v", l.Index, l)
			}
		}
	}
	if loaded, err := Load(t.Context(), ds, 0, 2, nil); err != nil || len(loaded) != 90 || loaded[0].Image.Width != 40 {
		t.Errorf("size 0: %d images, %v", len(loaded), err)
	}
	if loaded, err := Load(t.Context(), &scripted{n: 0}, 8, 2, nil); err != nil || len(loaded) != 0 {
		t.Errorf("nothing: %d images, %v", len(loaded), err)
	}
}

func TestLoadCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var reads atomic.Int32
	ds := &scripted{1_000_000, func(ctx context.Context, i int) (Sample, error) {
		if reads.Add(1) == 50 {
			cancel()
		}
		return numbered(i), ctx.Err()
	}}
	if _, err := Load(ctx, ds, 8, 3, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if n := reads.Load(); n > 100 {
		t.Errorf("%d reads after the end", n)
	}
}

func TestEachStops(t *testing.T) {
	errEnough := errors.New("enough")
	seen := 0
	err := Each(t.Context(), &scripted{1000, func(_ context.Context, i int) (Sample, error) { return numbered(i), nil }}, 4,
		func(i int, s Sample, err error) error {
			if seen++; i == 20 {
				return errEnough
			}
			return err
		})
	if err != errEnough || seen != 21 {
		t.Errorf("error %v after %d images", err, seen)
	}
}

// TestEachWaits has a slow receiver: the images decoded ahead must stay few.
func TestEachWaits(t *testing.T) {
	const workers = 3
	var reads atomic.Int32
	ds := &scripted{500, func(_ context.Context, i int) (Sample, error) { reads.Add(1); return numbered(i), nil }}
	err := Each(t.Context(), ds, workers, func(i int, s Sample, err error) error {
		if i%50 == 0 {
			time.Sleep(3 * time.Millisecond)
		}
		if ahead := int(reads.Load()) - i; ahead > 6*workers+1 {
			return fmt.Errorf("image %d: %d are decoded ahead", i, ahead)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestSubset(t *testing.T) {
	ds, err := Open(t.Context(), "sample:test", Options{})
	if err != nil {
		t.Fatal(err)
	}
	some, err := Subset(ds, "some", []int{5, 3, 900})
	if err != nil {
		t.Fatal(err)
	}
	if some.Name() != "some" || some.Len() != 3 || some.Entry(2) != ds.Entry(900) {
		t.Errorf("%s, %d images, the third %+v", some.Name(), some.Len(), some.Entry(2))
	}
	a, _ := some.Read(t.Context(), 1)
	b, _ := ds.Read(t.Context(), 3)
	if a.Hash != b.Hash || !a.Image.Equal(b.Image) {
		t.Error("image 1 is not image 3 of the whole")
	}
	for _, bad := range [][]int{{-1}, {1000}, {3, 3}} {
		if _, err := Subset(ds, "bad", bad); err == nil {
			t.Errorf("%v was taken", bad)
		}
	}
}

func TestOpenAll(t *testing.T) {
	root := tree(t, "cat/1.png", "x.heic")
	ds, err := OpenAll(t.Context(), []string{"sample:test/3", root, "sample:test", root}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer ds.Close()
	if ds.Len() != 1001 {
		t.Errorf("%d images, want 1001: those named twice are taken once", ds.Len())
	}
	if got, want := ds.Name(), "sample:test/3+"+root+"+sample:test+"+root; got != want {
		t.Errorf("name %s, want %s", got, want)
	}
	for i, want := range []string{"sample:test/3", root, "sample:test/0", "sample:test/1", "sample:test/2", "sample:test/4"} {
		if got := ds.Entry(i).Source; !strings.HasPrefix(got, want) {
			t.Errorf("image %d is %s, want %s", i, got, want)
		}
		if s, err := ds.Read(t.Context(), i); err != nil || s.Image == nil {
			t.Errorf("image %d: %v", i, err)
		}
	}
	if got := len(Problems(ds)); got != 2 {
		t.Errorf("%d problems, want one of each listing", got)
	}
	if _, err := OpenAll(t.Context(), []string{"sample", "missing"}, Options{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("one missing: %v", err)
	}
	if _, err := OpenAll(t.Context(), nil, Options{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("none: %v", err)
	}
	var many []string
	for i := range 12 {
		many = append(many, fmt.Sprintf("sample:test/%d", i))
	}
	long, err := OpenAll(t.Context(), many, Options{})
	if err != nil || long.Len() != 12 || !strings.HasSuffix(long.Name(), "sample:test/7+4 more") {
		t.Errorf("many: %v, %v", long.Name(), err)
	}
	one, err := OpenAll(t.Context(), []string{"sample:test"}, Options{})
	if err != nil || one.Name() != "sample:test" || one.Len() != 1000 {
		t.Errorf("one alone: %v, %v", one, err)
	}
}

func TestFingerprint(t *testing.T) {
	root := tree(t, "cat/1.png", "dog/2.png")
	fingerprint := func(names ...string) string {
		t.Helper()
		ds, err := OpenAll(t.Context(), names, Options{})
		if err != nil {
			t.Fatal(err)
		}
		sum, err := Fingerprint(t.Context(), ds)
		if err != nil || len(sum) != 64 {
			t.Fatal(sum, err)
		}
		return sum
	}
	seen := map[string]string{}
	for _, names := range [][]string{{"sample"}, {"sample:train"}, {"sample:test"}, {"sample:test", "sample:train"}, {root}, {root, "sample:test"}, {"sample:test/3"}} {
		sum := fingerprint(names...)
		if sum != fingerprint(names...) {
			t.Errorf("%v: two fingerprints", names)
		}
		if other, ok := seen[sum]; ok {
			t.Errorf("%v has the fingerprint of %s", names, other)
		}
		seen[sum] = strings.Join(names, " ")
	}
	before := fingerprint(root)
	writeFile(t, root+"/dog/2.png", []byte("changed"))
	if fingerprint(root) == before {
		t.Error("a changed file leaves the fingerprint as it was")
	}

	// Records with the same names and other pixels.
	records := make([]byte, 2*recordBytes)
	a, err := newRecordSet("x", "x", []recordRun{{split: "train", data: slices.Clone(records)}})
	must(err)
	records[recordBytes+70]++
	b, err := newRecordSet("x", "x", []recordRun{{split: "train", data: records}})
	must(err)
	for _, pair := range [][2]Dataset{{a, b}, {Join(a, &scripted{}), Join(b, &scripted{})}} {
		one, _ := Fingerprint(t.Context(), pair[0])
		two, _ := Fingerprint(t.Context(), pair[1])
		if one == two {
			t.Error("changed pixels leave the fingerprint as it was")
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Fingerprint(ctx, a); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
