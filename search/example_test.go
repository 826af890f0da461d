package search_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"imgsearch/dataset"
	"imgsearch/embedder"
	"imgsearch/search"
)

// exampleEncoder returns a small net with weights drawn at random. A trained one is loaded with embedder.Load.
func exampleEncoder() (*embedder.Encoder, error) {
	net := embedder.Architecture{
		InputSize: 32, Mean: [3]float32{0.5, 0.5, 0.5}, Std: [3]float32{0.25, 0.25, 0.25},
		Layers: []embedder.Layer{
			{Kind: embedder.Conv, Out: 16, Kernel: 3, Stride: 2, Pad: 1}, {Kind: embedder.ReLU},
			{Kind: embedder.Conv, Out: 32, Kernel: 3, Stride: 2, Pad: 1}, {Kind: embedder.ReLU},
			{Kind: embedder.Flatten}, {Kind: embedder.Linear, Out: 16}, {Kind: embedder.L2Norm},
		},
	}
	return embedder.New(net, embedder.InitWeights(net, rand.New(rand.NewPCG(1, 2))), embedder.Metadata{})
}

// Fill a collection with the sample's images and ask for the ones most similar to the first.
func Example() {
	if err := example(); err != nil {
		fmt.Println(err)
	}
	// Output:
	// 1000 images of 16 values
	// 1: an image of the collection, closer than the next: true
	// 2: an image of the collection, closer than the next: true
	// with the query itself: sample:test/0 at distance 0
}

func example() error {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	encoder, err := exampleEncoder()
	if err != nil {
		return err
	}
	collection, err := search.Create(filepath.Join(dir, "sample.imgsearch"), search.CreateOptions{Encoder: encoder})
	if err != nil {
		return err
	}
	defer collection.Close()

	images, err := dataset.Open(ctx, "sample:test", dataset.Options{})
	if err != nil {
		return err
	}
	defer images.Close()
	report, err := collection.Add(ctx, images, search.AddOptions{})
	if err != nil {
		return err
	}
	fmt.Println(report.Added, "images of", collection.Dim(), "values")

	// A picture from a file would come from dataset.DecodeFile; QueryFile does both.
	first, err := images.Read(ctx, 0)
	if err != nil {
		return err
	}
	results, err := collection.QueryImage(ctx, first, search.QueryOptions{K: 3})
	if err != nil {
		return err
	}
	for i, r := range results[:2] {
		fmt.Printf("%d: an image of the collection, closer than the next: %t\n", r.Rank, r.Distance < results[i+1].Distance)
	}
	results, err = collection.QueryID(ctx, 0, search.QueryOptions{K: 1, IncludeSelf: true})
	if err != nil {
		return err
	}
	fmt.Printf("with the query itself: %s at distance %.0f\n", results[0].Source, results[0].Distance)
	return nil
}

// Bring a collection up to date with a folder: what is new or changed is taken in, what is gone is removed.
func ExampleCollection_Add() {
	if err := update(); err != nil {
		fmt.Println(err)
	}
	// Output:
	// added 2, unchanged 0, pruned 0, skipped 1
	// added 1, unchanged 1, pruned 1, skipped 1
}

func update() error {
	ctx := context.Background()
	folder, err := os.MkdirTemp("", "example")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	encoder, err := exampleEncoder()
	if err != nil {
		return err
	}
	collection, err := search.Create(filepath.Join(folder, "photos.imgsearch"), search.CreateOptions{Encoder: encoder})
	if err != nil {
		return err
	}
	defer collection.Close()

	add := func() error {
		images, err := dataset.Open(ctx, folder, dataset.Options{})
		if err != nil {
			return err
		}
		defer images.Close()
		report, err := collection.Add(ctx, images, search.AddOptions{Prune: true})
		if err != nil {
			return err
		}
		fmt.Printf("added %d, unchanged %d, pruned %d, skipped %d\n", report.Added, report.Unchanged, report.Pruned,
			len(report.Skipped))
		return nil
	}
	for name, content := range map[string][]byte{"a.gif": picture(1), "b.gif": picture(2), "broken.gif": []byte("GIF89a")} {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o644); err != nil {
			return err
		}
	}
	if err := add(); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(folder, "b.gif")); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, "c.gif"), picture(3), 0o644); err != nil {
		return err
	}
	return add()
}
