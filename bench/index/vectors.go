package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"

	"imgsearch/dataset"
	"imgsearch/embedder"
)

// embeddingDim is the dim of the built-in encoder.
const embeddingDim = 64

// How many images CIFAR-10 has in its parts.
const (
	trainImages = 50_000
	testImages  = 10_000
)

// vectors are what an index is measured on.
type vectors struct {
	gallery, queries []float32 // [n, embeddingDim]
	encoder          string    // fingerprint
}

func (v *vectors) len() int { return len(v.gallery) / embeddingDim }

// source makes embeddings of CIFAR-10 by the built-in encoder and keeps them in a folder.
type source struct {
	data, cache string
	threads     int
	log         func(format string, args ...any)
}

// load returns n embeddings of training images as gallery and the given number of test images as queries. More than
// 50,000 are of views of the training images: crops of them, mirrored by turns, their colours scaled.
func (s *source) load(ctx context.Context, n, queries int) (*vectors, error) {
	encoder, err := embedder.Shipped()
	if err != nil {
		return nil, err
	}
	if encoder.Dim() != embeddingDim {
		return nil, fmt.Errorf("the built-in encoder has dim %d, not %d", encoder.Dim(), embeddingDim)
	}
	v := &vectors{encoder: encoder.Fingerprint()}
	if v.gallery, err = s.part(ctx, encoder, "train", n); err != nil {
		return nil, err
	}
	if v.queries, err = s.part(ctx, encoder, "test", testImages); err != nil {
		return nil, err
	}
	v.queries = v.queries[:queries*embeddingDim]
	return v, nil
}

// viewBlock is how many images are embedded between two messages, and the unit in which views are made.
const viewBlock = 5000

// part returns embeddings of the first n images of a part, from the folder where they are there.
func (s *source) part(ctx context.Context, encoder *embedder.Encoder, part string, n int) ([]float32, error) {
	path := filepath.Join(s.cache, fmt.Sprintf("%.12s-%s-%d.f32", encoder.Fingerprint(), part, n))
	if values, err := readFloats(path, n*embeddingDim); err == nil {
		return values, nil
	} else if !os.IsNotExist(err) {
		return nil, err
	}
	ds, err := dataset.Open(ctx, s.data+":"+part, dataset.Options{})
	if err != nil {
		return nil, err
	}
	defer ds.Close()
	images := make([]*dataset.Image, min(n, ds.Len()))
	for i := range images {
		sample, err := ds.Read(ctx, i)
		if err != nil {
			return nil, err
		}
		images[i] = sample.Image
	}
	out := make([]float32, 0, n*embeddingDim)
	block := make([]*dataset.Image, 0, viewBlock)
	for from := 0; from < n; from += viewBlock {
		block = block[:0]
		for i := from; i < min(n, from+viewBlock); i++ {
			block = append(block, view(images[i%len(images)], i/len(images), uint64(i)))
		}
		values, err := encoder.Embed(ctx, block, s.threads)
		if err != nil {
			return nil, err
		}
		out = append(out, values...)
		s.log("embedded %d of %d images (%s)", from+len(block), n, part)
	}
	return out, writeFloats(path, out)
}

// view returns the image itself for round 0, another view of it for the others.
func view(img *dataset.Image, round int, seed uint64) *dataset.Image {
	if round == 0 {
		return img
	}
	rng := rand.New(rand.NewPCG(seed, 0x1A6E))
	short := min(img.Width, img.Height)
	side := short*5/8 + rng.IntN(short-short*5/8+1)
	left, top := rng.IntN(img.Width-side+1), rng.IntN(img.Height-side+1)
	mirrored := rng.IntN(2) == 1
	var gain [3]float64
	bright := 0.7 + 0.6*rng.Float64()
	for c := range gain {
		gain[c] = bright * (0.9 + 0.2*rng.Float64())
	}
	out := dataset.NewImage(side, side)
	for y := range side {
		for x := range side {
			from := left + x
			if mirrored {
				from = left + side - 1 - x
			}
			for c := range 3 {
				v := float64(img.Pix[((top+y)*img.Width+from)*3+c]) * gain[c]
				out.Pix[(y*side+x)*3+c] = uint8(min(255, math.Round(v)))
			}
		}
	}
	return out
}

// readFloats reads a file of count little-endian float32 values.
func readFloats(path string, count int) ([]float32, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if len(data) != 4*count {
		return nil, fmt.Errorf("%s: %d bytes, not %d: remove it", path, len(data), 4*count)
	}
	out := make([]float32, count)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return out, nil
}

// writeFloats writes what readFloats reads, beside its place at first.
func writeFloats(path string, values []float32) error {
	data := make([]byte, 0, 4*len(values))
	for _, v := range values {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path+".part", data, fs.FileMode(0o644)); err != nil {
		return err
	}
	return os.Rename(path+".part", path)
}
