package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"

	"imgsearch/atlas"
	"imgsearch/dataset"
	"imgsearch/internal/kernel"
	"imgsearch/search"
)

const (
	noiseShare = 0.03
	noiseK     = 100
)

// noise gives some images of a collection other labels and tells how many of them stand first among the outliers.
func noise(ctx context.Context, o options, stdout io.Writer) error {
	c, err := search.Open(o.index, search.OpenOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer c.Close()
	numbers := map[dataset.Label]int32{}
	var classes []int32
	for r, err := range c.Records(ctx) {
		if err != nil {
			return err
		}
		class, known := numbers[r.Label]
		if !known {
			class = int32(len(numbers))
			numbers[r.Label] = class
		}
		classes = append(classes, class)
	}
	if len(numbers) < 2 {
		return errors.New("a collection with labels is needed")
	}
	rng := rand.New(rand.NewPCG(o.seed, 0))
	wrong := map[int32]bool{}
	for i := range classes {
		if rng.Float64() < noiseShare {
			classes[i] = (classes[i] + 1 + rng.Int32N(int32(len(numbers))-1)) % int32(len(numbers))
			wrong[int32(i)] = true
		}
	}
	neighbors, distances, err := nearest(ctx, c, o.threads)
	if err != nil {
		return err
	}
	hits, precision := 0, 0.0
	judged := atlas.LabelOutliers(classes, neighbors, distances, noiseK, c.Metric())
	fmt.Fprintf(stdout, "%d of %d labels made wrong, %d neighbours vote\n", len(wrong), len(classes), noiseK)
	for i, outlier := range judged {
		if wrong[outlier.Position] {
			hits++
			precision += float64(hits) / float64(i+1)
		}
		if n := i + 1; n == 100 || n == 500 || n == len(wrong) {
			fmt.Fprintf(stdout, "among the %d first: %d wrong, %.3f\n", n, hits, float64(hits)/float64(n))
		}
	}
	fmt.Fprintf(stdout, "average precision %.4f\n", precision/float64(len(wrong)))
	return nil
}

// nearest returns each image's neighbours in the graph, [images, noiseK], as positions, -1 where there are fewer.
func nearest(ctx context.Context, c *search.Collection, threads int) (neighbors []int32, distances []float32, err error) {
	graph, err := c.Graph(ctx, threads)
	if err != nil {
		return nil, nil, err
	}
	ids, embeddings, err := c.Embeddings(ctx)
	if err != nil {
		return nil, nil, err
	}
	position := make(map[dataset.ID]int32, len(ids))
	for i, id := range ids {
		position[id] = int32(i)
	}
	neighbors, distances = make([]int32, len(ids)*noiseK), make([]float32, len(ids)*noiseK)
	problems := make([]error, len(ids))
	kernel.Parallel(threads, len(ids), func(i int) {
		if problems[i] = ctx.Err(); problems[i] != nil {
			return
		}
		found, err := graph.Search(embeddings[i*c.Dim():(i+1)*c.Dim()], noiseK+1)
		problems[i] = err
		at := i * noiseK
		for _, n := range found {
			if n.ID != ids[i] && at < (i+1)*noiseK {
				neighbors[at], distances[at] = position[n.ID], n.Distance
				at++
			}
		}
		for ; at < (i+1)*noiseK; at++ {
			neighbors[at] = -1
		}
	})
	return neighbors, distances, errors.Join(problems...)
}
