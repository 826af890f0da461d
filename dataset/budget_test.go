package dataset

import (
	"bufio"
	"bytes"
	"image"
	"image/color"
	"os"
	"path/filepath"
	"testing"
)

func jpegIsProgressive(data []byte) bool {
	return isProgressive(bufio.NewReader(bytes.NewReader(data)))
}

func imageConfig(side int) image.Config {
	return image.Config{ColorModel: color.YCbCrModel, Width: side, Height: side}
}

func TestIsProgressive(t *testing.T) {
	for file, want := range map[string]bool{"progressive.jpg": true, "cmyk.jpg": false, "orientation-3.jpg": false, "alpha.png": false} {
		data, err := os.ReadFile(filepath.Join("testdata", "images", file))
		if err != nil {
			t.Fatal(err)
		}
		if got := jpegIsProgressive(data); got != want {
			t.Errorf("%s: %v, want %v", file, got, want)
		}
	}
}

// TestDecodingWeight: no picture weighs more than the budget, or it would wait for ever, and none weighs nothing.
func TestDecodingWeight(t *testing.T) {
	for _, f := range formats {
		for _, side := range []int{1, 1000, 10_000, 1 << 16} {
			for _, file := range []int64{1, 1 << 20, 1 << 40} {
				config := imageConfig(side)
				if w := decodingWeight(f, config, file, true); w < 1 || w > decodingBytes {
					t.Errorf("%s, side %d, %d bytes: weight %d", f.name, side, file, w)
				}
			}
		}
	}
	small := decodingWeight(formats[0], imageConfig(1000), 100, false)
	if progressive := decodingWeight(formats[0], imageConfig(1000), 100, true); progressive <= small {
		t.Errorf("a progressive JPEG weighs %d, a plain one %d", progressive, small)
	}
}

// TestDecodingReleases: whatever becomes of a file, its share of the budget comes back.
func TestDecodingReleases(t *testing.T) {
	dir := t.TempDir()
	good, err := os.ReadFile(filepath.Join("testdata", "images", "progressive.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"good.jpg": good, "short.jpg": good[:len(good)-200], "empty.jpg": nil,
		"header.png": pngHeader(5000, 5000), "huge.png": pngHeader(50_000, 50_000)} {
		path := filepath.Join(dir, name)
		writeFile(t, path, data)
		for range 3 {
			DecodeFile(t.Context(), path, Options{})
		}
	}
	if !decoding.TryAcquire(decodingBytes) {
		t.Fatal("part of the budget is still taken")
	}
	decoding.Release(decodingBytes)
}
