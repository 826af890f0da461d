// Command samplegen makes the file that is embedded as the data set "sample", from the official CIFAR-10 archive:
//
//	go run ./dataset/internal/samplegen -archive cifar-10-binary.tar.gz -out dataset/sample.bin
//
// It takes the first 400 training and the first 100 test images of each class, in the order of the archive. The result
// is the same each time for one version of Go.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"imgsearch/dataset"
	"imgsearch/dataset/internal/samplecodec"
)

func main() {
	archive := flag.String("archive", "", "the official cifar-10-binary.tar.gz")
	out := flag.String("out", "sample.bin", "file to write")
	flag.Parse()
	if err := run(*archive, *out); err != nil {
		fmt.Fprintln(os.Stderr, "samplegen:", err)
		os.Exit(1)
	}
}

func run(archive, out string) error {
	if archive == "" {
		return fmt.Errorf("name the official archive with -archive")
	}
	var parts []samplecodec.Part
	for _, part := range []struct {
		name     string
		perClass int
	}{{"train", 400}, {"test", 100}} {
		records, err := pick(archive+":"+part.name, part.perClass)
		if err != nil {
			return err
		}
		parts = append(parts, samplecodec.Part{Name: part.name, Records: records})
	}
	data, err := samplecodec.Encode(parts)
	if err != nil {
		return err
	}
	fmt.Printf("%s: %d bytes\n", out, len(data))
	return os.WriteFile(out, data, 0o644)
}

// pick returns the records of the first perClass images of each class.
func pick(name string, perClass int) ([]byte, error) {
	ctx := context.Background()
	ds, err := dataset.Open(ctx, name, dataset.Options{})
	if err != nil {
		return nil, err
	}
	defer ds.Close()
	number := map[dataset.Label]byte{}
	for i, label := range dataset.CIFAR10Labels() {
		number[label] = byte(i)
	}
	var records []byte
	taken := map[dataset.Label]int{}
	for i := range ds.Len() {
		label := ds.Entry(i).Label
		if taken[label] == perClass {
			continue
		}
		taken[label]++
		s, err := ds.Read(ctx, i)
		if err != nil {
			return nil, err
		}
		records = append(records, number[label])
		for channel := range 3 {
			for p := channel; p < len(s.Image.Pix); p += 3 {
				records = append(records, s.Image.Pix[p])
			}
		}
	}
	return records, nil
}
