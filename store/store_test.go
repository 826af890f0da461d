package store

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
	"runtime"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"imgsearch/dataset"
)

var updateFlag = flag.Bool("update", false, "write the fixtures of testdata anew")

// boltFile makes a bbolt file with one value.
func boltFile(t *testing.T, bucket, key string, value []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bolt.imgsearch")
	db, err := bolt.Open(path, 0o644, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucket([]byte(bucket))
		if err != nil {
			return err
		}
		return b.Put([]byte(key), value)
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// framed returns a value.
func framed(k kind, n uint32, payload []byte) []byte {
	return encodeFrame(k, n, payload, payloadSum(k, n, payload))
}

// Files that are no collections, or not ours, are told apart, to readers and to writers, and get no lock file beside them.
func TestOpenOtherFiles(t *testing.T) {
	file, _ := realFile(t)
	write := func(b []byte) string {
		path := filepath.Join(t.TempDir(), "x.imgsearch")
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	newer := bytes.Clone(file)
	newer[pageHeaderSize+4], newer[pageSize+pageHeaderSize+4] = 3, 3
	fixMeta(newer)
	for _, c := range []struct {
		name string
		path string
		want error
	}{
		{"missing", filepath.Join(t.TempDir(), "missing"), ErrNotExist},
		{"in a missing folder", filepath.Join(t.TempDir(), "missing", "missing"), ErrNotExist},
		{"missing for the system too", filepath.Join(t.TempDir(), "missing"), os.ErrNotExist},
		{"folder", t.TempDir(), ErrNotCollection},
		{"empty", write(nil), ErrNotCollection},
		{"text", write([]byte("no collection")), ErrNotCollection},
		{"picture", write(append([]byte("\x89PNG\r\n\x1a\n"), make([]byte, 100_000)...)), ErrNotCollection},
		{"zeros", write(make([]byte, 1<<20)), ErrNotCollection},
		{"cut off in the first page", write(file[:100]), ErrCorrupt},
		{"one page", write(file[:pageSize]), ErrCorrupt},
		{"cut off later", write(file[:300_000]), ErrCorrupt},
		{"later bbolt", write(newer), ErrVersion},
		{"bbolt file of another program", boltFile(t, "theirs", "key", []byte("value")), ErrNotCollection},
		{"no header", boltFile(t, headerBucket, "key", []byte("value")), ErrCorrupt},
		{"header of another kind", boltFile(t, headerBucket, headerKey, []byte("value")), ErrCorrupt},
		{"later format", boltFile(t, headerBucket, headerKey, framed(kindHeader, 0, []byte(`{"format":2,"new":[]}`))), ErrVersion},
		{"first format without the rest", boltFile(t, headerBucket, headerKey, framed(kindHeader, 0, []byte(`{"format":1}`))), ErrCorrupt},
	} {
		for _, options := range []Options{{}, {Write: true}} {
			s, err := Open(c.path, options)
			if err == nil {
				s.Close()
			}
			if !errors.Is(err, c.want) {
				t.Errorf("%s, %+v: %v, not %v", c.name, options, err, c.want)
			} else if !strings.Contains(err.Error(), c.path) {
				t.Errorf("%s: %q does not name the file", c.name, err)
			}
			if _, err := os.Stat(c.path + lockSuffix); err == nil {
				t.Errorf("%s: left a lock file", c.name)
			}
		}
	}
}

func TestCreate(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "c[1]*.imgsearch")
	if err := os.WriteFile(path+temporarySuffix+"1", []byte("left behind"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		change func(*CreateOptions)
	}{
		{"no encoder", func(o *CreateOptions) { o.Encoder = nil }},
		{"no fingerprint", func(o *CreateOptions) { o.Fingerprint = "" }},
		{"dim 0", func(o *CreateOptions) { o.Dim = 0 }},
		{"dim too large", func(o *CreateOptions) { o.Dim = MaxDim + 1 }},
		{"no metric", func(o *CreateOptions) { o.Metric = "" }},
		{"options no JSON", func(o *CreateOptions) { o.Options = json.RawMessage("{") }},
		{"options too long", func(o *CreateOptions) { o.Options = json.RawMessage(`"` + strings.Repeat("x", MaxOptions) + `"`) }},
	} {
		options := testOptions()
		c.change(&options)
		if _, err := Create(path, options); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	s := create(t, path)
	if left, _ := filepath.Glob(filepath.Join(dir, "*"+temporarySuffix+"*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if _, err := Create(path, testOptions()); !errors.Is(err, ErrExists) {
		t.Errorf("again: %v", err)
	}
	if err := newModel().compare(s); err != nil {
		t.Error(err)
	}
	if s.Path() != path || !s.Writable() {
		t.Error(s.Path(), s.Writable())
	}
	if _, err := Create(filepath.Join(dir, "missing", "c.imgsearch"), testOptions()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("in a missing folder: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "other"), []byte("theirs"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(filepath.Join(dir, "other"), testOptions()); !errors.Is(err, ErrExists) {
		t.Errorf("over another file: %v", err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "other")); err != nil || string(b) != "theirs" {
		t.Errorf("other file is %q, %v", b, err)
	}
}

// A batch that cannot be taken changes nothing.
func TestInvalidBatches(t *testing.T) {
	ctx := context.Background()
	s := create(t, filepath.Join(t.TempDir(), "c.imgsearch"))
	m := newModel()
	rng := rand.New(rand.NewPCG(1, 1))
	for m.next < 10 {
		if err := m.step(rng)(s); err != nil {
			t.Fatal(err)
		}
	}
	ids := m.ids()
	good := item(rng, 1_000_000)
	with := func(change func(*Item)) Batch {
		bad := good
		change(&bad)
		return Batch{Remove: ids[:1], Add: []Item{good, bad}}
	}
	for _, c := range []struct {
		name  string
		batch Batch
		want  error
	}{
		{"remove unknown", Batch{Remove: []dataset.ID{ids[0], m.next}}, ErrNotFound},
		{"remove far", Batch{Remove: []dataset.ID{math.MaxUint64}}, ErrNotFound},
		{"remove twice", Batch{Remove: []dataset.ID{ids[0], ids[0]}}, ErrNotFound},
		{"touch unknown", Batch{Touch: []Record{{ID: m.next, Source: "x"}}}, ErrNotFound},
		{"touch removed", Batch{Remove: ids[:1], Touch: []Record{{ID: ids[0], Source: "x"}}}, ErrNotFound},
		{"touch without source", Batch{Touch: []Record{{ID: ids[0]}}}, ErrInvalid},
		{"no source", with(func(i *Item) { i.Record.Source = "" }), ErrInvalid},
		{"long source", with(func(i *Item) { i.Record.Source = strings.Repeat("x", MaxSource+1) }), ErrInvalid},
		{"long label", with(func(i *Item) { i.Record.Label = dataset.Label(strings.Repeat("x", MaxLabel+1)) }), ErrInvalid},
		{"long split", with(func(i *Item) { i.Record.Split = strings.Repeat("x", MaxLabel+1) }), ErrInvalid},
		{"negative size", with(func(i *Item) { i.Record.Size = -1 }), ErrInvalid},
		{"short embedding", with(func(i *Item) { i.Embedding = i.Embedding[1:] }), ErrInvalid},
		{"not a number", with(func(i *Item) { i.Embedding = []float32{1, 2, 3, 4, 5, float32(math.NaN())} }), ErrInvalid},
		{"infinite", with(func(i *Item) { i.Embedding = []float32{1, 2, 3, 4, 5, float32(math.Inf(-1))} }), ErrInvalid},
		{"large thumbnail", with(func(i *Item) { i.Thumbnail = make([]byte, MaxThumbnail+1) }), ErrInvalid},
		{"options no JSON", Batch{Options: json.RawMessage("x")}, ErrInvalid},
	} {
		if _, err := s.Apply(ctx, c.batch); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for _, c := range []struct {
		name       string
		generation uint64
		parts      []GraphPart
	}{
		{"stale graph", m.generation - 1, nil},
		{"graph of the future", m.generation + 1, nil},
		{"part without a name", m.generation, []GraphPart{{"", nil}}},
		{"part with an odd name", m.generation, []GraphPart{{"../x", nil}}},
		{"part twice", m.generation, []GraphPart{{"x", nil}, {"x", nil}}},
		{"too many parts", m.generation, func() (p []GraphPart) {
			for i := range MaxGraphParts + 1 {
				p = append(p, GraphPart{fmt.Sprint(i), nil})
			}
			return p
		}()},
	} {
		if err := s.PutGraph(ctx, c.generation, c.parts); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if err := m.compare(s); err != nil {
		t.Error(err)
	}
	mustBeSound(t, s)
}

func TestReadOnlyAndClosed(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "c.imgsearch")
	s := create(t, path)
	reader := open(t, path, Options{})
	if _, err := reader.Apply(ctx, Batch{}); !errors.Is(err, ErrReadOnly) {
		t.Errorf("apply on a reader: %v", err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.Apply(cancelled, Batch{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Apply(ctx, Batch{}); !errors.Is(err, ErrClosed) {
		t.Errorf("apply when closed: %v", err)
	}
	if err := s.View(ctx, func(*View) error { return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("view when closed: %v", err)
	}
	if err := os.Chmod(path, 0o444); err != nil {
		t.Fatal(err)
	}
	if err := newModel().compare(open(t, path, Options{})); err != nil {
		t.Errorf("read-only file: %v", err)
	}
	if os.Geteuid() == 0 {
		t.Skip("root may write anything")
	}
	if _, err := Open(path, Options{Write: true}); !errors.Is(err, ErrReadOnly) {
		t.Errorf("write a read-only file: %v", err)
	}
	if err := errors.Join(os.Chmod(path, 0o644), os.Chmod(filepath.Dir(path), 0o555)); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(filepath.Dir(path), 0o755)
	if _, err := Open(path, Options{Write: true}); !errors.Is(err, ErrReadOnly) {
		t.Errorf("write in a read-only folder: %v", err)
	}
	if _, err := Create(path+"2", testOptions()); !errors.Is(err, ErrReadOnly) {
		t.Errorf("create in a read-only folder: %v", err)
	}
}

// The file was replaced under an open collection: the writer does not touch the stranger.
func TestReplacedFile(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows replaces no open file")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "c.imgsearch")
	s := create(t, path)
	if err := errors.Join(os.Remove(path), os.WriteFile(path, []byte("theirs"), 0o644)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Apply(context.Background(), Batch{Add: []Item{item(rand.New(rand.NewPCG(1, 1)), 1)}}); err == nil {
		t.Error("no error")
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "theirs" {
		t.Errorf("the other file is %q, %v", b, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Apply(context.Background(), Batch{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("file deleted: %v", err)
	}
}

// compatModel makes the steps whose result lies in testdata/compat.
func compatModel() (*model, []func(*Store) error) {
	m := newModel()
	rng := rand.New(rand.NewPCG(2024, 7))
	var steps []func(*Store) error
	for len(steps) < 8 || m.graph == 0 || len(m.items) < 100 {
		steps = append(steps, m.step(rng))
	}
	return m, steps
}

// Files of earlier versions open as they were written.
func TestCompat(t *testing.T) {
	path := filepath.Join("testdata", "compat", fmt.Sprintf("format%d.imgsearch", FormatVersion))
	m, steps := compatModel()
	if *updateFlag {
		_ = os.Remove(path)
		s := create(t, path)
		for _, step := range steps {
			if err := step(s); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob("testdata/compat/*.imgsearch")
	if err != nil || len(files) == 0 {
		t.Fatal("no fixtures", err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		copied := filepath.Join(t.TempDir(), "c.imgsearch")
		if err := os.WriteFile(copied, b, 0o644); err != nil {
			t.Fatal(err)
		}
		s := open(t, copied, Options{Write: true})
		if err := m.compare(s); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		mustBeSound(t, s)
		if _, err := s.Apply(context.Background(), Batch{Add: []Item{item(rand.New(rand.NewPCG(1, 1)), 1_000_000)}}); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// Chunks and packs that are full to the last place, and one more.
func TestBoundaries(t *testing.T) {
	ctx := context.Background()
	s := create(t, filepath.Join(t.TempDir(), "c.imgsearch"))
	m := newModel()
	m.stride = 101
	rng := rand.New(rand.NewPCG(5, 5))
	add := func(n int) {
		t.Helper()
		var b Batch
		for range n {
			i := item(rng, int(m.next))
			m.items[m.next] = i
			b.Add = append(b.Add, i)
			m.next++
		}
		m.generation++
		if _, err := s.Apply(ctx, b); err != nil {
			t.Fatal(err)
		}
		if err := m.compare(s); err != nil {
			t.Fatalf("%d images: %v", m.next, err)
		}
	}
	for _, n := range []int{15, 1, 1, 46, 1, 1, 958, 1, 1, 64_510, 1, 1} { // to 64, 1,024, 65,536 and beyond
		add(n)
	}
	mustBeSound(t, s)
	records := 0
	err := s.View(ctx, func(v *View) error {
		for from := dataset.ID(0); ; {
			r, err := v.Records(from, 100)
			if err != nil || len(r) == 0 {
				return err
			}
			records += len(r)
			from = r[len(r)-1].ID + 1
		}
	})
	if err != nil || records != len(m.items) {
		t.Errorf("%d records in parts, not %d: %v", records, len(m.items), err)
	}
	err = s.View(ctx, func(v *View) error {
		if u := v.Usage(); u["vectors"] < int64(4*testDim*len(m.items)) || u["vectors"] > int64(5*testDim*len(m.items)) || u["encoder"] == 0 {
			t.Errorf("usage: %v", u)
		}
		if size := v.FileSize(); size < 1<<20 {
			t.Errorf("file size: %d", size)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// Times keep their nanoseconds and have no bounds that matter.
func TestRecordTimes(t *testing.T) {
	for _, want := range []time.Time{{}, time.Unix(0, 0), time.Unix(-1, 999_999_999), time.Unix(1, 1), time.Time{}.Add(1),
		time.Unix(1<<40, 0), time.Date(1600, 1, 1, 0, 0, 0, 5, time.UTC), time.Now()} {
		r, err := decodeRecord(3, encodeRecord(Record{Source: "x", ModTime: want}), &Record{})
		if err != nil || !r.ModTime.Equal(want) || r.ModTime.IsZero() != want.IsZero() || r.ID != 3 {
			t.Errorf("%v came back as %v, %v", want, r.ModTime, err)
		}
	}
}

func TestWords(t *testing.T) {
	words := []float32{1, -2, 3.5}
	b := append([]byte{9}, Bytes(words)...)
	for _, got := range [][]float32{Words[float32](Bytes(words)), Words[float32](b[1:]), Words[float32](append(b, 1, 2)[1:])} {
		if len(got) != 3 || got[0] != 1 || got[1] != -2 || got[2] != 3.5 {
			t.Errorf("%v", got)
		}
	}
	if Words[uint32](nil) != nil || Bytes([]uint32{}) != nil {
		t.Error("nothing is not nothing")
	}
}
