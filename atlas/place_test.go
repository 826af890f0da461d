package atlas

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"imgsearch/dataset"
	"imgsearch/index"
)

func TestPlace(t *testing.T) {
	const n, centres = 400, 4
	embeddings, ids, neighbors := clusters(n, 8, centres, 61, index.L2)
	start, err := PrincipalStart(embeddings, 8, index.L2, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	o := MapOptions{Metric: index.L2, Perplexity: 20, Iterations: 300, ExaggeratedIterations: 100}
	whole, err := TSNE(ctx, ids, neighbors, start, o)
	if err != nil {
		t.Fatal(err)
	}
	known := slices.Clone(whole.Positions)
	fresh := func(i int) bool { return i >= n*3/4 }
	for i := range n {
		if fresh(i) {
			known[2*i], known[2*i+1] = float32(math.NaN()), float32(math.NaN())
		}
	}
	var first []float32
	for _, threads := range []int{1, 3} {
		o.Threads = threads
		placed, err := Place(ctx, ids, neighbors, known, o)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = placed
		}
		if !slices.Equal(first, placed) {
			t.Error("places differ with the number of threads")
		}
		same, count := 0, 0
		for i := range n {
			if !fresh(i) {
				if placed[2*i] != known[2*i] || placed[2*i+1] != known[2*i+1] {
					t.Fatalf("point %d was moved", i)
				}
				continue
			}
			count++
			best, nearest := math.Inf(1), -1
			for j := range n {
				dx, dy := float64(placed[2*i]-placed[2*j]), float64(placed[2*i+1]-placed[2*j+1])
				if d := dx*dx + dy*dy; j != i && d < best {
					best, nearest = d, j
				}
			}
			if nearest%centres == i%centres {
				same++
			}
		}
		if same < count*95/100 {
			t.Errorf("%d of %d new points have their like beside them", same, count)
		}
	}
}

func TestPlaceOfOddInput(t *testing.T) {
	ctx := context.Background()
	nan := float32(math.NaN())
	near := func(ids ...dataset.ID) (list []index.Neighbor) {
		for i, id := range ids {
			list = append(list, index.Neighbor{ID: id, Distance: float32(i)})
		}
		return list
	}
	// 3 is known through 2 alone, 4 has no neighbours.
	placed, err := Place(ctx, []dataset.ID{1, 2, 3, 4}, [][]index.Neighbor{nil, near(1), near(2), nil}, []float32{5, 7, nan, nan, nan, nan, nan, nan}, MapOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range placed {
		if v-v != 0 {
			t.Errorf("value %d is %v", i, v)
		}
	}
	if placed[0] != 5 || placed[1] != 7 {
		t.Errorf("the old point is at %v", placed[:2])
	}
	if _, err := Place(ctx, []dataset.ID{1}, [][]index.Neighbor{nil}, []float32{nan, nan}, MapOptions{}); !errors.Is(err, ErrNothing) {
		t.Errorf("no known point: %v", err)
	}
	if _, err := Place(ctx, []dataset.ID{1}, nil, []float32{nan, nan}, MapOptions{}); !errors.Is(err, ErrNeighbors) {
		t.Errorf("no lists: %v", err)
	}
	if placed, err := Place(ctx, []dataset.ID{1}, [][]index.Neighbor{nil}, []float32{1, 2}, MapOptions{}); err != nil || placed[1] != 2 {
		t.Errorf("nothing to place: %v, %v", placed, err)
	}
}
