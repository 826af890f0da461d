package search

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"imgsearch/dataset"
)

// TestCompareUnlikeWeights asks the collection that IMGSEARCH_EXAMPLES names with three images of one label at once, and
// again keeping away from the three nearest answers of other labels, by several weights: docs/groups.md has the table that
// it prints.
func TestCompareUnlikeWeights(t *testing.T) {
	path := os.Getenv("IMGSEARCH_EXAMPLES")
	if path == "" {
		t.Skip("IMGSEARCH_EXAMPLES names no collection")
	}
	ctx := context.Background()
	c, err := Open(path, OpenOptions{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ids, embeddings, err := c.Embeddings(ctx)
	if err != nil {
		t.Fatal(err)
	}
	byLabel := map[dataset.Label][]int{}
	labels := []dataset.Label{}
	at := 0
	for r, err := range c.Records(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if byLabel[r.Label] == nil {
			labels = append(labels, r.Label)
		}
		byLabel[r.Label] = append(byLabel[r.Label], at)
		at++
	}
	row := func(i int) []float32 { return embeddings[i*c.dim : (i+1)*c.dim] }
	const trials, examples, k = 500, 3, 10
	weights := []float64{0, 0.25, 0.5, 0.75, 1}
	one, right := 0, make([]int, len(weights))
	rng := rand.New(rand.NewPCG(1, 7))
	for range trials {
		label := labels[rng.IntN(len(labels))]
		var like, unlike [][]float32
		var used []dataset.ID
		for range examples {
			i := byLabel[label][rng.IntN(len(byLabel[label]))]
			like, used = append(like, row(i)), append(used, ids[i])
		}
		answers := func(q []float32) []Result {
			results, err := c.QueryEmbedding(ctx, q, QueryOptions{K: 5 * k, Ef: 200})
			if err != nil {
				t.Fatal(err)
			}
			return slices.DeleteFunc(results, func(r Result) bool { return slices.Contains(used, r.ID) })
		}
		count := func(results []Result) (n int) {
			for _, r := range results[:k] {
				if r.Label == label {
					n++
				}
			}
			return n
		}
		one += count(answers(like[0]))
		q, err := combine(c.metric, like, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range answers(q) {
			if i, _ := slices.BinarySearch(ids, r.ID); r.Label != label && len(unlike) < examples {
				unlike, used = append(unlike, row(i)), append(used, r.ID)
			}
		}
		for w, weight := range weights {
			if q, err = combine(c.metric, like, unlike, weight); err != nil {
				t.Fatal(err)
			}
			right[w] += count(answers(q))
		}
	}
	fmt.Printf("purity@%d of one example: %.3f\n", k, float64(one)/trials/k)
	for w, weight := range weights {
		fmt.Printf("of %d, %d unlike of weight %g: %.3f\n", examples, examples, weight, float64(right[w])/trials/k)
	}
}
