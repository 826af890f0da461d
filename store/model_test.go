package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"imgsearch/dataset"
)

var (
	seedFlag  = flag.Uint64("store.seed", 0, "replay the random tests of the store with this seed (0: a new one)")
	roundFlag = flag.Float64("store.rounds", 1, "multiply the rounds of the random tests of the store")
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
			t.Logf("replay with -store.seed=%d", seed)
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

const testDim = 6

func testOptions() CreateOptions {
	return CreateOptions{Encoder: []byte("an encoder"), Fingerprint: "f00d", Dim: testDim, Metric: "l2",
		Options: json.RawMessage(`{"ef":7}`), Created: time.Unix(1_700_000_000, 0)}
}

func create(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Create(path, testOptions())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func open(t *testing.T, path string, options Options) *Store {
	t.Helper()
	s, err := Open(path, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// item returns an image that differs in all it has from those of other numbers.
func item(rng *rand.Rand, n int) Item {
	i := Item{
		Record:    Record{Source: fmt.Sprintf("folder/%d.png", n), Label: dataset.Label(fmt.Sprint("label ", n%10)), Size: int64(n)},
		Embedding: make([]float32, testDim),
		Thumbnail: make([]byte, rng.IntN(60)),
	}
	if n%3 == 0 {
		i.Record.Split = "test"
	}
	if n%5 != 0 {
		i.Record.ModTime = time.Unix(int64(n), rng.Int64N(1e9)).UTC()
	}
	for b := range i.Record.Hash {
		i.Record.Hash[b] = byte(rng.Uint32())
	}
	for d := range i.Embedding {
		i.Embedding[d] = rng.Float32()
	}
	for b := range i.Thumbnail {
		i.Thumbnail[b] = byte(rng.Uint32())
	}
	return i
}

// model is what a collection should hold.
type model struct {
	items      map[dataset.ID]Item
	next       dataset.ID
	generation uint64
	graph      uint64
	parts      map[string][][]byte
	options    string
	stride     int // look at every stride-th image alone; 0: at each
}

func newModel() *model {
	return &model{items: map[dataset.ID]Item{}, generation: 1, options: `{"ef":7}`, parts: map[string][][]byte{}}
}

func (m *model) ids() []dataset.ID {
	ids := make([]dataset.ID, 0, len(m.items))
	for id := range m.items {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// compare returns how a collection differs from the model; it looks at all of both.
func (m *model) compare(s *Store) error {
	return s.View(context.Background(), func(v *View) error {
		h := v.Header()
		if h.NextID != m.next || h.Count != len(m.items) || h.Generation != m.generation || h.GraphGeneration != m.graph ||
			h.Dim != testDim || h.Metric != "l2" || h.Fingerprint != "f00d" || string(h.Options) != m.options ||
			!h.Created.Equal(time.Unix(1_700_000_000, 0)) {
			return fmt.Errorf("header is %+v, the model has next %d, count %d, generation %d, graph %d, options %s", h, m.next,
				len(m.items), m.generation, m.graph, m.options)
		}
		if b, err := v.Encoder(); err != nil || string(b) != "an encoder" {
			return fmt.Errorf("encoder: %q, %w", b, err)
		}
		ids, err := v.IDs()
		if err != nil {
			return err
		}
		if got, want := slices.Collect(ids.All()), m.ids(); !slices.Equal(got, want) || ids.Len() != len(want) {
			return fmt.Errorf("ids are %v, not %v", got, want)
		}
		records, err := v.Records(0, 0)
		if err != nil {
			return err
		}
		if len(records) != len(m.items) {
			return fmt.Errorf("%d records, not %d", len(records), len(m.items))
		}
		chunks, err := v.Embeddings()
		if err != nil {
			return err
		}
		for i, id := range m.ids() {
			want := m.items[id]
			want.Record.ID = id
			if records[i] != want.Record {
				return fmt.Errorf("record %+v, not %+v", records[i], want.Record)
			}
			row := int(id%ChunkRows) * testDim
			if e := chunks[id/ChunkRows][row : row+testDim]; !slices.Equal(e, want.Embedding) {
				return fmt.Errorf("row %d: %v, not %v", id, e, want.Embedding)
			}
			if m.stride > 0 && i%m.stride > 0 {
				continue
			}
			if r, err := v.Record(id); err != nil || r != want.Record {
				return fmt.Errorf("record %+v (%w), not %+v", r, err, want.Record)
			}
			if b, err := v.Thumbnail(id); err != nil || !bytes.Equal(b, want.Thumbnail) {
				return fmt.Errorf("thumbnail %d: %x (%w), not %x", id, b, err, want.Thumbnail)
			}
			if e, err := v.Embedding(id); err != nil || !slices.Equal(e, want.Embedding) {
				return fmt.Errorf("embedding %d: %v (%w), not %v", id, e, err, want.Embedding)
			}
		}
		for id := range m.next + 2 {
			if _, ok := m.items[id]; ok || m.stride > 0 && id+2 < m.next && int(id)%m.stride > 0 {
				continue
			}
			_, errR := v.Record(id)
			_, errT := v.Thumbnail(id)
			_, errE := v.Embedding(id)
			for _, err := range []error{errR, errT, errE} {
				if !errors.Is(err, ErrNotFound) {
					return fmt.Errorf("id %d that is not there: %w", id, err)
				}
			}
		}
		if got := v.GraphParts(); len(got) != len(m.parts) {
			return fmt.Errorf("graph has parts %v, not %d", got, len(m.parts))
		}
		for name, want := range m.parts {
			got, err := v.GraphPart(name)
			if err != nil || got == nil || !slices.EqualFunc(got, want, bytes.Equal) {
				return fmt.Errorf("part %s: %d values (%w), not %d", name, len(got), err, len(want))
			}
		}
		if got, err := v.GraphPart("missing"); got != nil || err != nil {
			return fmt.Errorf("missing part: %v, %w", got, err)
		}
		return nil
	})
}

// mustBeSound runs Check.
func mustBeSound(t *testing.T, s *Store) {
	t.Helper()
	err := s.View(context.Background(), func(v *View) error {
		return v.Check(context.Background(), func(err error) { t.Errorf("check: %v", err) })
	})
	if err != nil {
		t.Fatal(err)
	}
}

// step makes a random change to the model and returns what makes it to a store.
func (m *model) step(rng *rand.Rand) func(*Store) error {
	ctx := context.Background()
	if rng.IntN(4) == 0 {
		var parts []GraphPart
		old := m.parts
		m.parts = map[string][][]byte{}
		for _, name := range []string{"links", "levels", "head", "none"} {
			values := slices.Clone(old[name])
			if rng.IntN(2) == 0 {
				values = values[:rng.IntN(len(values)+1)]
			}
			for range rng.IntN(5) {
				values = append(values, bytes.Repeat([]byte{byte(rng.Uint32())}, rng.IntN(3)*rng.IntN(3000)))
			}
			if len(values) > 0 && rng.IntN(2) == 0 {
				values[rng.IntN(len(values))] = []byte("other")
			}
			if rng.IntN(6) > 0 {
				m.parts[name] = values
				parts = append(parts, GraphPart{name, values})
			}
		}
		m.graph = m.generation
		generation := m.generation
		return func(s *Store) error { return s.PutGraph(ctx, generation, parts) }
	}
	var b Batch
	ids := m.ids()
	rng.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	if rng.IntN(3) == 0 {
		for _, id := range ids[:rng.IntN(min(len(ids), 200)+1)] {
			b.Remove = append(b.Remove, id)
			delete(m.items, id)
			ids = ids[1:]
		}
	}
	if rng.IntN(3) == 0 {
		for _, id := range ids[:rng.IntN(min(len(ids), 30)+1)] {
			i := m.items[id]
			i.Record.Label += "'"
			i.Record.ModTime = i.Record.ModTime.Add(time.Second)
			m.items[id] = i
			i.Record.ID = id
			b.Touch = append(b.Touch, i.Record)
		}
	}
	first := m.next
	if rng.IntN(5) > 0 {
		for range rng.IntN(10 * (1 + rng.IntN(40))) {
			i := item(rng, int(m.next))
			m.items[m.next] = i
			b.Add = append(b.Add, i)
			m.next++
		}
	}
	if rng.IntN(10) == 0 {
		m.options = fmt.Sprintf(`{"ef":%d}`, rng.IntN(1000))
		b.Options = json.RawMessage(m.options)
	}
	if len(b.Add)+len(b.Remove) > 0 {
		m.generation++
	}
	return func(s *Store) error {
		got, err := s.Apply(ctx, b)
		if err == nil && got != first {
			err = fmt.Errorf("first id is %d, not %d", got, first)
		}
		return err
	}
}

// A collection stays equal to a plain map under random changes, in the hand that writes, in one that reads beside it, and
// opened anew.
func TestModel(t *testing.T) {
	rng := random(t)
	path := filepath.Join(t.TempDir(), "c.imgsearch")
	s := create(t, path)
	reader := open(t, path, Options{})
	m := newModel()
	for i := range rounds(60) {
		if err := m.step(rng)(s); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		if err := m.compare(s); err != nil {
			t.Fatalf("step %d, writer: %v", i, err)
		}
		if err := m.compare(reader); err != nil {
			t.Fatalf("step %d, reader: %v", i, err)
		}
		if i%5 == 0 {
			mustBeSound(t, reader)
		}
		if rng.IntN(8) == 0 {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, path, Options{Write: true})
			if err := m.compare(s); err != nil {
				t.Fatalf("step %d, opened anew: %v", i, err)
			}
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(path + "*"); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
	if info, err := os.Stat(path); err == nil {
		t.Logf("%d images of %d ever, %d bytes", len(m.items), m.next, info.Size())
	}
}
