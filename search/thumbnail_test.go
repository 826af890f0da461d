package search

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"imgsearch/dataset"
)

// Small thumbnails come back as they were, whatever they show.
func TestLossless(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for n := range 2000 {
		img := dataset.NewImage(1+rng.IntN(40), 1+rng.IntN(40))
		if n%40 == 0 {
			img = dataset.NewImage(1+n%4096, 1)
		}
		switch rng.IntN(4) {
		case 0: // black
		case 1:
			for i := range img.Pix {
				img.Pix[i] = uint8(255 * rng.IntN(2))
			}
		case 2:
			for i := range img.Pix {
				img.Pix[i] = uint8(rng.IntN(256))
			}
		case 3:
			for i := range img.Pix {
				img.Pix[i] = uint8(i/9 + rng.IntN(3))
			}
		}
		b := encodeLossless(img)
		got, err := decodeThumbnail(b)
		if err != nil || !got.Equal(img) {
			t.Fatalf("%dx%d: %v", img.Width, img.Height, err)
		}
		for _, bad := range [][]byte{b[:len(b)-1], append(b, 0)} {
			if _, err := decodeThumbnail(bad); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("%d of %d bytes: %v", len(bad), len(b), err)
			}
		}
	}
}

func TestThumbnailSizes(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for _, c := range []struct{ w, h, side, wantW, wantH int }{
		{32, 32, 128, 32, 32}, {64, 64, 128, 64, 64}, {65, 64, 128, 65, 64}, {400, 200, 128, 128, 64}, {1, 1, 128, 1, 1},
		{2000, 256, 128, 128, 16}, {600, 300, 512, 512, 256}, {300, 300, 10, 10, 10}, {256, 2048, 3, 1, 3},
	} {
		b, err := encodeThumbnail(noise(rng, c.w, c.h), c.side)
		if err != nil {
			t.Fatal(err)
		}
		img, err := decodeThumbnail(b)
		if err != nil || img.Width != c.wantW || img.Height != c.wantH {
			t.Errorf("%+v: %+v, %v", c, img, err)
		}
	}
	if b, err := encodeThumbnail(noise(rng, 9, 9), 0); b != nil || err != nil {
		t.Errorf("side 0: %v, %v", b, err)
	}
	if _, err := decodeThumbnail(nil); !errors.Is(err, ErrNoThumbnail) {
		t.Errorf("none: %v", err)
	}
}

func FuzzThumbnail(f *testing.F) {
	rng := rand.New(rand.NewPCG(3, 3))
	for _, size := range []int{3, 100} {
		b, err := encodeThumbnail(noise(rng, size, size), 128)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		img, err := decodeThumbnail(b)
		if err != nil {
			if !isDamage(err) && !errors.Is(err, ErrNoThumbnail) {
				t.Errorf("unexpected error %v", err)
			}
			return
		}
		if b[0] == losslessMark {
			again, err := decodeThumbnail(encodeLossless(img))
			if err != nil || !again.Equal(img) {
				t.Errorf("%v", err)
			}
		}
	})
}

func BenchmarkThumbnail(b *testing.B) {
	ds, err := dataset.Open(context.Background(), "sample:test", dataset.Options{})
	if err != nil {
		b.Fatal(err)
	}
	images, err := dataset.Load(context.Background(), ds, 0, 1, nil)
	if err != nil {
		b.Fatal(err)
	}
	var encoded [][]byte
	total := 0
	b.Run("encode", func(b *testing.B) {
		for i := range b.N {
			e, err := encodeThumbnail(images[i%len(images)].Image, defaultThumbnail)
			if err != nil {
				b.Fatal(err)
			}
			total += len(e)
			encoded = append(encoded, e)
		}
		b.ReportMetric(float64(total)/float64(len(encoded)), "bytes/image")
	})
	b.Run("decode", func(b *testing.B) {
		for i := range b.N {
			if _, err := decodeThumbnail(encoded[i%len(encoded)]); err != nil {
				b.Fatal(err)
			}
		}
	})
}
