// Command measure tells how good features of patches are for search, on a part held back from a data set: one line of a
// table for the features in full and one for their principal components. docs/patches.md has its figures.
package main

import (
	"context"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"time"

	"imgsearch/dataset"
	"imgsearch/embedder"
	"imgsearch/evaluation"
	"imgsearch/index"
	"imgsearch/internal/patches"
)

func main() {
	var o patches.Options
	data := flag.String("data", "cifar10:train", "data set")
	gallery := flag.Int("gallery", 10_000, "images in the gallery")
	queries := flag.Int("queries", 2_000, "images held back to ask for")
	flag.StringVar((*string)(&o.Method), "method", string(patches.Manifold), "dictionary or manifold")
	flag.StringVar((*string)(&o.Coding), "coding", "", "triangle, cosine or binary")
	flag.IntVar(&o.PatchSide, "patch", 0, "side of a patch")
	flag.IntVar(&o.Stride, "stride", 0, "distance of patches")
	flag.IntVar(&o.Atoms, "atoms", 0, "size of the dictionary")
	flag.IntVar(&o.Rounds, "rounds", 0, "rounds of k-means")
	flag.Float64Var(&o.Smoothing, "smoothing", 0, "of the whitening")
	flag.Float64Var(&o.Threshold, "threshold", 0, "cosine that counts")
	flag.IntVar(&o.Components, "components", 0, "values of a patch")
	flag.Float64Var(&o.Ridge, "ridge", 0, "of the variances of codes")
	flag.IntVar(&o.Context, "context", 0, "side of a context in patches")
	flag.IntVar(&o.Grid, "grid", 0, "cells along a side")
	flag.BoolVar(&o.Mirror, "mirror", false, "add the mirror image")
	flag.IntVar(&o.FitImages, "fit", 0, "images fitted on")
	flag.Uint64Var(&o.Seed, "seed", 1, "seed")
	dim := flag.Int("dim", 64, "principal components")
	references := flag.Bool("references", false, "measure half-whitened principal components of pixels and the built-in encoder instead")
	flag.Parse()
	if err := run(*data, *gallery, *queries, *dim, *references, o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(data string, gallery, queries, dim int, references bool, o patches.Options) error {
	ctx := context.Background()
	ds, err := dataset.Open(ctx, data, dataset.Options{})
	if err != nil {
		return err
	}
	defer ds.Close()
	loaded, err := dataset.Load(ctx, ds, evaluation.PixelSide, 0, nil)
	if err != nil {
		return err
	}
	if queries+gallery > len(loaded) {
		return fmt.Errorf("%d queries and a gallery of %d of %d images", queries, gallery, len(loaded))
	}
	// The queries are the same for any size of the gallery.
	order := rand.New(rand.NewPCG(1, 0x68656c64)).Perm(len(loaded))
	part := func(positions []int) (patches.Images, []dataset.Label) {
		images := patches.Images{Side: evaluation.PixelSide}
		var labels []dataset.Label
		for _, p := range positions {
			images.Pix = append(images.Pix, loaded[p].Image.Pix...)
			labels = append(labels, loaded[p].Entry.Label)
		}
		return images, labels
	}
	queryImages, queryLabels := part(order[:queries])
	galleryImages, galleryLabels := part(order[len(order)-gallery:])

	report := func(name string, q, g []float32, dim int, minutes float64) error {
		s, err := score(ctx, evaluation.Set{Embeddings: q, Dim: dim, Labels: queryLabels}, evaluation.Set{Embeddings: g, Dim: dim, Labels: galleryLabels})
		if err != nil {
			return err
		}
		fmt.Printf("| %s | %d | %.4f | %.4f | %.3f | %.3f | %.1f |\n", name, dim, s.wide, s.narrow, s.purity1, s.purity10, minutes)
		return nil
	}
	if references {
		return refer(ctx, queryImages, galleryImages, report)
	}
	started, busy := time.Now(), processorTime()
	stage, since := "", started
	o.OnProgress = func(name string, done, total int) {
		if name != stage {
			stage, since = name, time.Now()
		}
		if done == total {
			fmt.Fprintf(os.Stderr, "%s: %.1f s\n", name, time.Since(since).Seconds())
		}
	}
	f, err := patches.Fit(ctx, galleryImages, o)
	if err != nil {
		return err
	}
	galleryFeatures, err := f.Extract(ctx, galleryImages)
	if err != nil {
		return err
	}
	queryFeatures, err := f.Extract(ctx, queryImages)
	if err != nil {
		return err
	}
	minutes := (processorTime() - busy).Minutes()
	fmt.Fprintf(os.Stderr, "%d values, %.1f min of processor, %.1f min\n", f.Dim(), minutes, time.Since(started).Minutes())
	if err := report("in full", queryFeatures, galleryFeatures, f.Dim(), minutes); err != nil {
		return err
	}
	c, err := patches.FitCompact(ctx, galleryFeatures, f.Dim(), dim, o.Seed, 0)
	if err != nil {
		return err
	}
	for _, whiten := range []float64{0, 0.5, 1} {
		err = report(fmt.Sprintf("whitened %.1f", whiten), c.Project(queryFeatures, whiten, 0), c.Project(galleryFeatures, whiten, 0), dim, minutes)
		if err != nil {
			return err
		}
	}
	return nil
}

// refer measures what features of patches are compared with.
func refer(ctx context.Context, queries, gallery patches.Images, report func(name string, q, g []float32, dim int, minutes float64) error) error {
	pixels := func(m patches.Images) (*evaluation.Pixels, []*dataset.Image) {
		p := evaluation.NewPixels(m.Len())
		var images []*dataset.Image
		for i := range m.Len() {
			size := 3 * m.Side * m.Side
			images = append(images, &dataset.Image{Width: m.Side, Height: m.Side, Pix: m.Pix[i*size:][:size]})
			p.Set(i, images[i])
		}
		return p, images
	}
	queryPixels, queryImages := pixels(queries)
	galleryPixels, galleryImages := pixels(gallery)
	busy := processorTime()
	pca, err := evaluation.FitPCA(ctx, galleryPixels, evaluation.PCAOptions{})
	if err != nil {
		return err
	}
	q, g := pca.Project(queryPixels, true, 0), pca.Project(galleryPixels, true, 0)
	if err := report("PCA of pixels, half-whitened", q, g, pca.Dim(), (processorTime() - busy).Minutes()); err != nil {
		return err
	}
	encoder, err := embedder.Shipped()
	if err != nil {
		return err
	}
	busy = processorTime()
	if q, err = encoder.Embed(ctx, queryImages, 0); err != nil {
		return err
	}
	if g, err = encoder.Embed(ctx, galleryImages, 0); err != nil {
		return err
	}
	return report("built-in encoder", q, g, encoder.Dim(), (processorTime() - busy).Minutes())
}

// scores of queries: kNN accuracy with k 200 and temperature 0.1 (wide) and with k 30 and 0.03 (narrow), purity.
type scores struct{ wide, narrow, purity1, purity10 float64 }

func score(ctx context.Context, queries, gallery evaluation.Set) (scores, error) {
	gallery.IDs = make([]dataset.ID, len(gallery.Labels))
	for i := range gallery.IDs {
		gallery.IDs[i] = dataset.ID(i)
	}
	answers, err := evaluation.Nearest(ctx, queries, gallery, index.Cosine, 200, false, 0)
	if err != nil {
		return scores{}, err
	}
	var s scores
	n := float64(len(answers))
	for q, answer := range answers {
		label := queries.Labels[q]
		vote := func(k int, temperature float64) float64 {
			votes := map[dataset.Label]float64{}
			var winner dataset.Label
			for _, a := range answer[:min(k, len(answer))] {
				votes[gallery.Labels[a.ID]] += math.Exp(-float64(a.Distance) / temperature)
			}
			for _, a := range answer[:min(k, len(answer))] {
				if l := gallery.Labels[a.ID]; winner == "" || votes[l] > votes[winner] {
					winner = l
				}
			}
			if winner == label {
				return 1 / n
			}
			return 0
		}
		s.wide += vote(200, 0.1)
		s.narrow += vote(30, 0.03)
		for i, a := range answer[:min(10, len(answer))] {
			if gallery.Labels[a.ID] == label {
				s.purity10 += 0.1 / n
				if i == 0 {
					s.purity1 += 1 / n
				}
			}
		}
	}
	return s, nil
}
