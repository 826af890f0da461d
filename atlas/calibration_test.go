package atlas

import (
	"bytes"
	"context"
	"image/jpeg"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"imgsearch/dataset"
)

// samplePictures returns n images of the built-in sample.
func samplePictures(t testing.TB, n int) []*dataset.Image {
	t.Helper()
	ds, err := dataset.Open(context.Background(), "sample:test", dataset.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer ds.Close()
	images := make([]*dataset.Image, n)
	for i := range images {
		s, err := ds.Read(context.Background(), i*ds.Len()/n)
		if err != nil {
			t.Fatal(err)
		}
		images[i] = s.Image
	}
	return images
}

// cropped returns the part of a picture from (x, y) on, of the given share of both sides.
func cropped(m *dataset.Image, x, y, share float64) *dataset.Image {
	out := dataset.NewImage(m.Width, m.Height)
	sample := func(fx, fy float64, c int) float64 {
		fx, fy = min(max(fx, 0), float64(m.Width-1)), min(max(fy, 0), float64(m.Height-1))
		x0, y0 := int(fx), int(fy)
		x1, y1 := min(x0+1, m.Width-1), min(y0+1, m.Height-1)
		at := func(x, y int) float64 { return float64(m.Pix[3*(y*m.Width+x)+c]) }
		u, v := fx-float64(x0), fy-float64(y0)
		return (at(x0, y0)*(1-u)+at(x1, y0)*u)*(1-v) + (at(x0, y1)*(1-u)+at(x1, y1)*u)*v
	}
	for j := range m.Height {
		for i := range m.Width {
			fx := (x+share*(float64(i)+.5)/float64(m.Width))*float64(m.Width) - .5
			fy := (y+share*(float64(j)+.5)/float64(m.Height))*float64(m.Height) - .5
			for c := range 3 {
				out.Pix[3*(j*m.Width+i)+c] = uint8(math.Round(sample(fx, fy, c)))
			}
		}
	}
	return out
}

func toned(m *dataset.Image, gain, offset float64) *dataset.Image {
	out := dataset.NewImage(m.Width, m.Height)
	for i, v := range m.Pix {
		out.Pix[i] = uint8(min(max(float64(v)*gain+offset, 0), 255))
	}
	return out
}

// changes are what happens to pictures on their way; each keeps them near-duplicates.
var changes = map[string]func(t *testing.T, m *dataset.Image, rng *rand.Rand) *dataset.Image{
	"shifted by 2 pixels": func(_ *testing.T, m *dataset.Image, _ *rand.Rand) *dataset.Image {
		return cropped(m, 2./32, -2./32, 1)
	},
	"cropped to 90 %": func(_ *testing.T, m *dataset.Image, rng *rand.Rand) *dataset.Image {
		return cropped(m, .1*rng.Float64(), .1*rng.Float64(), .9)
	},
	"compressed": func(t *testing.T, m *dataset.Image, _ *rand.Rand) *dataset.Image {
		var b bytes.Buffer
		if err := jpeg.Encode(&b, m.RGBA(), &jpeg.Options{Quality: 50}); err != nil {
			t.Fatal(err)
		}
		out, err := jpeg.Decode(&b)
		if err != nil {
			t.Fatal(err)
		}
		return dataset.FromImage(out)
	},
	"brighter": func(_ *testing.T, m *dataset.Image, _ *rand.Rand) *dataset.Image { return toned(m, 1.2, 10) },
	"less contrast": func(_ *testing.T, m *dataset.Image, _ *rand.Rand) *dataset.Image {
		return toned(m, .6, 40)
	},
	"gray": func(_ *testing.T, m *dataset.Image, _ *rand.Rand) *dataset.Image {
		out := dataset.NewImage(m.Width, m.Height)
		for i := 0; i < len(m.Pix); i += 3 {
			g := uint8((299*int(m.Pix[i]) + 587*int(m.Pix[i+1]) + 114*int(m.Pix[i+2])) / 1000)
			out.Pix[i], out.Pix[i+1], out.Pix[i+2] = g, g, g
		}
		return out
	},
	"half the size": func(_ *testing.T, m *dataset.Image, _ *rand.Rand) *dataset.Image { return m.Fit(20) },
	"mirrored": func(_ *testing.T, m *dataset.Image, _ *rand.Rand) *dataset.Image {
		out := dataset.NewImage(m.Width, m.Height)
		for y := range m.Height {
			for x := range m.Width {
				copy(out.Pix[3*(y*m.Width+x):][:3], m.Pix[3*(y*m.Width+m.Width-1-x):])
			}
		}
		return out
	},
}

func TestAlignFindsChangedCopies(t *testing.T) {
	images := samplePictures(t, 40)
	for name, change := range changes {
		rng := rand.New(rand.NewPCG(1, 1))
		var differences []float64
		for _, m := range images {
			a := Align(NewPixels(m), NewPixels(change(t, m, rng)))
			differences = append(differences, a.Difference)
			if a.Difference <= NearDuplicate && a.Mirrored != (name == "mirrored") && a.Difference > 0.02 {
				t.Errorf("%s: mirrored %v at %.3f", name, a.Mirrored, a.Difference)
			}
		}
		slices.Sort(differences)
		if worst := differences[len(differences)-2]; worst > NearDuplicate {
			t.Errorf("%s: differences up to %.3f", name, worst)
		}
	}
}

// TestCalibration shows how the differences of changed copies and of other pictures are spread; docs/duplicates.md has
// what it prints with -v.
func TestCalibration(t *testing.T) {
	if !testing.Verbose() || testing.Short() {
		t.Skip("only prints: run it with -v")
	}
	images := samplePictures(t, 200)
	pixels := make([]*Pixels, len(images))
	for i, m := range images {
		pixels[i] = NewPixels(m)
	}
	show := func(name string, differences []float64) {
		slices.Sort(differences)
		at := func(share float64) float64 { return differences[int(share*float64(len(differences)-1))] }
		t.Logf("%-20s %.3f %.3f %.3f %.3f %.3f", name, at(0), at(.01), at(.5), at(.99), at(1))
	}
	t.Logf("%-20s least 1 %%   half  99 %%  most", "")
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		rng := rand.New(rand.NewPCG(1, 1))
		var differences []float64
		for i, m := range images {
			differences = append(differences, Align(pixels[i], NewPixels(changes[name](t, m, rng))).Difference)
		}
		show(name, differences)
	}
	var others []float64
	for i := range pixels {
		for j := range min(i, 10) {
			others = append(others, Align(pixels[i], pixels[i-1-j]).Difference)
		}
	}
	show("other pictures", others)
}

func TestAlignTellsOthersApart(t *testing.T) {
	images := samplePictures(t, 40)
	pixels := make([]*Pixels, len(images))
	for i, m := range images {
		pixels[i] = NewPixels(m)
	}
	for i := range pixels {
		for j := range i {
			if d := Align(pixels[i], pixels[j]).Difference; d < 2*NearDuplicate {
				t.Errorf("images %d and %d differ by %.3f", i, j, d)
			}
		}
	}
}

func TestAlignMeasuresThePose(t *testing.T) {
	m := samplePictures(t, 7)[3]
	for name, test := range map[string]struct {
		x, y, share            float64
		shiftX, shiftY, scaled float64
	}{
		"as it is":        {0, 0, 1, 0, 0, 1},
		"to the right":    {3. / 32, 0, 1, 3. / 32, 0, 1},
		"down":            {0, -2. / 32, 1, 0, -2. / 32, 1},
		"an upper corner": {0, 0, .85, -.075, -.075, 1 / .85},
	} {
		a := Align(NewPixels(m), NewPixels(cropped(m, test.x, test.y, test.share)))
		near := func(got, want, tolerance float64) bool { return math.Abs(got-want) <= tolerance }
		if a.Mirrored || !near(a.ShiftX, test.shiftX, .02) || !near(a.ShiftY, test.shiftY, .02) ||
			!near(a.ScaleX, test.scaled, .05) || !near(a.ScaleY, test.scaled, .05) || a.Difference > .05 {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

func TestAlignOfFlatPictures(t *testing.T) {
	flatPicture := func(r, g, b uint8) *dataset.Image {
		m := dataset.NewImage(40, 30)
		for i := 0; i < len(m.Pix); i += 3 {
			m.Pix[i], m.Pix[i+1], m.Pix[i+2] = r, g, b
		}
		return m
	}
	red, darker, blue := NewPixels(flatPicture(200, 20, 20)), NewPixels(flatPicture(198, 20, 20)), NewPixels(flatPicture(20, 20, 200))
	if d := Align(red, red).Difference; d != 0 {
		t.Errorf("a flat picture and itself differ by %v", d)
	}
	if d := Align(red, darker).Difference; d > NearDuplicate {
		t.Errorf("two flat pictures of nearly one colour differ by %v", d)
	}
	if d := Align(red, blue).Difference; d < .9 {
		t.Errorf("a red and a blue picture differ by %v", d)
	}
	if d := Align(red, NewPixels(samplePictures(t, 1)[0])).Difference; d < .5 {
		t.Errorf("a flat picture and a photograph differ by %v", d)
	}
	for _, size := range [][2]int{{1, 1}, {1, 300}, {256, 3}} {
		m := dataset.NewImage(size[0], size[1])
		if d := Align(NewPixels(m), NewPixels(m)).Difference; d != 0 {
			t.Errorf("a picture of %v pixels and itself differ by %v", size, d)
		}
	}
}

func BenchmarkAlign(b *testing.B) {
	images := samplePictures(b, 100)
	pixels := make([]*Pixels, len(images))
	for i, m := range images {
		pixels[i] = NewPixels(m)
	}
	b.Run("others", func(b *testing.B) {
		for i := range b.N {
			Align(pixels[i%100], pixels[(i+1)%100])
		}
	})
	b.Run("copies", func(b *testing.B) {
		for i := range b.N {
			Align(pixels[i%100], pixels[i%100])
		}
	})
	b.Run("prepare", func(b *testing.B) {
		for i := range b.N {
			NewPixels(images[i%100])
		}
	})
}
