package training

import (
	"math"
	"testing"

	"imgsearch/embedder"
)

func testCorpus(m *memory, size int) *corpus {
	c := &corpus{size: size, labels: m.labels}
	for _, img := range m.images {
		c.pix = append(c.pix, planes(img.Pix)...)
	}
	_ = c.seal() // fails for files only
	return c
}

func allRows(n int) []int32 {
	rows := make([]int32, n)
	for i := range rows {
		rows[i] = int32(i)
	}
	return rows
}

func TestEigenSymmetric(t *testing.T) {
	const n = 12
	r := newRNG(1, 90, 0, 0)
	m := make([]float64, n*n)
	for i := range n {
		for j := range i + 1 {
			m[i*n+j] = r.between(-1, 1)
			m[j*n+i] = m[i*n+j]
		}
	}
	original := append([]float64(nil), m...)
	values, vectors := eigenSymmetric(m, n)
	for k := range n {
		if k > 0 && values[k] > values[k-1] {
			t.Errorf("values are not sorted: %v", values)
		}
		v := vectors[k*n:][:n]
		for i := range n {
			var sum float64
			for j := range n {
				sum += original[i*n+j] * v[j]
			}
			if math.Abs(sum-values[k]*v[i]) > 1e-9 {
				t.Fatalf("vector %d is none: component %d is %v, want %v", k, i, sum, values[k]*v[i])
			}
		}
		for l := range k + 1 {
			var dot float64
			for i := range n {
				dot += v[i] * vectors[l*n+i]
			}
			want := 0.0
			if k == l {
				want = 1
			}
			if math.Abs(dot-want) > 1e-9 {
				t.Errorf("vectors %d and %d: %v, want %v", k, l, dot, want)
			}
		}
	}
}

// TestWhiteningWhitens measures the covariance of the filters' outputs on the images that they come from.
func TestWhiteningWhitens(t *testing.T) {
	const size, images, kernel, n = 16, 60, 3, 27
	c := testCorpus(stripes(images, size, 3), size)
	a := embedder.Architecture{InputSize: size, Mean: [3]float32{0.5, 0.5, 0.5}, Std: [3]float32{0.1, 0.1, 0.1}}
	w := whiteningFilters(c, allRows(images), a, kernel, 1)
	if len(w.Data) != 2*n*n {
		t.Fatalf("%d values, shape %v", len(w.Data), w.Shape)
	}
	v := newViewer(ViewOptions{}, size, a.Mean, a.Std)
	x := make([]float32, 3*size*size)
	mean := make([]float64, n)
	cov := make([]float64, n*n)
	count := 0.0
	out := make([]float64, n)
	for i := range images {
		v.plain(c.pixels(int32(i)), x)
		for y := range size - 2 {
			for z := range size - 2 {
				for k := range n {
					out[k] = 0
					for ch := range 3 {
						for dy := range 3 {
							for dx := range 3 {
								out[k] += float64(w.Data[k*n+9*ch+3*dy+dx]) * float64(x[(ch*size+y+dy)*size+z+dx])
							}
						}
					}
					mean[k] += out[k]
				}
				for k := range n {
					for l := range n {
						cov[k*n+l] += out[k] * out[l]
					}
				}
				count++
			}
		}
	}
	for k := range n {
		for l := range n {
			got := cov[k*n+l]/count - mean[k]*mean[l]/count/count
			switch {
			case k != l && math.Abs(got) > 0.01:
				t.Errorf("covariance of %d and %d is %v, want 0", k, l, got)
			case k == l && (got > 1.001 || got < 0.9):
				t.Errorf("variance of %d is %v, want just below 1", k, got)
			}
		}
		for i := range n {
			if w.Data[k*n+i] != -w.Data[(n+k)*n+i] {
				t.Fatalf("filter %d is not the negative of %d", n+k, k)
			}
		}
	}
}

func TestWhiteningOfOneColourIsFinite(t *testing.T) {
	m := stripes(10, 16, 2)
	for _, img := range m.images {
		for i := range img.Pix {
			img.Pix[i] = 100
		}
	}
	c := testCorpus(m, 16)
	mean, std := c.channelStatistics(allRows(10), 3)
	if mean != [3]float32{0.392, 0.392, 0.392} || std != [3]float32{0.05, 0.05, 0.05} {
		t.Errorf("mean %v, std %v", mean, std)
	}
	w := whiteningFilters(c, allRows(10), embedder.Architecture{InputSize: 16, Mean: mean, Std: std}, 3, 1)
	for _, x := range w.Data {
		if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
			t.Fatal("not finite")
		}
	}
}
