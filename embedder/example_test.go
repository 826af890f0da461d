package embedder_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"imgsearch/dataset"
	"imgsearch/embedder"
)

func Example() {
	// An untrained encoder: a small net with weights drawn at random.
	net := embedder.Architecture{
		InputSize: 32,
		Mean:      [3]float32{0.5, 0.5, 0.5},
		Std:       [3]float32{0.25, 0.25, 0.25},
		Layers: []embedder.Layer{
			{Kind: embedder.Conv, Out: 16, Kernel: 3, Stride: 2, Pad: 1},
			{Kind: embedder.BatchNorm},
			{Kind: embedder.ReLU},
			{Kind: embedder.GlobalMean},
			{Kind: embedder.Linear, Out: 8, Bias: true},
			{Kind: embedder.L2Norm},
		},
	}
	weights := embedder.InitWeights(net, rand.New(rand.NewPCG(1, 2)))
	encoder, err := embedder.New(net, weights, embedder.Metadata{Program: "example"})
	if err != nil {
		fmt.Println(err)
		return
	}

	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "encoder.safetensors")
	if err := encoder.Save(path); err != nil {
		fmt.Println(err)
		return
	}
	if encoder, err = embedder.Load(path); err != nil {
		fmt.Println(err)
		return
	}

	images := []*dataset.Image{dataset.NewImage(640, 480), dataset.NewImage(32, 32)}
	embeddings, err := encoder.Embed(context.Background(), images, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(embeddings)/encoder.Dim(), "embeddings of", encoder.Dim(), "values")
	fmt.Println(encoder.Describe().Parameters, "parameters")
	// Output:
	// 2 embeddings of 8 values
	// 632 parameters
}

func ExampleArchitecture_Validate() {
	net := embedder.SeedArchitecture()
	net.Layers[2].Kernel = 65
	fmt.Println(net.Validate())
	// Output:
	// unusable architecture: layers.2 (conv): kernel 65: must be 1 to 64
}
