package training

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"testing"

	"imgsearch/dataset"
)

// grayImages makes a data set gray.
func grayImages(m *memory) *memory {
	for _, img := range m.images {
		for p := 0; p < len(img.Pix); p += 3 {
			img.Pix[p+1], img.Pix[p+2] = img.Pix[p], img.Pix[p]
		}
	}
	return m
}

func finite(t *testing.T, what string, values []float32) {
	t.Helper()
	for i, x := range values {
		if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
			t.Fatalf("%s: value %d is %v", what, i, x)
		}
	}
}

// TestWhiteningGray: of gray images two thirds of the directions of patch space have no variance, of images of one
// colour all. The filters stay finite, no direction is blown up beyond what whitenEpsilon allows, and those that images
// vary in are whitened all the same.
func TestWhiteningGray(t *testing.T) {
	const size, n = 16, 27
	plain := stripes(60, size, 3)
	for _, img := range plain.images {
		for p := range img.Pix {
			img.Pix[p] = 200
		}
	}
	for name, c := range map[string]struct {
		data    *memory
		varying int // directions with variance
	}{"colour": {stripes(60, size, 3), 27}, "gray": {grayImages(stripes(60, size, 3)), 9}, "one colour": {plain, 0}} {
		images := testCorpus(c.data, size)
		a := residualNet(size, 8, 4, 4, 4)
		a.Mean, a.Std = images.channelStatistics(allRows(60), 1)
		filters := whiteningFilters(images, allRows(60), a, 3, 1).Data
		finite(t, name, filters)
		for k := range n {
			var length float64
			for _, x := range filters[k*n:][:n] {
				length += float64(x) * float64(x)
			}
			length = math.Sqrt(length)
			if most := 1 / math.Sqrt(whitenEpsilon); length > most*(1+1e-5) || k >= c.varying && length < most*(1-1e-3) {
				t.Errorf("%s: filter %d has length %v, at most %v", name, k, length, most)
			}
		}
		// What the filters make of the images' patches has variance v/(v+epsilon): near 1 along directions with much.
		v := newViewer(ViewOptions{}, size, a.Mean, a.Std)
		pixels := make([]float32, 3*size*size)
		var sum, square [n]float64
		count := 0.0
		for i := range int32(60) {
			v.plain(images.pixels(i), pixels)
			for y := range size - 2 {
				for x := range size - 2 {
					for k := range n {
						var out float64
						for j, w := range filters[k*n:][:n] {
							out += float64(w) * float64(pixels[(j/9*size+y+j%9/3)*size+x+j%3])
						}
						sum[k] += out
						square[k] += out * out
					}
					count++
				}
			}
		}
		for k := range n {
			variance := square[k]/count - sum[k]/count*sum[k]/count
			if low := k < c.varying && variance < 0.9; low || variance > 1.1 || k >= c.varying && variance > 1e-3 {
				t.Errorf("%s: along direction %d the variance is %v", name, k, variance)
			}
		}
	}
}

// grayFolder writes gray pictures, PNG and JPEG with one channel.
func grayFolder(t *testing.T, n, size int) string {
	t.Helper()
	dir := t.TempDir()
	for i, img := range grayImages(stripes(n, size, 3)).images {
		gray := image.NewGray(image.Rect(0, 0, size, size))
		for p := range gray.Pix {
			gray.SetGray(p%size, p/size, color.Gray{Y: img.Pix[3*p]})
		}
		path := filepath.Join(dir, fmt.Sprintf("%d.png", i))
		if i%2 == 1 {
			path = filepath.Join(dir, fmt.Sprintf("%d.jpg", i))
		}
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 1 {
			err = jpeg.Encode(f, gray, nil)
		} else {
			err = png.Encode(f, gray)
		}
		if err == nil {
			err = f.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestTrainOnGray: a folder of gray pictures trains to finite weights with the presets' net and views, and gray views of
// gray images stay gray.
func TestTrainOnGray(t *testing.T) {
	ds, err := dataset.Open(t.Context(), grayFolder(t, 60, 20), dataset.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer ds.Close()
	o, err := PresetByName("tiny")
	if err != nil {
		t.Fatal(err)
	}
	o.Data, o.Size, o.Dim, o.Steps, o.Batch, o.Threads = ds, 16, 8, 6, 16, 1
	r, err := run(t.Context(), o, func(c networkConfig) (stepper, error) { return newNetwork(c) })
	if err != nil {
		t.Fatal(err)
	}
	if math.IsNaN(r.Loss) || r.Comparison == nil || r.HeldBack == nil || r.HeldBack.Images != 12 {
		t.Errorf("%+v", r)
	}
	s, err := ds.Read(context.Background(), 0)
	if err != nil {
		t.Fatal(err)
	}
	embedding, err := r.Encoder.Embed(t.Context(), []*dataset.Image{s.Image}, 1)
	if err != nil {
		t.Fatal(err)
	}
	finite(t, "embedding", embedding)

	// A turn of hue and a change of saturation leave gray pixels gray; brightness and contrast move all channels alike.
	v := newViewer(twoViews, 16, [3]float32{}, [3]float32{1. / 255, 1. / 255, 1. / 255})
	view := make([]float32, 3*16*16)
	for i := range 20 {
		v.random(planes(s.Image.Square(16).Pix), view, newRNG(1, streamView, uint64(i), 0))
		finite(t, "view", view)
		for p := range 256 {
			if math.Abs(float64(view[p]-view[256+p])) > 0.2 || math.Abs(float64(view[p]-view[512+p])) > 0.2 {
				t.Fatalf("view %d, pixel %d: %v %v %v", i, p, view[p], view[256+p], view[512+p])
			}
		}
	}
}
