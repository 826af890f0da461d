package training

import (
	"math"
	"slices"
	"testing"
)

// testPixels returns a square image without structure, [3, size, size].
func testPixels(size int, seed uint64) []uint8 {
	r := newRNG(seed, 99, 0, 0)
	pix := make([]uint8, 3*size*size)
	for i := range pix {
		pix[i] = uint8(r.Uint64())
	}
	return pix
}

var (
	halfMean = [3]float32{0.5, 0.5, 0.5}
	halfStd  = [3]float32{0.5, 0.5, 0.5}
	strong   = ViewOptions{CropArea: 0.25, Flip: 0.5, Brightness: 0.4, Contrast: 0.4, Saturation: 0.4, Hue: 0.1, Gray: 0.2}
)

func TestPlainViewNormalises(t *testing.T) {
	v := newViewer(ViewOptions{}, 2, [3]float32{0.5, 0, 0.25}, [3]float32{0.5, 1, 0.25})
	dst := make([]float32, 12)
	v.plain([]uint8{0, 255, 51, 102, 0, 255, 51, 102, 0, 255, 51, 102}, dst)
	want := []float32{-1, 1, -0.6, -0.2, 0, 1, 0.2, 0.4, -1, 3, -0.2, 0.6}
	for i := range want {
		if math.Abs(float64(dst[i]-want[i])) > 1e-6 {
			t.Fatalf("plain = %v, want %v", dst, want)
		}
	}
}

func TestViewWithoutChangesIsPlain(t *testing.T) {
	for _, size := range []int{1, 2, 7, 32} {
		pix := testPixels(size, 1)
		v := newViewer(ViewOptions{}, size, halfMean, halfStd)
		a, b := make([]float32, 3*size*size), make([]float32, 3*size*size)
		v.plain(pix, a)
		v.random(pix, b, newRNG(1, streamView, 0, 0))
		if !slices.Equal(a, b) {
			t.Errorf("size %d: a view without changes differs from the image", size)
		}
	}
}

func TestFlipMirrors(t *testing.T) {
	const size = 5
	pix := testPixels(size, 2)
	v := newViewer(ViewOptions{Flip: 1}, size, halfMean, halfStd)
	a, b := make([]float32, 3*size*size), make([]float32, 3*size*size)
	v.plain(pix, a)
	v.random(pix, b, newRNG(1, streamView, 0, 0))
	for c := range 3 {
		for y := range size {
			for x := range size {
				if got, want := b[(c*size+y)*size+x], a[(c*size+y)*size+size-1-x]; math.Abs(float64(got-want)) > 1e-6 {
					t.Fatalf("channel %d (%d, %d): %v, want %v", c, x, y, got, want)
				}
			}
		}
	}
}

// TestColorAgainstStepByStep applies the changes one after the other, pixel by pixel.
func TestColorAgainstStepByStep(t *testing.T) {
	const size = 6
	pix := make([]uint8, 3*size*size)
	for i, x := range testPixels(size, 4) {
		pix[i] = 100 + x/8 // far from the ends, so that clamping does not matter
	}
	o := ViewOptions{Brightness: 0.2, Contrast: 0.2, Saturation: 0.3, Hue: 0.1}
	v := newViewer(o, size, halfMean, halfStd)
	dst := make([]float32, 3*size*size)
	for k := range uint64(20) {
		key := newRNG(5, streamView, k, 0)
		v.random(pix, dst, key)
		r := key
		brightness, contrast := r.between(0.8, 1.2), r.between(0.8, 1.2)
		sat, hue := r.between(0.7, 1.3), r.between(-0.1, 0.1)
		colors := make([][3]float64, size*size)
		var mean float64
		for i := range colors {
			p := [3]float64{float64(pix[i]), float64(pix[size*size+i]), float64(pix[2*size*size+i])}
			p = turnHue(p, hue)
			luma := lumaR*p[0] + lumaG*p[1] + lumaB*p[2]
			for c := range 3 {
				p[c] = brightness * (luma + sat*(p[c]-luma))
			}
			mean += (lumaR*p[0] + lumaG*p[1] + lumaB*p[2]) / float64(len(colors))
			colors[i] = p
		}
		for i, p := range colors {
			for c := range 3 {
				want := ((mean+contrast*(p[c]-mean))/255 - 0.5) / 0.5
				if got := dst[c*size*size+i]; math.Abs(float64(got)-want) > 1e-4 {
					t.Fatalf("view %d pixel %d channel %d: %v, want %v", k, i, c, got, want)
				}
			}
		}
	}
}

// turnHue turns chroma in YIQ by the share of the circle.
func turnHue(p [3]float64, share float64) [3]float64 {
	y := lumaR*p[0] + lumaG*p[1] + lumaB*p[2]
	i := 0.5959*p[0] - 0.2746*p[1] - 0.3213*p[2]
	q := 0.2115*p[0] - 0.5227*p[1] + 0.3112*p[2]
	sin, cos := math.Sincos(2 * math.Pi * share)
	i, q = cos*i-sin*q, sin*i+cos*q
	back := inverse3([3][3]float64{{lumaR, lumaG, lumaB}, {0.5959, -0.2746, -0.3213}, {0.2115, -0.5227, 0.3112}})
	var out [3]float64
	for c := range 3 {
		out[c] = back[c][0]*y + back[c][1]*i + back[c][2]*q
	}
	return out
}

func TestGrayIsGray(t *testing.T) {
	const size = 8
	v := newViewer(ViewOptions{Gray: 1}, size, halfMean, halfStd)
	dst := make([]float32, 3*size*size)
	v.random(testPixels(size, 6), dst, newRNG(1, streamView, 0, 0))
	n := size * size
	for i := range n {
		if dst[i] != dst[n+i] || dst[i] != dst[2*n+i] {
			t.Fatalf("pixel %d: %v %v %v", i, dst[i], dst[n+i], dst[2*n+i])
		}
	}
}

func TestViewsStayInRangeAndDiffer(t *testing.T) {
	for _, o := range []ViewOptions{strong, {CropArea: 0.05, CropReflect: true, Flip: 0.5, Brightness: 1, Contrast: 1, Saturation: 1, Hue: 0.5}} {
		const size = 16
		pix := testPixels(size, 7)
		v := newViewer(o, size, halfMean, halfStd)
		a, b := make([]float32, 3*size*size), make([]float32, 3*size*size)
		for k := range uint64(200) {
			v.random(pix, a, newRNG(1, streamView, k, 0))
			v.random(pix, b, newRNG(1, streamView, k, 1))
			if slices.Equal(a, b) {
				t.Fatalf("the two views of row %d are equal", k)
			}
			for _, x := range a {
				if !(x >= -1.0001 && x <= 1.0001) {
					t.Fatalf("value %v outside the range of normalised pixels", x)
				}
			}
		}
	}
}

func TestCropAreasAreUniform(t *testing.T) {
	v := newViewer(ViewOptions{CropArea: 0.25}, 32, halfMean, halfStd)
	const draws = 20000
	var sum, least, most float64
	least = 2
	for k := range uint64(draws) {
		r := newRNG(8, streamView, k, 0)
		x, y, w, h := v.crop(&r)
		if x < 0 || y < 0 || x+w > 32+1e-9 || y+h > 32+1e-9 {
			t.Fatalf("window %v %v %v %v leaves the image", x, y, w, h)
		}
		area := w * h / 1024
		sum += area
		least, most = min(least, area), max(most, area)
	}
	// Draws that do not fit are drawn again, so large areas come a little less often than uniformly.
	if mean := sum / draws; mean < 0.54 || mean > 0.63 {
		t.Errorf("mean area %v", mean)
	}
	if least > 0.26 || most < 0.98 {
		t.Errorf("areas from %v to %v", least, most)
	}
}

func TestDropout(t *testing.T) {
	const n = 100001
	x := make([]float32, n)
	for i := range x {
		x[i] = 3
	}
	dropout(x, 0.4, newRNG(1, streamView, 0, 0))
	zeros := 0
	for _, v := range x {
		switch v {
		case 0:
			zeros++
		case 5:
		default:
			t.Fatalf("value %v, want 0 or 5", v)
		}
	}
	if share := float64(zeros) / n; math.Abs(share-0.4) > 0.01 {
		t.Errorf("share of zeros %v, want 0.4", share)
	}
}

func BenchmarkView(b *testing.B) {
	pix := testPixels(32, 1)
	dst := make([]float32, 3*32*32)
	v := newViewer(strong, 32, halfMean, halfStd)
	b.ReportAllocs()
	k := uint64(0)
	for b.Loop() {
		v.random(pix, dst, newRNG(1, streamView, k, 0))
		k++
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "images/s")
}

func BenchmarkDropout(b *testing.B) {
	x := make([]float32, 3*32*32)
	for b.Loop() {
		dropout(x, 0.4, newRNG(1, streamView, 0, 0))
	}
}
