package index_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"imgsearch/dataset"
	"imgsearch/index"
)

func TestSimilarity(t *testing.T) {
	for _, c := range []struct {
		metric         index.Metric
		distance, want float32
	}{
		{index.Cosine, 0, 1}, {index.Cosine, 0.25, 0.75}, {index.Cosine, 2, -1},
		{index.InnerProduct, -3, 4}, {index.L2, 0, 1}, {index.L2, 1, 0.5}, {index.L2, 3, 0.25},
	} {
		if got := index.Similarity(c.metric, c.distance); got != c.want {
			t.Errorf("%s, distance %v: similarity %v, want %v", c.metric, c.distance, got, c.want)
		}
	}
}

func TestMetrics(t *testing.T) {
	for _, m := range []index.Metric{index.L2, index.Cosine, index.InnerProduct} {
		if err := m.Validate(); err != nil {
			t.Error(err)
		}
	}
	if index.Metric("").Validate() == nil {
		t.Error("there is no metric without a name")
	}
	if d := index.FromSquaredL2(index.Cosine, 4.000001); d != 2 {
		t.Errorf("opposite embeddings at cosine distance %v", d)
	}
	if d := index.FromSquaredL2(index.L2, 9); d != 3 {
		t.Errorf("squared distance 9 is %v", d)
	}
}

func TestPrepareScalesOnce(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		v := make([]float32, 64)
		for i := range v {
			v[i] = float32(rng.NormFloat64() * math.Exp(20*rng.NormFloat64()))
		}
		once, err := index.Prepare(index.Cosine, 64, v)
		if errors.Is(err, index.ErrVector) {
			continue // too long
		}
		twice, err := index.Prepare(index.Cosine, 64, once)
		if err != nil || !slices.Equal(once, twice) {
			t.Fatalf("a unit embedding was changed: %v", err)
		}
		sum := 0.0
		for _, x := range once {
			sum += float64(x) * float64(x)
		}
		if math.Abs(sum-1) > 1e-6 {
			t.Fatalf("squared length %v", sum)
		}
	}
	for _, v := range [][]float32{{1}, {1, 2, 3}, {float32(math.NaN()), 1}, {float32(math.Inf(-1)), 1}, {2e19, 1}} {
		if _, err := index.Prepare(index.L2, 2, v); !errors.Is(err, index.ErrVector) {
			t.Errorf("%v: error %v", v, err)
		}
	}
	if _, err := index.Prepare(index.L2, 2, []float32{0, 0}); err != nil {
		t.Errorf("a zero embedding has L2 distances: %v", err)
	}
}

func TestNearestKeepsTheClosest(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for range 200 {
		var all []index.Neighbor
		for id := range rng.IntN(40) {
			all = append(all, index.Neighbor{ID: dataset.ID(id), Distance: float32(rng.IntN(8))})
		}
		rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		k := 1 + rng.IntN(20)
		nearest := index.NewNearest(k)
		for _, n := range all {
			if bound, full := nearest.Bound(); full && n.Distance > bound {
				continue // as a caller would
			}
			nearest.Offer(n)
		}
		slices.SortFunc(all, index.Compare)
		if got, want := nearest.Sorted(), all[:min(k, len(all))]; !slices.Equal(got, want) {
			t.Fatalf("k %d: got %v, want %v", k, got, want)
		}
	}
}

// TestMeasureSortsRoots: two squares with one root are in the order of ids afterwards.
func TestMeasureSortsRoots(t *testing.T) {
	a := float32(1.0000001)
	b := math.Nextafter32(a, 2)
	if index.FromSquaredL2(index.L2, a) != index.FromSquaredL2(index.L2, b) {
		t.Skip("these squares have different roots")
	}
	got := index.Measure(index.L2, []index.Neighbor{{ID: 9, Distance: a}, {ID: 3, Distance: b}})
	if got[0].ID != 3 || got[1].ID != 9 {
		t.Errorf("equal distances out of the order of ids: %v", got)
	}
}
