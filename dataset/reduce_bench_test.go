package dataset

import (
	"bytes"
	"image"
	"image/jpeg"
	"testing"
)

// BenchmarkDecodePhoto decodes a JPEG of 12 million pixels; BenchmarkReduced is the part of it that is ours.
func BenchmarkDecodePhoto(b *testing.B) {
	var file bytes.Buffer
	must(jpeg.Encode(&file, benchmarkPhoto(), nil))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeBytes(file.Bytes(), Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReduced(b *testing.B) {
	photo := benchmarkPhoto()
	b.ReportAllocs()
	for b.Loop() {
		reduced(photo, DefaultShortSide)
	}
}

// BenchmarkSquare is what every image of a folder goes through before it is embedded.
func BenchmarkSquare(b *testing.B) {
	m := randomImage(341, 256)
	b.ReportAllocs()
	for b.Loop() {
		m.Square(32)
	}
}

// benchmarkPhoto is a picture as a camera's JPEG decodes to.
func benchmarkPhoto() *image.YCbCr {
	m := image.NewYCbCr(image.Rect(0, 0, 4000, 3000), image.YCbCrSubsampleRatio420)
	for i := range m.Y {
		m.Y[i] = uint8(i/16 + i/40_000)
	}
	for i := range m.Cb {
		m.Cb[i], m.Cr[i] = uint8(i/500), uint8(i/700)
	}
	return m
}
