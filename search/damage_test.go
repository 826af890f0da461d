package search

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"imgsearch/dataset"
	"imgsearch/index/hnsw"
	"imgsearch/store"
)

var (
	seedFlag   = flag.Uint64("search.seed", 0, "replay the random tests of package search with this seed (0: a new one)")
	roundFlag  = flag.Float64("search.rounds", 1, "multiply the rounds of the random tests of package search")
	updateFlag = flag.Bool("update", false, "write the fixtures of testdata anew")
)

// random returns a generator whose seed is printed when the test fails.
func random(t *testing.T) *rand.Rand {
	t.Helper()
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("replay with -search.seed=%d", seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 1))
}

func rounds(n int) int {
	if testing.Short() {
		n /= 3
	}
	return max(1, int(float64(n)**roundFlag))
}

// everything is what a collection answers to a number of questions.
type everything struct {
	Records    []Record
	IDs        []dataset.ID
	Embeddings []float32
	Thumbnails []*dataset.Image
	Answers    [][]Result
	Info       Info
}

// askAll asks for all there is.
func askAll(c *Collection) (e everything, err error) {
	ctx := context.Background()
	for r, err := range c.Records(ctx) {
		if err != nil {
			return e, err
		}
		e.Records = append(e.Records, r)
		if r.ID%16 == 0 {
			img, err := c.Thumbnail(ctx, r.ID)
			if err != nil {
				return e, err
			}
			e.Thumbnails = append(e.Thumbnails, img)
		}
	}
	if e.IDs, e.Embeddings, err = c.Embeddings(ctx); err != nil {
		return e, err
	}
	encoder, err := c.Encoder()
	if err != nil {
		return e, err
	}
	embedding, err := encoder.Embed(ctx, []*dataset.Image{noise(rand.New(rand.NewPCG(1, 1)), 16, 16)}, 1)
	if err != nil {
		return e, err
	}
	for _, o := range []QueryOptions{{K: 5}, {K: 8, Ef: 60}, {K: 3, Ef: 10}} {
		results, err := c.QueryEmbedding(ctx, embedding, o)
		if err != nil {
			return e, err
		}
		e.Answers = append(e.Answers, results)
		for i := 0; i < len(e.IDs); i += 97 {
			results, err := c.QueryID(ctx, e.IDs[i], o)
			if err != nil {
				return e, err
			}
			e.Answers = append(e.Answers, results)
		}
	}
	e.Info, err = c.Info(ctx)
	e.Info.Path = ""
	return e, err
}

// damagedCollection makes a collection with a history.
func damagedCollection(t testing.TB) (file []byte, truth everything) {
	t.Helper()
	rng := rand.New(rand.NewPCG(12, 12))
	c := newCollection(t, smallEncoder(t, 1, true), CreateOptions{Graph: hnsw.Options{M: 6, EfConstruction: 30, EfSearch: 30}})
	ds := pictures(rng, 500)
	add(t, c, ds, AddOptions{})
	if err := c.Remove(context.Background(), 3, 4, 77, 400); err != nil {
		t.Fatal(err)
	}
	ds.put(rng, "pictures/200.png", noise(rng, 16, 16))
	ds.put(rng, "pictures/large.png", noise(rng, 100, 200))
	add(t, c, ds, AddOptions{})
	truth, err := askAll(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if file, err = os.ReadFile(c.Path()); err != nil {
		t.Fatal(err)
	}
	return file, truth
}

// A collection with bytes changed at random gives an error or the right answer, and Check finds what answers find.
func TestDamage(t *testing.T) {
	rng := random(t)
	file, truth := damagedCollection(t)
	path := filepath.Join(t.TempDir(), "damaged.imgsearch")
	refused := 0
	n := rounds(300)
	for round := range n {
		b := bytes.Clone(file)
		var at []int
		for range 1 + rng.IntN(3) {
			i := rng.IntN(len(b))
			if rng.IntN(2) == 0 {
				i = i/4096*4096 + rng.IntN(128) // heads of pages
			}
			at = append(at, i)
			b[i] ^= byte(1 + rng.IntN(255))
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		watchdog := time.AfterFunc(30*time.Second, func() { panic(fmt.Sprintf("hangs with bytes %d changed", at)) })
		if err := examine(path, truth, &refused); err != nil {
			t.Fatalf("round %d, bytes %d changed: %v", round, at, err)
		}
		watchdog.Stop()
	}
	t.Logf("%d of %d damaged files were refused, the others answered right; the file has %d bytes", refused, n, len(file))
	if refused < n/4 {
		t.Errorf("only %d of %d were refused", refused, n)
	}
}

func isDamage(err error) bool {
	return errors.Is(err, ErrCorrupt) || errors.Is(err, ErrVersion) || errors.Is(err, ErrNotCollection)
}

func examine(path string, truth everything, refused *int) error {
	c, err := Open(path, OpenOptions{ReadOnly: true})
	if err == nil {
		defer c.Close()
		var now everything
		if now, err = askAll(c); err == nil && !reflect.DeepEqual(now, truth) {
			return errors.New("wrong answer")
		}
		report, checkErr := c.Check(context.Background())
		if err != nil && checkErr == nil && len(report.Problems) == 0 {
			return fmt.Errorf("check finds nothing, the answer was %w", err)
		}
		for _, p := range report.Problems {
			if !isDamage(p) {
				return fmt.Errorf("check reports %w", p)
			}
		}
	}
	if err != nil {
		if !isDamage(err) {
			return err
		}
		*refused++
	}
	return nil
}

const helperVariable = "IMGSEARCH_SEARCH_HELPER"

func TestMain(m *testing.M) {
	if path := os.Getenv(helperVariable); path != "" {
		if err := indexForever(path); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// killedSet is what the killed processes add: many images, the first ones changing from run to run.
func killedSet(run uint64) *memory {
	ds := pictures(rand.New(rand.NewPCG(13, 13)), 400)
	for i := range 20 {
		rng := rand.New(rand.NewPCG(run, uint64(i)))
		ds.put(rng, ds.entries[i].Source, noise(rng, 16, 16))
	}
	return ds
}

// indexForever adds and removes images until it is killed.
func indexForever(path string) error {
	ctx := context.Background()
	c, err := Open(path, OpenOptions{})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for run := uint64(time.Now().UnixNano()); ; run++ {
		if _, err := c.Add(ctx, killedSet(run), AddOptions{Threads: 1}); err != nil {
			return err
		}
		if _, err := c.RemoveSources(ctx, "pictures/001.png", "pictures/011.png", "pictures/021.png"); err != nil {
			return err
		}
	}
}

// A process that is killed while it adds and removes leaves a sound collection, which answers right and can be gone on with.
func TestKill(t *testing.T) {
	rng := random(t)
	e := smallEncoder(t, 1, true)
	c := newCollection(t, e, CreateOptions{Graph: hnsw.Options{M: 4, EfConstruction: 16, EfSearch: 20}})
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	stale := 0
	n := rounds(15)
	for round := range n {
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), helperVariable+"="+c.Path())
		var out strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(20+rng.IntN(200)) * time.Millisecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err == nil || out.Len() > len("ready\n") {
			t.Fatalf("round %d: the other process ended with %v: %s", round, err, out.String())
		}
		r := openCollection(t, c.Path(), OpenOptions{ReadOnly: true})
		report, err := r.Check(context.Background())
		if err != nil || len(report.Problems) > 0 {
			t.Fatalf("round %d: %v, %v", round, report.Problems, err)
		}
		if report.GraphStale {
			stale++
		}
		x := oracle(t, r)
		for range 5 {
			q := make([]float32, 8)
			for i := range q {
				q[i] = float32(rng.NormFloat64())
			}
			want, err := x.Search(q, 5)
			if err != nil {
				t.Fatal(err)
			}
			got, err := r.QueryEmbedding(context.Background(), q, QueryOptions{K: 5})
			if err != nil || !reflect.DeepEqual(neighbors(got), want) {
				t.Fatalf("round %d: %v, not %v (%v)", round, got, want, err)
			}
		}
		r.Close()
	}
	t.Logf("killed %d times, %d times with a stale graph", n, stale)
	c = openCollection(t, c.Path(), OpenOptions{})
	ds := killedSet(1)
	add(t, c, ds, AddOptions{})
	all := sources(t, c)
	for i, e := range ds.entries {
		r, ok := all[e.Source]
		sample, err := ds.Read(context.Background(), i)
		if err != nil || !ok || r.Hash != sample.Hash {
			t.Errorf("%s: %+v, %v", e.Source, r, err)
		}
	}
	if len(all) != ds.Len() {
		t.Errorf("%d images, not %d", len(all), ds.Len())
	}
	mustBeSound(t, c)
}

// Collections of earlier versions answer as they did.
func TestCompat(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join("testdata", "compat", "first.imgsearch")
	if *updateFlag {
		_ = os.Remove(path)
		c, err := Create(path, CreateOptions{Encoder: smallEncoder(t, 7, true), Graph: hnsw.Options{M: 4, EfConstruction: 20, EfSearch: 20}})
		if err != nil {
			t.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(14, 14))
		ds := pictures(rng, 80)
		ds.put(rng, "pictures/large.png", noise(rng, 90, 140))
		add(t, c, ds, AddOptions{})
		if err := errors.Join(c.Remove(ctx, 5, 6), c.Close()); err != nil {
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
		c := openCollection(t, copied, OpenOptions{})
		mustBeSound(t, c)
		if n, err := c.Len(); err != nil || n != 79 {
			t.Errorf("%d images, %v", n, err)
		}
		for _, o := range []QueryOptions{{K: 3}, {K: 3, Ef: 50}} {
			results, err := c.QueryID(ctx, 0, o)
			if err != nil || len(results) != 3 || results[0].Source != "pictures/059.png" {
				t.Errorf("%+v, %v", results, err)
			}
		}
		img, err := c.Thumbnail(ctx, 80)
		if err != nil || img.Width != 82 || img.Height != 128 {
			t.Errorf("thumbnail: %v", err)
		}
		add(t, c, pictures(rand.New(rand.NewPCG(15, 15)), 90), AddOptions{})
		mustBeSound(t, c)
	}
}

// A graph of a version that this program does not read is left aside and made anew; the images are not lost with it.
func TestGraphOfAnotherVersion(t *testing.T) {
	ctx := context.Background()
	rng := rand.New(rand.NewPCG(17, 17))
	ds := pictures(rng, 200)
	c := newCollection(t, smallEncoder(t, 1, true), CreateOptions{})
	add(t, c, ds, AddOptions{})
	var parts []store.GraphPart
	var generation uint64
	err := c.store.View(ctx, func(v *store.View) error {
		generation = v.Header().Generation
		for _, name := range v.GraphParts() {
			values, err := v.GraphPart(name)
			if err != nil {
				return err
			}
			part := store.GraphPart{Name: name}
			for _, b := range values {
				part.Values = append(part.Values, bytes.Clone(b))
			}
			if name == partNames[hnsw.HeaderPart] {
				part.Values[0][0] = 99
			}
			parts = append(parts, part)
		}
		return nil
	})
	if err := errors.Join(err, c.store.PutGraph(ctx, generation, append(parts, store.GraphPart{Name: "new", Values: [][]byte{{1}}}))); err != nil {
		t.Fatal(err)
	}
	ask := func() []Result {
		t.Helper()
		results, err := c.QueryID(ctx, 5, QueryOptions{K: 9, Ef: 200})
		if err != nil {
			t.Fatal(err)
		}
		return results
	}
	before := ask()
	report, err := c.Check(ctx)
	if err != nil || !report.GraphStale || len(report.Problems) > 0 {
		t.Errorf("check: %+v, %v", report, err)
	}
	if info, err := c.Info(ctx); err != nil || !info.Graph.Stale {
		t.Errorf("info: %+v, %v", info, err)
	}
	if report := add(t, c, ds, AddOptions{}); counts(report) != [6]int{0, 0, 0, 200} {
		t.Errorf("%+v", report)
	}
	if info, err := c.Info(ctx); err != nil || info.Graph.Stale {
		t.Errorf("info after adding: %+v, %v", info, err)
	}
	if after := ask(); !reflect.DeepEqual(after, before) {
		t.Errorf("%v, before %v", after, before)
	}
	mustBeSound(t, c)
}
