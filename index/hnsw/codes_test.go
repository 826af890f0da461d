package hnsw

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"imgsearch/index"
	"imgsearch/index/indextest"
)

// coded builds a graph that has codes, in two calls, between which their number doubles.
func coded(t testing.TB, metric index.Metric, threads int) *Graph {
	t.Helper()
	const n, dim = 3000, 40
	g, err := New(metric, dim, Options{Threads: threads, EfConstruction: 60})
	if err != nil {
		t.Fatal(err)
	}
	embeddings := indextest.Clustered(61, n, dim, 30)
	for _, part := range [][2]int{{0, 1200}, {1200, 2900}, {2900, n}} {
		if err := g.Add(indextest.IDs(part[0], part[1]-part[0]), embeddings[part[0]*dim:part[1]*dim]); err != nil {
			t.Fatal(err)
		}
	}
	if !g.coding.on() || g.coding.at != 2900 {
		t.Fatalf("codes %v, made at %d slots", g.coding.on(), g.coding.at)
	}
	return g
}

func TestCodesAreStored(t *testing.T) {
	for _, metric := range []index.Metric{index.L2, index.Cosine} {
		g := coded(t, metric, 1)
		file, other := stored{}, stored{}
		file.save(g, false)
		other.save(coded(t, metric, 2), false)
		for part, b := range file {
			if !bytes.Equal(b, other[part]) {
				t.Errorf("part %v differs between 1 and 2 threads", part)
			}
		}
		loaded, err := Load(file.read)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range []*Graph{g, loaded} {
			if err := x.Replace(indextest.IDs(5, 40), indextest.Clustered(62, 40, 40, 30)); err != nil {
				t.Fatal(err)
			}
			if err := x.Remove(1, 700, 2999); err != nil {
				t.Fatal(err)
			}
			if err := x.Verify(); err != nil {
				t.Fatal(err)
			}
		}
		if written := file.save(loaded, true); written == 0 {
			t.Error("nothing changed")
		}
		again, err := Load(file.read)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 40 {
			q := indextest.Clustered(uint64(200+i), 1, 40, 30)
			want := mustSearch(t, g, q, 10)
			if got := mustSearch(t, loaded, q, 10); !slices.Equal(got, want) {
				t.Fatalf("made %v, loaded %v", want, got)
			}
			if got := mustSearch(t, again, q, 10); !slices.Equal(got, want) {
				t.Fatalf("made %v, saved and loaded %v", want, got)
			}
		}
	}
}

// TestCodesOfEmbeddings: a code is what its embedding says after every kind of change.
func TestCodesOfEmbeddings(t *testing.T) {
	g := coded(t, index.L2, 2)
	if err := g.Replace(indextest.IDs(100, 30), indextest.Clustered(63, 30, 40, 30)); err != nil {
		t.Fatal(err)
	}
	want := make([]uint8, codeWidth(g.dim))
	for slot := range uint32(len(g.ids)) {
		g.coding.encode(want, g.vector(slot))
		if !bytes.Equal(g.codes.row(slot), want) {
			t.Fatalf("slot %d has another code", slot)
		}
	}
	// One that is far out of the range makes the codes anew, and is within it then.
	before := g.coding.scale
	far := indextest.Clustered(64, 1, 40, 30)
	far[3] = 9
	if err := g.Add(indextest.IDs(9000, 1), far); err != nil {
		t.Fatal(err)
	}
	if !g.coding.on() || g.coding.scale >= before {
		t.Errorf("scale %v, before %v", g.coding.scale, before)
	}
	if out := g.coding.encode(want, far); out > 0 {
		t.Errorf("%v steps out of the range", out)
	}
}

// TestNoCodes: where they could not tell embeddings apart, there are none.
func TestNoCodes(t *testing.T) {
	const n, dim = 1500, 32
	rng := rand.New(rand.NewPCG(1, 66))
	close := make([]float32, n*dim)
	for i := range n {
		for j := range dim {
			close[i*dim+j] = float32(i%5) + 1e-4*float32(rng.NormFloat64())
		}
	}
	equal := make([]float32, n*dim)
	for name, embeddings := range map[string][]float32{"close": close, "equal": equal} {
		g, err := New(index.L2, dim, Options{EfConstruction: 40})
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Add(indextest.IDs(0, n), embeddings); err != nil {
			t.Fatal(err)
		}
		if g.coding.on() || g.coding.at != n {
			t.Errorf("%s: codes %v, decided at %d", name, g.coding.on(), g.coding.at)
		}
		if got := mustSearch(t, g, embeddings[:dim], 5); got[0].Distance != 0 {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestVersion1IsRead: a graph that the first release stored has no codes until it changes enough.
func TestVersion1IsRead(t *testing.T) {
	g := coded(t, index.Cosine, 2)
	file := stored{}
	file.save(g, false)
	header := file[Part{HeaderPart, 0}][:headerLen]
	binary.LittleEndian.PutUint32(header, 1)
	file[Part{HeaderPart, 0}] = header
	for part := range file {
		if part.Kind == CodePart {
			delete(file, part)
		}
	}
	old, err := Load(file.read)
	if err != nil {
		t.Fatal(err)
	}
	if err := old.Verify(); err != nil || old.coding.on() || old.Len() != g.Len() {
		t.Fatalf("%v, %d nodes, codes %v", err, old.Len(), old.coding.on())
	}
	for i := range 20 {
		q := indextest.Clustered(uint64(300+i), 1, 40, 30)
		if got, want := mustSearch(t, old, q, 10), mustSearch(t, g, q, 10); !slices.Equal(got, want) {
			t.Errorf("without codes %v, with %v", got, want)
		}
	}
	if err := old.Add(indextest.IDs(5000, 3), indextest.Clustered(67, 3, 40, 30)); err != nil {
		t.Fatal(err)
	}
	if !old.coding.on() {
		t.Error("no codes after a change")
	}
	file.save(old, true)
	again, err := Load(file.read)
	if err != nil || !again.coding.on() {
		t.Fatalf("saved as version 2: %v", err)
	}
	q := indextest.Clustered(400, 1, 40, 30)
	if got, want := mustSearch(t, again, q, 10), mustSearch(t, old, q, 10); !slices.Equal(got, want) {
		t.Errorf("before saving %v, after %v", want, got)
	}
}
