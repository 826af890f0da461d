package dataset_test

import (
	"context"
	"fmt"
	"log"
	"path/filepath"

	"imgsearch/dataset"
)

func ExampleOpen() {
	ctx := context.Background()
	ds, err := dataset.Open(ctx, "sample:test", dataset.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer ds.Close()
	fmt.Println(ds.Len(), "images")

	entry := ds.Entry(17)
	sample, err := ds.Read(ctx, 17)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(entry.Source, entry.Label, sample.Image.Width, sample.Image.Height)
	// Output:
	// 1000 images
	// sample:test/17 horse 32 32
}

func ExampleLoad() {
	ctx := context.Background()
	ds, err := dataset.Open(ctx, filepath.Join("testdata", "images"), dataset.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer ds.Close()
	for _, p := range dataset.Problems(ds) {
		fmt.Println("not listed:", p)
	}
	images, err := dataset.Load(ctx, ds, 32, 0, func(p dataset.Problem) { fmt.Println("skipped:", p) })
	if err != nil {
		log.Fatal(err)
	}
	first := images[0]
	fmt.Println(len(images), "images, the first", filepath.ToSlash(first.Entry.Source), first.Image.Width, first.Image.Height)
	// Output:
	// 25 images, the first testdata/images/16-bit.png 32 32
}

func ExampleGet() {
	path, err := dataset.Get(context.Background(), dataset.GetOptions{
		Progress: func(done, total int64) { fmt.Printf("\r%d of %d bytes", done, total) },
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("CIFAR-10 is in", path)
}
