package evaluation

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"imgsearch/dataset"
	"imgsearch/index"
)

// randomSet draws n embeddings of which every tenth is equal to another, and shuffled ids.
func randomSet(rng *rand.Rand, n, dim int) Set {
	s := Set{Dim: dim, Embeddings: make([]float32, n*dim), IDs: make([]dataset.ID, n), Labels: make([]dataset.Label, n)}
	for i := range s.Embeddings {
		s.Embeddings[i] = float32(rng.NormFloat64())
	}
	for i := 10; i < n; i += 10 {
		copy(s.Row(i), s.Row(rng.IntN(i)))
	}
	for i, p := range rng.Perm(n) {
		s.IDs[i] = dataset.ID(3*p + 1)
		s.Labels[i] = dataset.Label(fmt.Sprint("class ", i%7))
	}
	return s
}

// naive is the definition: every distance in float64, sorted.
func naive(queries, gallery Set, metric index.Metric, k int, leaveOneOut bool) [][]index.Neighbor {
	out := make([][]index.Neighbor, queries.Len())
	for q := range out {
		for g := range gallery.Len() {
			if leaveOneOut && queries.IDs[q] == gallery.IDs[g] {
				continue
			}
			var dot, qq, gg, sum float64
			for i, a := range queries.Row(q) {
				b := gallery.Row(g)[i]
				dot += float64(a) * float64(b)
				qq += float64(a) * float64(a)
				gg += float64(b) * float64(b)
				sum += (float64(a) - float64(b)) * (float64(a) - float64(b))
			}
			d := math.Sqrt(sum)
			if metric == index.Cosine {
				d = 1
				if qq > 0 && gg > 0 {
					d = 1 - dot/math.Sqrt(qq*gg)
				}
			}
			out[q] = append(out[q], index.Neighbor{ID: gallery.IDs[g], Distance: float32(d)})
		}
		slices.SortFunc(out[q], func(a, b index.Neighbor) int {
			if a.Distance != b.Distance {
				return int(math.Copysign(1, float64(a.Distance)-float64(b.Distance)))
			}
			return int(a.ID) - int(b.ID)
		})
		out[q] = out[q][:min(k, len(out[q]))]
	}
	return out
}

func TestNearestAgreesWithTheDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	gallery := randomSet(rng, 2500, 12) // three blocks
	outside := randomSet(rng, 300, 12)
	for _, metric := range []index.Metric{index.L2, index.Cosine} {
		for _, k := range []int{1, 10, 250} {
			for _, leaveOneOut := range []bool{false, true} {
				queries := outside
				if leaveOneOut {
					queries = gallery.Subset(rng.Perm(gallery.Len())[:200])
				}
				got, err := Nearest(context.Background(), queries, gallery, metric, k, leaveOneOut, 2)
				if err != nil {
					t.Fatal(err)
				}
				want := naive(queries, gallery, metric, k, leaveOneOut)
				for q := range want {
					compareNeighbors(t, fmt.Sprintf("%s k=%d leave one out %v, query %d", metric, k, leaveOneOut, q), got[q], want[q])
				}
			}
		}
	}
}

// compareNeighbors demands equal lists, except that distances may differ by rounding and neighbours at distances that
// rounding cannot tell apart may swap.
func compareNeighbors(t *testing.T, what string, got, want []index.Neighbor) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d neighbours, want %d", what, len(got), len(want))
	}
	const rounding = 2e-6
	for i := range got {
		if math.Abs(float64(got[i].Distance-want[i].Distance)) > rounding {
			t.Fatalf("%s: neighbour %d is %v, want %v", what, i, got[i], want[i])
		}
		if got[i].ID != want[i].ID && (i+1 == len(want) || want[i+1].Distance-want[i].Distance > rounding) &&
			(i == 0 || want[i].Distance-want[i-1].Distance > rounding) {
			t.Fatalf("%s: neighbour %d is %v, want %v", what, i, got[i], want[i])
		}
		if i > 0 && (got[i].Distance < got[i-1].Distance || got[i].Distance == got[i-1].Distance && got[i].ID <= got[i-1].ID) {
			t.Fatalf("%s: %v before %v", what, got[i-1], got[i])
		}
	}
}

func TestNearestOrdersEqualDistancesByID(t *testing.T) {
	const n = 3000
	gallery := Set{Dim: 3, Embeddings: make([]float32, 3*n), IDs: make([]dataset.ID, n)}
	for i := range n {
		copy(gallery.Row(i), []float32{1, 2, 3})
		gallery.IDs[i] = dataset.ID((i * 7919) % n)
	}
	for _, metric := range []index.Metric{index.L2, index.Cosine} {
		got, err := Nearest(context.Background(), Set{Dim: 3, Embeddings: []float32{3, 2, 1}}, gallery, metric, 100, false, 0)
		if err != nil {
			t.Fatal(err)
		}
		for i, n := range got[0] {
			if n.ID != dataset.ID(i) {
				t.Fatalf("%s: id %d at place %d", metric, n.ID, i)
			}
		}
	}
}

func TestNearestFarFromTheOrigin(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	gallery := randomSet(rng, 500, 8)
	for i := range gallery.Embeddings {
		gallery.Embeddings[i] = float32(math.Round(float64(gallery.Embeddings[i])*64)/64) + 4096
	}
	got, err := Nearest(context.Background(), gallery, gallery, index.L2, 5, true, 1)
	if err != nil {
		t.Fatal(err)
	}
	for q, want := range naive(gallery, gallery, index.L2, 5, true) {
		compareNeighbors(t, fmt.Sprint("query ", q), got[q], want)
	}
}

func TestNearestDoesNotDependOnThreads(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	gallery := randomSet(rng, 1500, 64)
	for _, metric := range []index.Metric{index.L2, index.Cosine} {
		one, err := Nearest(context.Background(), gallery, gallery, metric, 20, true, 1)
		if err != nil {
			t.Fatal(err)
		}
		three, err := Nearest(context.Background(), gallery, gallery, metric, 20, true, 3)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(one, three) {
			t.Errorf("%s: one thread and three threads differ", metric)
		}
	}
}

func TestNearestRefuses(t *testing.T) {
	good := Set{Dim: 2, Embeddings: []float32{1, 0, 0, 1}, IDs: []dataset.ID{4, 5}}
	nan := Set{Dim: 2, Embeddings: []float32{1, 0, 0, float32(math.NaN())}, IDs: []dataset.ID{4, 5}}
	for _, test := range []struct {
		name             string
		queries, gallery Set
		metric           index.Metric
		k                int
		leaveOneOut      bool
		want             error
	}{
		{"k of 0", good, good, index.L2, 0, false, ErrOption},
		{"unknown metric", good, good, "manhattan", 1, false, ErrOption},
		{"empty gallery", good, Set{Dim: 2}, index.L2, 1, false, ErrSet},
		{"empty query set", Set{Dim: 2}, good, index.L2, 1, false, ErrSet},
		{"other dim", Set{Dim: 1, Embeddings: []float32{1}}, good, index.L2, 1, false, ErrSet},
		{"NaN", nan, good, index.L2, 1, false, ErrSet},
		{"gallery without ids", good, Set{Dim: 2, Embeddings: []float32{1, 2}}, index.L2, 1, false, ErrSet},
		{"queries without ids to leave out", Set{Dim: 2, Embeddings: []float32{1, 2}}, good, index.L2, 1, true, ErrSet},
		{"an id twice", good, Set{Dim: 2, Embeddings: []float32{1, 0, 0, 1}, IDs: []dataset.ID{4, 4}}, index.L2, 1, false, ErrSet},
		{"too few labels", good, Set{Dim: 2, Embeddings: []float32{1, 0}, IDs: []dataset.ID{4}, Labels: []dataset.Label{}}, index.L2, 1, false, ErrSet},
	} {
		if _, err := Nearest(context.Background(), test.queries, test.gallery, test.metric, test.k, test.leaveOneOut, 1); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
	}
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Nearest(cancelled, good, good, index.L2, 1, false, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestTopKKeepsTheSmallest(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	for _, n := range []int{1, 5, 40, 1000} {
		for _, k := range []int{1, 3, 50, 1000} {
			values, ranks := make([]float32, n), make([]uint32, n)
			var want []uint64
			for i := range values {
				values[i] = float32(rng.IntN(20) - 10)
				ranks[i] = uint32(n - i)
				if i != 2 {
					want = append(want, makeKey(values[i], ranks[i]))
				}
			}
			top := newTopK(k, make([]uint64, 0, topKBuffer(k)))
			half := n / 2
			top.pushRow(values[:half], ranks[:half], 2)
			top.pushRow(values[half:], ranks[half:], 2-half)
			slices.Sort(want)
			want = want[:min(k, len(want))]
			if got := top.sorted(); !slices.Equal(got, want) {
				t.Errorf("n %d, k %d: %v, want %v", n, k, got, want)
			}
		}
	}
}

func TestKeysOrderAsTheirValues(t *testing.T) {
	values := []float32{float32(math.Inf(-1)), -3.5, -1e-40, 0, 1e-40, 2, float32(math.Inf(1))}
	for i, v := range values {
		key := makeKey(v, 7)
		if back, rank := splitKey(key); back != v || rank != 7 {
			t.Errorf("%v, 7 came back as %v, %d", v, back, rank)
		}
		if i > 0 && makeKey(values[i-1], math.MaxUint32) >= key {
			t.Errorf("%v does not come before %v", values[i-1], v)
		}
	}
	if makeKey(float32(math.Copysign(0, -1)), 1) != makeKey(0, 1) {
		t.Error("the two zeros differ")
	}
}

func BenchmarkNearest(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	gallery, queries := randomSet(rng, 50_000, 64), randomSet(rng, 1_000, 64)
	for _, metric := range []index.Metric{index.L2, index.Cosine} {
		for _, k := range []int{10, 200} {
			b.Run(fmt.Sprintf("%s/k=%d", metric, k), func(b *testing.B) {
				for b.Loop() {
					if _, err := Nearest(context.Background(), queries, gallery, metric, k, false, 1); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000/50_000, "ns/pair")
			})
		}
	}
}
