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
// again keeping away from three of other labels, by several weights: docs/groups.md has the table that it prints.
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
	// rocchio takes off the whole mean of unlike.
	rocchio := func(like, unlike [][]float32, weight float64) []float32 {
		sum, away := meanDirection(like), meanDirection(unlike)
		q := make([]float32, len(sum))
		for d := range sum {
			q[d] = float32(sum[d] - weight*away[d])
		}
		return q
	}
	orthogonal := func(like, unlike [][]float32, weight float64) []float32 {
		q, err := combine(c.metric, like, unlike, weight)
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	answers := func(q []float32, used []dataset.ID) []Result {
		results, err := c.QueryEmbedding(ctx, q, QueryOptions{K: 5 * k, Ef: 200})
		if err != nil {
			t.Fatal(err)
		}
		return slices.DeleteFunc(results, func(r Result) bool { return slices.Contains(used, r.ID) })
	}
	share := func(results []Result, label dataset.Label) (n float64) {
		for _, r := range results[:k] {
			if r.Label == label {
				n += 1.0 / trials / k
			}
		}
		return n
	}
	draw := func(rng *rand.Rand, label dataset.Label) (rows [][]float32, used []dataset.ID) {
		for range examples {
			i := byLabel[label][rng.IntN(len(byLabel[label]))]
			rows, used = append(rows, row(i)), append(used, ids[i])
		}
		return rows, used
	}
	fmt.Println("| unlike | taken off | weight | with the label of like | with the commonest wrong label |")
	fmt.Println("|---|---|---|---|---|")
	for _, nearest := range []bool{true, false} {
		for _, way := range []struct {
			name string
			ask  func(like, unlike [][]float32, weight float64) []float32
		}{{"all", rocchio}, {"what is not in common", orthogonal}} {
			for _, weight := range weights {
				rng := rand.New(rand.NewPCG(1, 7))
				one, right, wrong := 0.0, 0.0, 0.0
				for range trials {
					label := labels[rng.IntN(len(labels))]
					like, used := draw(rng, label)
					one += share(answers(like[0], used), label)
					first := answers(orthogonal(like, nil, 0), used)
					counts, commonest := map[dataset.Label]int{}, dataset.Label("")
					var unlike [][]float32
					for _, r := range first {
						if r.Label == label {
							continue
						}
						if counts[r.Label]++; counts[r.Label] > counts[commonest] {
							commonest = r.Label
						}
						if i, _ := slices.BinarySearch(ids, r.ID); nearest && len(unlike) < examples {
							unlike, used = append(unlike, row(i)), append(used, r.ID)
						}
					}
					if commonest == "" {
						commonest = labels[0]
					}
					if !nearest || len(unlike) == 0 {
						rows, drawn := draw(rng, commonest)
						unlike, used = rows, append(used, drawn...)
					}
					results := answers(way.ask(like, unlike, weight), used)
					right += share(results, label)
					wrong += share(results, commonest)
				}
				kind := map[bool]string{true: "the nearest of other labels", false: "any of the commonest other label"}[nearest]
				fmt.Printf("| %s | %s | %g | %.3f | %.3f |\n", kind, way.name, weight, right, wrong)
				if weight == 0 {
					fmt.Printf("| one image of like alone | | | %.3f | |\n", one)
				}
			}
		}
	}
}
