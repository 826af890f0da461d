package search

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"imgsearch/dataset"
	"imgsearch/embedder"
	"imgsearch/index"
	"imgsearch/index/exact"
	"imgsearch/index/hnsw"
)

// smallEncoder returns an untrained encoder of 16x16 pixels to 8 values.
func smallEncoder(t testing.TB, seed uint64, normalized bool) *embedder.Encoder {
	t.Helper()
	net := embedder.Architecture{
		InputSize: 16, Mean: [3]float32{0.5, 0.5, 0.5}, Std: [3]float32{0.25, 0.25, 0.25},
		Layers: []embedder.Layer{
			{Kind: embedder.Conv, Out: 8, Kernel: 3, Stride: 2, Pad: 1}, {Kind: embedder.ReLU},
			{Kind: embedder.Conv, Out: 16, Kernel: 3, Stride: 2, Pad: 1}, {Kind: embedder.ReLU},
			{Kind: embedder.Flatten}, {Kind: embedder.Linear, Out: 8},
		},
	}
	if normalized {
		net.Layers = append(net.Layers, embedder.Layer{Kind: embedder.L2Norm})
	}
	e, err := embedder.New(net, embedder.InitWeights(net, rand.New(rand.NewPCG(seed, 1))), embedder.Metadata{})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// memory is a data set of images in memory that look like files.
type memory struct {
	name    string
	entries []dataset.Entry
	images  map[string]*dataset.Image // by source; missing: damaged
	onRead  func(n int)               // is told how many reads there were
	mu      sync.Mutex
	reads   int
}

var errDamaged = errors.New("damaged")

func (m *memory) Name() string              { return m.name }
func (m *memory) Len() int                  { return len(m.entries) }
func (m *memory) Entry(i int) dataset.Entry { return m.entries[i] }
func (m *memory) Close() error              { return nil }
func (m *memory) Read(ctx context.Context, i int) (dataset.Sample, error) {
	m.mu.Lock()
	m.reads++
	if m.onRead != nil {
		m.onRead(m.reads)
	}
	m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return dataset.Sample{}, err
	}
	img := m.images[m.entries[i].Source]
	if img == nil {
		return dataset.Sample{}, fmt.Errorf("%s: %w", m.entries[i].Source, errDamaged)
	}
	return dataset.Sample{Image: img, Hash: sha256.Sum256(img.Pix)}, nil
}

// noise returns a random picture.
func noise(rng *rand.Rand, w, h int) *dataset.Image {
	img := dataset.NewImage(w, h)
	base := [3]int{rng.IntN(256), rng.IntN(256), rng.IntN(256)}
	for i := range img.Pix {
		img.Pix[i] = uint8(max(0, min(255, base[i%3]+rng.IntN(80)-40)))
	}
	return img
}

// pictures returns a data set of n random pictures.
func pictures(rng *rand.Rand, n int) *memory {
	m := &memory{name: "pictures", images: map[string]*dataset.Image{}}
	for i := range n {
		m.put(rng, fmt.Sprintf("pictures/%03d.png", i), noise(rng, 16, 16))
	}
	return m
}

// put adds an image, or changes it.
func (m *memory) put(rng *rand.Rand, source string, img *dataset.Image) {
	m.images[source] = img
	e := dataset.Entry{Source: source, Label: dataset.Label(fmt.Sprint("label", len(source)%3)), Size: 1 + rng.Int64N(1e6),
		ModTime: time.Unix(rng.Int64N(1e9), rng.Int64N(1e9))}
	if i := slices.IndexFunc(m.entries, func(e dataset.Entry) bool { return e.Source == source }); i >= 0 {
		m.entries[i] = e
	} else {
		m.entries = append(m.entries, e)
	}
}

func newCollection(t testing.TB, e *embedder.Encoder, options CreateOptions) *Collection {
	t.Helper()
	options.Encoder = e
	c, err := Create(filepath.Join(t.TempDir(), "c.imgsearch"), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func openCollection(t testing.TB, path string, options OpenOptions) *Collection {
	t.Helper()
	c, err := Open(path, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func add(t testing.TB, c *Collection, ds dataset.Dataset, options AddOptions) AddReport {
	t.Helper()
	report, err := c.Add(context.Background(), ds, options)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func mustBeSound(t testing.TB, c *Collection) {
	t.Helper()
	report, err := c.Check(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range report.Problems {
		t.Errorf("check: %v", p)
	}
}

func sources(t testing.TB, c *Collection) map[string]Record {
	t.Helper()
	all := map[string]Record{}
	for r, err := range c.Records(context.Background()) {
		if err != nil {
			t.Fatal(err)
		}
		all[r.Source] = r
	}
	return all
}

// counts returns the report's numbers, and how many were skipped.
func counts(r AddReport) [6]int {
	return [6]int{r.Added, r.Replaced, r.Updated, r.Unchanged, r.Pruned, len(r.Skipped)}
}

func TestFreshCollection(t *testing.T) {
	ctx := context.Background()
	for _, normalized := range []bool{true, false} {
		rng := rand.New(rand.NewPCG(1, 1))
		e := smallEncoder(t, 1, normalized)
		ds := pictures(rng, 700)
		c := newCollection(t, e, CreateOptions{})
		var stages []Progress
		report := add(t, c, ds, AddOptions{OnProgress: func(p Progress) { stages = append(stages, p) }})
		if counts(report) != [6]int{700} {
			t.Errorf("report: %+v", report)
		}
		if last := stages[len(stages)-1]; last.Stage != StageLink || last.Done != last.Total || last.Total != 700 || last.Report.Added != 700 {
			t.Errorf("last progress: %+v", last)
		}
		mustBeSound(t, c)

		// Ids are the data set's order, embeddings those of the encoder, whatever the threads.
		ids, embeddings, err := c.Embeddings(ctx)
		if err != nil {
			t.Fatal(err)
		}
		all := make([]*dataset.Image, ds.Len())
		for i := range all {
			all[i] = ds.images[ds.entries[i].Source]
			if ids[i] != dataset.ID(i) {
				t.Fatalf("row %d is image %d", i, ids[i])
			}
			r, err := c.Record(ctx, ids[i])
			entry := ds.entries[i]
			if err != nil || r.Source != entry.Source || r.Label != entry.Label || r.Size != entry.Size || !r.ModTime.Equal(entry.ModTime) ||
				r.Hash != sha256.Sum256(all[i].Pix) {
				t.Fatalf("record %+v (%v) of %+v", r, err, entry)
			}
			thumbnail, err := c.Thumbnail(ctx, ids[i])
			if err != nil || !thumbnail.Equal(all[i]) {
				t.Fatalf("thumbnail %d: %v", i, err)
			}
		}
		want, err := e.Embed(ctx, all, 1)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(embeddings, want) {
			t.Error("embeddings differ from the encoder's")
		}
		one, err := c.Embedding(ctx, 17)
		if err != nil || !slices.Equal(one, want[17*8:18*8]) {
			t.Errorf("embedding 17: %v, %v", one, err)
		}

		// A new process sees the same.
		reader := openCollection(t, c.Path(), OpenOptions{ReadOnly: true})
		again, err := reader.Encoder()
		if err != nil || again.Fingerprint() != e.Fingerprint() {
			t.Fatal(err)
		}
		metric := index.L2
		if normalized {
			metric = index.Cosine
		}
		if n, err := reader.Len(); err != nil || n != 700 || reader.Dim() != 8 || reader.Metric() != metric || reader.Path() != c.Path() {
			t.Errorf("%d images, %v", n, err)
		}
		info, err := reader.Info(ctx)
		if err != nil || info.Images != 700 || info.NextID != 700 || info.Graph.Stale || info.Graph.M != 16 || info.Thumbnail != 128 ||
			info.Encoder != e.Fingerprint() || info.Labels["label0"]+info.Labels["label1"]+info.Labels["label2"] != 700 ||
			info.Bytes["vectors"] < 700*8*4 || info.Splits[""] != 700 || info.Format != 1 || info.FileBytes == 0 {
			t.Errorf("info: %+v, %v", info, err)
		}
		mustBeSound(t, reader)
	}
}

// oracle answers by comparing with everything, without the collection's own code.
func oracle(t testing.TB, c *Collection) *exact.Index {
	t.Helper()
	ids, embeddings, err := c.Embeddings(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	x, err := exact.New(c.Metric(), c.Dim())
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Add(ids, embeddings); err != nil {
		t.Fatal(err)
	}
	return x
}

func neighbors(results []Result) (out []index.Neighbor) {
	for _, r := range results {
		out = append(out, index.Neighbor{ID: r.ID, Distance: r.Distance})
	}
	return out
}

// without takes an id out of neighbours and keeps at most k.
func without(all []index.Neighbor, k int, ids ...dataset.ID) (out []index.Neighbor) {
	for _, n := range all {
		if !slices.Contains(ids, n.ID) && len(out) < k {
			out = append(out, n)
		}
	}
	return out
}

func TestQueries(t *testing.T) {
	ctx := context.Background()
	rng := rand.New(rand.NewPCG(2, 2))
	e := smallEncoder(t, 1, true)
	ds := pictures(rng, 300)
	for i := range 5 { // the same picture under other names
		ds.put(rng, fmt.Sprintf("pictures/copy%d.png", i), ds.images["pictures/010.png"])
	}
	c := newCollection(t, e, CreateOptions{})
	add(t, c, ds, AddOptions{})
	x := oracle(t, c)
	query, err := c.Embedding(ctx, 10)
	if err != nil {
		t.Fatal(err)
	}
	truth, err := x.Search(query, 305)
	if err != nil {
		t.Fatal(err)
	}
	copies := []dataset.ID{10, 300, 301, 302, 303, 304}
	sample := dataset.Sample{Image: ds.images["pictures/010.png"], Hash: sha256.Sum256(ds.images["pictures/010.png"].Pix)}
	check := func(name string, want []index.Neighbor, results []Result, err error) {
		t.Helper()
		if err != nil || !slices.Equal(neighbors(results), want) {
			t.Errorf("%s: %v (%v), not %v", name, neighbors(results), err, want)
		}
		for i, r := range results {
			record, err := c.Record(ctx, r.ID)
			if err != nil || r.Rank != i+1 || r.Source != record.Source || r.Label != record.Label || r.Similarity != 1-r.Distance {
				t.Errorf("%s: result %+v of %+v", name, r, record)
			}
		}
	}
	for _, exact := range []bool{true, false} {
		for _, ef := range []int{0, 300} {
			o := QueryOptions{K: 7, Exact: exact, Ef: ef}
			got, err := c.QueryEmbedding(ctx, query, o)
			check("embedding", truth[:7], got, err)
			got, err = c.QueryID(ctx, 10, o)
			check("id", without(truth, 7, 10), got, err)
			got, err = c.QueryImage(ctx, sample, o)
			check("image", without(truth, 7, copies...), got, err)
			got, err = c.QueryImage(ctx, dataset.Sample{Image: sample.Image}, o)
			check("image of unknown origin", truth[:7], got, err)
			o.Source = "pictures/copy3.png"
			got, err = c.QueryImage(ctx, dataset.Sample{Image: sample.Image}, o)
			check("image of known source", without(truth, 7, 303), got, err)
			o.IncludeSelf = true
			got, err = c.QueryID(ctx, 10, o)
			check("id with itself", truth[:7], got, err)
			got, err = c.QueryImage(ctx, sample, o)
			check("image with itself", truth[:7], got, err)

			o = QueryOptions{K: 1000, Exact: exact, Ef: ef}
			got, err = c.QueryEmbedding(ctx, query, o)
			check("more than there is", truth, got, err)
			got, err = c.QueryImage(ctx, sample, o)
			check("more than there is, by image", without(truth, 1000, copies...), got, err)
			o.K = 305
			got, err = c.QueryID(ctx, 10, o)
			check("all there is", without(truth, 1000, 10), got, err)

			o = QueryOptions{K: 300, Exact: exact, Ef: ef, MaxDistance: float64(truth[20].Distance)}
			got, err = c.QueryEmbedding(ctx, query, o)
			check("near ones", truth[:21], got, err)
			o.K = 4
			got, err = c.QueryImage(ctx, sample, o)
			check("near ones by image", without(truth[:21], 4, copies...), got, err)
			o = QueryOptions{K: 4, Exact: exact, Ef: ef, MaxDistance: 1e-6}
			got, err = c.QueryImage(ctx, sample, o)
			check("none near", nil, got, err)
			if got == nil {
				t.Error("no results are nil")
			}
		}
	}
	for _, q := range []struct {
		name string
		do   func() ([]Result, error)
		want error
	}{
		{"k of 0", func() ([]Result, error) { return c.QueryID(ctx, 1, QueryOptions{}) }, ErrK},
		{"negative k", func() ([]Result, error) { return c.QueryImage(ctx, sample, QueryOptions{K: -1}) }, ErrK},
		{"k of 0, file", func() ([]Result, error) { return c.QueryFile(ctx, "missing", QueryOptions{}) }, ErrK},
		{"negative distance", func() ([]Result, error) { return c.QueryID(ctx, 1, QueryOptions{K: 1, MaxDistance: -1}) }, ErrOptions},
		{"no distance", func() ([]Result, error) { return c.QueryID(ctx, 1, QueryOptions{K: 1, MaxDistance: math.NaN()}) }, ErrOptions},
		{"negative ef", func() ([]Result, error) { return c.QueryID(ctx, 1, QueryOptions{K: 1, Ef: -1}) }, ErrOptions},
		{"large ef", func() ([]Result, error) { return c.QueryID(ctx, 1, QueryOptions{K: 1, Ef: maxEf + 1}) }, ErrOptions},
		{"unknown id", func() ([]Result, error) { return c.QueryID(ctx, 305, QueryOptions{K: 1}) }, ErrNotFound},
		{"short embedding", func() ([]Result, error) { return c.QueryEmbedding(ctx, query[1:], QueryOptions{K: 1}) }, ErrEmbedding},
		{"zero embedding", func() ([]Result, error) { return c.QueryEmbedding(ctx, make([]float32, 8), QueryOptions{K: 1}) }, ErrEmbedding},
		{"no image", func() ([]Result, error) { return c.QueryImage(ctx, dataset.Sample{}, QueryOptions{K: 1}) }, embedder.ErrImage},
		{"missing file", func() ([]Result, error) { return c.QueryFile(ctx, "missing.png", QueryOptions{K: 1}) }, os.ErrNotExist},
	} {
		if results, err := q.do(); !errors.Is(err, q.want) || results != nil {
			t.Errorf("%s: %v, %v", q.name, results, err)
		}
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := c.QueryID(cancelled, 1, QueryOptions{K: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestEmptyCollection(t *testing.T) {
	ctx := context.Background()
	e := smallEncoder(t, 1, false)
	c := newCollection(t, e, CreateOptions{})
	for range 2 {
		results, err := c.QueryEmbedding(ctx, make([]float32, 8), QueryOptions{K: 3})
		if err != nil || results == nil || len(results) > 0 {
			t.Errorf("query: %v, %v", results, err)
		}
		if results, err := c.QueryImage(ctx, dataset.Sample{Image: dataset.NewImage(4, 4)}, QueryOptions{K: 3}); err != nil || len(results) > 0 {
			t.Errorf("query by image: %v, %v", results, err)
		}
		if _, err := c.QueryID(ctx, 0, QueryOptions{K: 3}); !errors.Is(err, ErrNotFound) {
			t.Errorf("query by id: %v", err)
		}
		ids, embeddings, err := c.Embeddings(ctx)
		if err != nil || len(ids)+len(embeddings) > 0 {
			t.Errorf("embeddings: %v, %v, %v", ids, embeddings, err)
		}
		if len(sources(t, c)) > 0 {
			t.Error("records")
		}
		if info, err := c.Info(ctx); err != nil || info.Images != 0 || info.Graph.Stale {
			t.Errorf("info: %+v, %v", info, err)
		}
		mustBeSound(t, c)
		if report := add(t, c, &memory{name: "none"}, AddOptions{Prune: true}); counts(report) != [6]int{} {
			t.Errorf("add nothing: %+v", report)
		}
	}
	// It becomes empty again.
	rng := rand.New(rand.NewPCG(3, 3))
	add(t, c, pictures(rng, 5), AddOptions{})
	if err := c.Remove(ctx, 0, 1, 2, 3, 4, 4); err != nil {
		t.Fatal(err)
	}
	if results, err := c.QueryEmbedding(ctx, make([]float32, 8), QueryOptions{K: 3, Ef: 10}); err != nil || len(results) > 0 {
		t.Errorf("query: %v, %v", results, err)
	}
	mustBeSound(t, c)
	if report := add(t, c, pictures(rng, 3), AddOptions{}); counts(report) != [6]int{3} {
		t.Errorf("%+v", report)
	}
	if r := sources(t, c)["pictures/000.png"]; r.ID != 5 {
		t.Errorf("first new image has id %d", r.ID)
	}
	mustBeSound(t, c)
}

func TestAddAgain(t *testing.T) {
	ctx := context.Background()
	rng := rand.New(rand.NewPCG(4, 4))
	ds := pictures(rng, 40)
	delete(ds.images, "pictures/007.png")
	ds.entries = append(ds.entries, ds.entries[3])
	c := newCollection(t, smallEncoder(t, 1, true), CreateOptions{})
	var heard []dataset.Problem
	report := add(t, c, ds, AddOptions{OnProblem: func(p dataset.Problem) { heard = append(heard, p) }})
	if counts(report) != [6]int{39, 0, 0, 0, 0, 2} || !slices.Equal(heard, report.Skipped) {
		t.Errorf("first: %+v", report)
	}
	if p := report.Skipped[0]; p.Source != "pictures/003.png" || !errors.Is(p, ErrRepeated) {
		t.Errorf("repeated: %v", p)
	}
	if p := report.Skipped[1]; p.Source != "pictures/007.png" || !errors.Is(p, errDamaged) {
		t.Errorf("damaged: %v", p)
	}
	ds.entries = ds.entries[:40]
	before := sources(t, c)
	info, err := c.Info(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ds.reads = 0
	if report := add(t, c, ds, AddOptions{}); counts(report) != [6]int{0, 0, 0, 39, 0, 1} || ds.reads != 1 {
		t.Errorf("again: %+v, %d reads", report, ds.reads)
	}
	if now, err := c.Info(ctx); err != nil || now.Commit != info.Commit {
		t.Errorf("adding nothing made commit %d of %d, %v", now.Commit, info.Commit, err)
	}

	// One is touched, one gets another label, one changes, one changes into a damaged one, one is mended, one is new.
	ds.put(rng, "pictures/000.png", ds.images["pictures/000.png"])
	ds.entries[1].Label = "other"
	ds.put(rng, "pictures/002.png", noise(rng, 16, 16))
	ds.put(rng, "pictures/003.png", nil)
	ds.put(rng, "pictures/007.png", noise(rng, 16, 16))
	ds.put(rng, "pictures/new.png", noise(rng, 16, 16))
	report = add(t, c, ds, AddOptions{})
	if counts(report) != [6]int{2, 1, 2, 35, 0, 1} {
		t.Errorf("changed: %+v", report)
	}
	after := sources(t, c)
	if len(after) != 41 {
		t.Errorf("%d images", len(after))
	}
	for source, r := range after {
		switch source {
		case "pictures/002.png":
			if r.ID != 39 || r.Hash == before[source].Hash {
				t.Errorf("replaced: %+v", r)
			}
		case "pictures/007.png":
			if r.ID != 40 {
				t.Errorf("mended: %+v", r)
			}
		case "pictures/new.png":
			if r.ID != 41 {
				t.Errorf("new: %+v", r)
			}
		case "pictures/000.png":
			if r.ID != before[source].ID || !r.ModTime.Equal(ds.entries[0].ModTime) {
				t.Errorf("touched: %+v", r)
			}
		case "pictures/001.png":
			if r.ID != before[source].ID || r.Label != "other" {
				t.Errorf("relabelled: %+v", r)
			}
		default:
			if r != before[source] {
				t.Errorf("%+v was %+v", r, before[source])
			}
		}
	}
	if _, err := c.Record(ctx, before["pictures/002.png"].ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("old record: %v", err)
	}
	mustBeSound(t, c)
	if report := add(t, c, ds, AddOptions{}); counts(report) != [6]int{0, 0, 0, 40, 0, 1} {
		t.Errorf("at last: %+v", report)
	}
}

// Images without files of their own are known by their content.
func TestAddWithoutFiles(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	ds := pictures(rng, 20)
	for i := range ds.entries {
		ds.entries[i] = dataset.Entry{Source: fmt.Sprintf("set:train/%d", i), Split: "train"}
		ds.images[ds.entries[i].Source] = noise(rng, 16, 16)
	}
	c := newCollection(t, smallEncoder(t, 1, true), CreateOptions{})
	add(t, c, ds, AddOptions{})
	ds.images["set:train/3"] = noise(rng, 16, 16)
	ds.entries = ds.entries[:15]
	if report := add(t, c, ds, AddOptions{Prune: true}); counts(report) != [6]int{0, 1, 0, 14} {
		t.Errorf("%+v", report)
	}
	mustBeSound(t, c)
}

// folderOf writes the pictures of a data set to files.
func folderOf(t testing.TB, ds *memory) string {
	t.Helper()
	dir := t.TempDir()
	for source, img := range ds.images {
		path := filepath.Join(dir, source)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(png.Encode(f, img.RGBA()), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func openFolder(t testing.TB, names ...string) dataset.Dataset {
	t.Helper()
	ds, err := dataset.OpenAll(context.Background(), names, dataset.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ds.Close() })
	return ds
}

func TestPrune(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	dir := folderOf(t, pictures(rng, 30))
	other := folderOf(t, pictures(rng, 5))
	c := newCollection(t, smallEncoder(t, 1, true), CreateOptions{})
	if report := add(t, c, openFolder(t, dir, other), AddOptions{Prune: true, Roots: []string{dir, other}}); counts(report) != [6]int{35} {
		t.Fatalf("%+v", report)
	}
	remove := func(names ...string) {
		for _, name := range names {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	remove("pictures/001.png", "pictures/002.png")
	if report := add(t, c, openFolder(t, dir), AddOptions{}); counts(report) != [6]int{0, 0, 0, 28} {
		t.Errorf("without prune: %+v", report)
	}
	if report := add(t, c, openFolder(t, other), AddOptions{Prune: true}); counts(report) != [6]int{0, 0, 0, 5} {
		t.Errorf("another folder: %+v", report)
	}
	// One that is not listed any more and is still there is not gone.
	if err := os.Rename(filepath.Join(dir, "pictures/003.png"), filepath.Join(dir, "pictures/.003.png")); err != nil {
		t.Fatal(err)
	}
	if report := add(t, c, openFolder(t, dir+string(filepath.Separator)), AddOptions{Prune: true}); counts(report) != [6]int{0, 0, 0, 27, 3} {
		t.Errorf("prune: %+v", report)
	}
	if all := sources(t, c); len(all) != 32 || all[filepath.Join(dir, "pictures/001.png")].Source != "" {
		t.Errorf("%d images left", len(all))
	}
	mustBeSound(t, c)
	remove("pictures/004.png")
	if report := add(t, c, openFolder(t, filepath.Join(dir, "pictures")), AddOptions{Prune: true}); counts(report) != [6]int{0, 0, 26, 0, 1} {
		t.Errorf("folder within: %+v", report)
	}
	mustBeSound(t, c)
}

func TestQueryFile(t *testing.T) {
	ctx := context.Background()
	dir := folderOf(t, pictures(rand.New(rand.NewPCG(16, 16)), 12))
	c := newCollection(t, smallEncoder(t, 1, true), CreateOptions{})
	add(t, c, openFolder(t, dir), AddOptions{})
	path := filepath.Join(dir, "pictures", "004.png")
	for _, name := range []string{path, filepath.Join(dir, ".", "pictures", "..", "pictures", "004.png")} {
		results, err := c.QueryFile(ctx, name, QueryOptions{K: 20})
		if err != nil || len(results) != 11 || slices.ContainsFunc(results, func(r Result) bool { return r.Source == path }) {
			t.Errorf("%d results, %v", len(results), err)
		}
		results, err = c.QueryFile(ctx, name, QueryOptions{K: 1, IncludeSelf: true})
		if err != nil || len(results) != 1 || results[0].Source != path || results[0].Distance > 1e-6 {
			t.Errorf("itself: %+v, %v", results, err)
		}
	}
	// The file changed since: its source still tells.
	other, err := os.ReadFile(filepath.Join(dir, "pictures", "005.png"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, other, 0o644); err != nil {
		t.Fatal(err)
	}
	results, err := c.QueryFile(ctx, path, QueryOptions{K: 20})
	if err != nil || len(results) != 10 {
		t.Errorf("changed: %d results, %v", len(results), err)
	}
}

func TestIsBelow(t *testing.T) {
	for _, c := range []struct {
		folder, path string
		want         bool
	}{
		{"a", "a/b", true}, {"a/", "a/b/c", true}, {".", "a/b", true}, {"/a", "/a/b", true}, {"a/../b", "b/c", true},
		{"a", "a", false}, {"a", "ab/c", false}, {"a", "b", false}, {"a", "a/../b", false}, {".", "/a", false}, {".", "..a", true},
		{"/a", "a/b", false}, {"..", "../a", true},
	} {
		if got := isBelow(filepath.FromSlash(c.folder), filepath.FromSlash(c.path)); got != c.want {
			t.Errorf("isBelow(%q, %q) = %t", c.folder, c.path, got)
		}
	}
}

func TestRemove(t *testing.T) {
	ctx := context.Background()
	rng := rand.New(rand.NewPCG(7, 7))
	c := newCollection(t, smallEncoder(t, 1, true), CreateOptions{})
	add(t, c, pictures(rng, 60), AddOptions{})
	if err := c.Remove(ctx); err != nil {
		t.Error(err)
	}
	if err := c.Remove(ctx, 3, 60); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown id: %v", err)
	}
	if err := c.Remove(ctx, 5, 3, 5); err != nil {
		t.Error(err)
	}
	if err := c.Remove(ctx, 3); !errors.Is(err, ErrNotFound) {
		t.Errorf("removed id: %v", err)
	}
	if _, err := c.RemoveSources(ctx, "pictures/001.png", "pictures/005.png"); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "pictures/005.png") {
		t.Errorf("removed source: %v", err)
	}
	if ids, err := c.RemoveSources(ctx, "pictures/009.png", "pictures/001.png"); err != nil || !slices.Equal(ids, []dataset.ID{1, 9}) {
		t.Errorf("sources: %v, %v", ids, err)
	}
	if n, err := c.Len(); err != nil || n != 56 {
		t.Errorf("%d left, %v", n, err)
	}
	mustBeSound(t, c)
	query, err := c.Embedding(ctx, 2)
	if err != nil {
		t.Fatal(err)
	}
	results, err := c.QueryEmbedding(ctx, query, QueryOptions{K: 56, Ef: 100})
	if err != nil || len(results) != 56 {
		t.Errorf("%d results, %v", len(results), err)
	}
	truth, err := oracle(t, c).Search(query, 10)
	if err != nil || !slices.Equal(neighbors(results[:10]), truth) {
		t.Errorf("%v, not %v", neighbors(results[:10]), truth)
	}
	if ids, err := c.RemoveSources(ctx, "pictures"); err != nil || len(ids) != 56 {
		t.Errorf("folder: %v, %v", ids, err)
	}
}

// A search of the graph finds nearly what exact search finds, in this process and from the file, before and after
// changes, and other processes' answers are the same.
func TestGraphAnswers(t *testing.T) {
	ctx := context.Background()
	rng := rand.New(rand.NewPCG(8, 8))
	c := newCollection(t, smallEncoder(t, 1, true), CreateOptions{Graph: hnsw.Options{M: 8, EfSearch: 100, EfConstruction: 100, Seed: 3}})
	n, queries := 2500, 100
	if testing.Short() {
		n, queries = 800, 20
	}
	ds := pictures(rng, n)
	add(t, c, ds, AddOptions{})
	reader := openCollection(t, c.Path(), OpenOptions{ReadOnly: true})
	recall := func() float64 {
		t.Helper()
		hits, total := 0, 0
		for range queries {
			q := make([]float32, 8)
			for i := range q {
				q[i] = float32(rng.NormFloat64())
			}
			truth, err := c.QueryEmbedding(ctx, q, QueryOptions{K: 10, Exact: true})
			if err != nil {
				t.Fatal(err)
			}
			want, err := oracle(t, c).Search(q, 10)
			if err != nil || !slices.Equal(neighbors(truth), want) {
				t.Fatalf("exact: %v, not %v, %v", neighbors(truth), want, err)
			}
			found, err := c.QueryEmbedding(ctx, q, QueryOptions{K: 10, Ef: 100})
			if err != nil {
				t.Fatal(err)
			}
			beside, err := reader.QueryEmbedding(ctx, q, QueryOptions{K: 10, Ef: 100})
			if err != nil || !slices.Equal(found, beside) {
				t.Fatalf("reader: %v, writer: %v, %v", beside, found, err)
			}
			for _, r := range found {
				total++
				if slices.ContainsFunc(truth, func(o Result) bool { return o.ID == r.ID }) {
					hits++
				}
			}
		}
		return float64(hits) / float64(total)
	}
	if r := recall(); r < .99 {
		t.Errorf("recall@10 is %.3f", r)
	}
	var gone []dataset.ID
	for id := range dataset.ID(n) {
		if rng.IntN(5) == 0 {
			gone = append(gone, id)
		}
	}
	if err := c.Remove(ctx, gone...); err != nil {
		t.Fatal(err)
	}
	if r := recall(); r < .98 {
		t.Errorf("recall@10 after removal is %.3f", r)
	}
	more := pictures(rng, 300)
	for i := range more.entries {
		source := fmt.Sprintf("more/%d", i)
		more.images[source] = more.images[more.entries[i].Source]
		more.entries[i].Source = source
	}
	add(t, c, more, AddOptions{})
	if r := recall(); r < .98 {
		t.Errorf("recall@10 after adding is %.3f", r)
	}
	mustBeSound(t, reader)
	g, err := c.Graph(ctx, 1)
	if err != nil || g.Len() != n+300-len(gone) {
		t.Errorf("graph: %v", err)
	}
}

// What Add committed stays when it is interrupted; answers are exact meanwhile; the next Add goes on.
func TestInterruptedAdd(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	ds := pictures(rng, 3*commitImages)
	c := newCollection(t, smallEncoder(t, 1, true), CreateOptions{Thumbnail: -1, Graph: hnsw.Options{M: 4, EfConstruction: 8}})
	ctx, cancel := context.WithCancel(context.Background())
	ds.onRead = func(n int) {
		if n > commitImages+1000 {
			cancel()
		}
	}
	report, err := c.Add(ctx, ds, AddOptions{})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	n, err := c.Len()
	if err != nil || n != report.Added || n < commitImages || n >= ds.Len() {
		t.Fatalf("%d images, report %+v, %v", n, report, err)
	}
	checked, err := c.Check(context.Background())
	if err != nil || !checked.GraphStale || len(checked.Problems) > 0 {
		t.Errorf("check: %+v, %v", checked, err)
	}
	q, err := c.Embedding(context.Background(), 7)
	if err != nil {
		t.Fatal(err)
	}
	results, err := c.QueryEmbedding(context.Background(), q, QueryOptions{K: 5, Ef: 50})
	truth, searchErr := oracle(t, c).Search(q, 5)
	if err != nil || searchErr != nil || !slices.Equal(neighbors(results), truth) {
		t.Errorf("%v, not %v: %v", results, truth, err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = openCollection(t, c.Path(), OpenOptions{})
	again := add(t, c, ds, AddOptions{})
	if again.Added != ds.Len()-n || again.Unchanged != n {
		t.Errorf("again: %+v after %d", again, n)
	}
	ids, _, err := c.Embeddings(context.Background())
	if err != nil || len(ids) != ds.Len() {
		t.Error(len(ids), err)
	}
	for i, id := range ids {
		r, err := c.Record(context.Background(), id)
		if err != nil || r.Source != ds.entries[i].Source {
			t.Fatalf("image %d is %s, %v", i, r.Source, err)
		}
	}
	mustBeSound(t, c)
	if report, err := c.Check(context.Background()); err != nil || report.GraphStale {
		t.Errorf("%+v, %v", report, err)
	}
	if _, err := c.Thumbnail(context.Background(), 3); !errors.Is(err, ErrNoThumbnail) {
		t.Errorf("thumbnail: %v", err)
	}
}

func TestOptionsAndErrors(t *testing.T) {
	ctx := context.Background()
	e := smallEncoder(t, 1, true)
	path := filepath.Join(t.TempDir(), "c.imgsearch")
	for name, o := range map[string]CreateOptions{
		"no encoder":      {},
		"unknown metric":  {Encoder: e, Metric: "manhattan"},
		"large thumbnail": {Encoder: e, Thumbnail: 513},
		"M of 1":          {Encoder: e, Graph: hnsw.Options{M: 1}},
		"inner product":   {Encoder: e, Metric: index.InnerProduct},
	} {
		if _, err := Create(path, o); !errors.Is(err, ErrOptions) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Open(path, OpenOptions{}); !errors.Is(err, ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	c, err := Create(path, CreateOptions{Encoder: e})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Create(path, CreateOptions{Encoder: e}); !errors.Is(err, ErrExists) {
		t.Errorf("again: %v", err)
	}
	if _, err := Open(path, OpenOptions{}); !errors.Is(err, ErrLocked) {
		t.Errorf("second writer: %v", err)
	}
	if err := c.RequireEncoder(e); err != nil {
		t.Error(err)
	}
	if err := c.RequireEncoder(smallEncoder(t, 2, true)); !errors.Is(err, ErrEncoder) {
		t.Errorf("other encoder: %v", err)
	}
	if _, err := c.Add(ctx, &memory{}, AddOptions{Threads: -1}); !errors.Is(err, ErrOptions) {
		t.Errorf("threads: %v", err)
	}
	reader := openCollection(t, path, OpenOptions{ReadOnly: true})
	if _, err := reader.Add(ctx, &memory{}, AddOptions{}); !errors.Is(err, ErrReadOnly) {
		t.Errorf("add: %v", err)
	}
	if err := reader.Remove(ctx, 1); !errors.Is(err, ErrReadOnly) {
		t.Errorf("remove: %v", err)
	}
	if _, err := reader.RemoveSources(ctx, "x"); !errors.Is(err, ErrReadOnly) {
		t.Errorf("remove sources: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Len(); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	if _, err := c.Encoder(); err != nil {
		t.Errorf("the encoder is known: %v", err)
	}
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(text, OpenOptions{ReadOnly: true}); !errors.Is(err, ErrNotCollection) {
		t.Errorf("text: %v", err)
	}
}

// Cosine for an encoder that does not normalise: what is stored has length 1.
func TestMetricOfChoice(t *testing.T) {
	ctx := context.Background()
	rng := rand.New(rand.NewPCG(10, 10))
	c := newCollection(t, smallEncoder(t, 1, false), CreateOptions{Metric: index.Cosine})
	ds := pictures(rng, 50)
	add(t, c, ds, AddOptions{})
	row, err := c.Embedding(ctx, 3)
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, v := range row {
		sum += float64(v) * float64(v)
	}
	if math.Abs(sum-1) > 1e-5 {
		t.Errorf("squared length %v", sum)
	}
	results, err := c.QueryImage(ctx, dataset.Sample{Image: ds.images["pictures/003.png"]}, QueryOptions{K: 1, Ef: 40})
	if err != nil || results[0].ID != 3 || results[0].Distance > 1e-6 || results[0].Similarity < .999 {
		t.Errorf("%+v, %v", results, err)
	}
	mustBeSound(t, c)
}

// Queries go on while images are added and removed, each on one committed state.
func TestConcurrentUse(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 11))
	c := newCollection(t, smallEncoder(t, 1, true), CreateOptions{})
	n := 1500
	if testing.Short() {
		n = 500
	}
	ds := pictures(rng, n)
	first := &memory{name: "first", entries: ds.entries[:300], images: ds.images}
	add(t, c, first, AddOptions{})
	ctx, cancel := context.WithCancel(context.Background())
	reader := openCollection(t, c.Path(), OpenOptions{ReadOnly: true, Wait: 20 * time.Second})
	var group sync.WaitGroup
	for g := range 4 {
		group.Go(func() {
			asked := c
			if g%2 == 1 {
				asked = reader
			}
			for n := 0; ctx.Err() == nil; n++ {
				results, err := asked.QueryID(context.Background(), dataset.ID(n%300), QueryOptions{K: 5, Ef: []int{0, 40}[n%2]})
				if err != nil || len(results) != 5 {
					t.Errorf("query: %d results, %v", len(results), err)
					return
				}
				if n%10 == 0 {
					if _, _, err := asked.Embeddings(context.Background()); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	add(t, c, ds, AddOptions{Threads: 1})
	for id := dataset.ID(400); id < 410; id += 2 {
		if err := c.Remove(context.Background(), id); err != nil {
			t.Error(err)
		}
	}
	cancel()
	group.Wait()
	mustBeSound(t, c)
}
