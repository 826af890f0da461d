package atlas

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"image"
	"image/color"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"imgsearch/dataset"
	"imgsearch/index"
)

// scattered draws n points with one of some labels each, around a place for each label.
func scattered(n, labels int) []MapPoint {
	rng := rand.New(rand.NewPCG(41, 1))
	points := make([]MapPoint, n)
	for i := range points {
		l := i % max(labels, 1)
		points[i] = MapPoint{ID: dataset.ID(3 * i), Source: fmt.Sprintf("photos/%d.png", i),
			X: float32(10*math.Cos(float64(l)) + rng.NormFloat64()), Y: float32(10*math.Sin(float64(l)) + rng.NormFloat64())}
		if labels > 0 {
			points[i].Label = dataset.Label(fmt.Sprintf("label %03d", l))
		}
	}
	return points
}

func blank(int) (*dataset.Image, error) { return dataset.NewImage(4, 3), nil }

func TestMapLabels(t *testing.T) {
	points := []MapPoint{{Label: "b"}, {Label: "a"}, {}, {Label: "b"}}
	labels, of := mapLabels(points)
	if len(labels) != 3 || labels[0].label != "a" || labels[1].count != 2 || labels[2].label != "" || labels[2].mark != otherMark || fmt.Sprint(of) != "[1 0 2 1]" {
		t.Errorf("%+v %v", labels, of)
	}
	if rows := legendRows(labels, 10); len(rows) != 3 || rows[2].text != "no label" {
		t.Errorf("%+v", rows)
	}
	if labels, _ = mapLabels(scattered(5, 0)); labels[0].mark == otherMark || legendRows(labels, 10) != nil {
		t.Errorf("without labels: %+v", labels)
	}
	labels, _ = mapLabels(scattered(1000, 1000))
	seen := map[mark]bool{}
	for _, l := range labels[:maxMarks] {
		seen[l.mark] = true
	}
	if len(seen) != maxMarks || labels[maxMarks].mark != otherMark {
		t.Errorf("%d marks differ", len(seen))
	}
	if rows := legendRows(labels, 50); len(rows) != maxMarks+1 || rows[maxMarks].text != "970 more labels" {
		t.Errorf("%d rows, %+v", len(rows), rows[len(rows)-1])
	}
	if rows := legendRows(labels, 5); len(rows) != 5 || rows[4].text != "996 more labels" {
		t.Errorf("%d rows, %+v", len(rows), rows[len(rows)-1])
	}
}

// seenBy is what a person without one kind of cone sees of a colour, linear (Viénot, Brettel & Mollon 1999).
func seenBy(c color.RGBA, kind string) [3]float64 {
	linear := func(v uint8) float64 { return math.Pow(float64(v)/255, 2.2) }
	r, g, b := linear(c.R), linear(c.G), linear(c.B)
	switch kind {
	case "protanopia":
		return [3]float64{.11238*r + .88762*g, .11238*r + .88762*g, .00401*r - .00401*g + b}
	case "deuteranopia":
		return [3]float64{.29275*r + .70725*g, .29275*r + .70725*g, -.02234*r + .02234*g + b}
	}
	return [3]float64{r, g, b}
}

// lab converts linear sRGB to CIE L*a*b*.
func lab(c [3]float64) [3]float64 {
	f := func(t float64) float64 {
		if t > 216.0/24389 {
			return math.Cbrt(t)
		}
		return (24389.0/27*t + 16) / 116
	}
	x := f((.4124*c[0] + .3576*c[1] + .1805*c[2]) / .9505)
	y := f(.2126*c[0] + .7152*c[1] + .0722*c[2])
	z := f((.0193*c[0] + .1192*c[1] + .9505*c[2]) / 1.089)
	return [3]float64{116*y - 16, 500 * (x - y), 200 * (y - z)}
}

func TestMarkColoursDiffer(t *testing.T) {
	for _, kind := range []string{"all cones", "protanopia", "deuteranopia"} {
		least := math.Inf(1)
		for i, a := range markColours {
			for _, b := range markColours[:i] {
				p, q := lab(seenBy(a, kind)), lab(seenBy(b, kind))
				least = min(least, math.Sqrt((p[0]-q[0])*(p[0]-q[0])+(p[1]-q[1])*(p[1]-q[1])+(p[2]-q[2])*(p[2]-q[2])))
			}
		}
		t.Logf("%s: the nearest two are %.1f apart", kind, least)
		if least < 15 {
			t.Errorf("%s: two colours are only %.1f apart", kind, least)
		}
	}
}

func TestDrawMap(t *testing.T) {
	if _, err := DrawMap(nil, PlotOptions{}); !errors.Is(err, ErrNothing) {
		t.Errorf("no points: %v", err)
	}
	if _, err := DrawMap(scattered(3, 1), PlotOptions{Size: 100}); !errors.Is(err, ErrOption) {
		t.Errorf("too small: %v", err)
	}
	for _, labels := range []int{0, 1, 10, 1000} {
		for _, n := range []int{1, 2000} {
			img, err := DrawMap(scattered(n, labels), PlotOptions{Title: "Fotos 写真 صور", Size: 300, Fonts: []string{}, Dark: labels == 1})
			if err != nil {
				t.Fatal(err)
			}
			if coloured(img, img.Rect) == 0 {
				t.Errorf("%d points of %d labels: nothing is drawn", n, labels)
			}
		}
	}
	equal := make([]MapPoint, 50) // all in one place
	if img, err := DrawMap(equal, PlotOptions{Size: 300}); err != nil || coloured(img, image.Rect(0, 0, 100, 306)) > 0 {
		t.Errorf("equal points: %v", err)
	}
}

// coloured counts the pixels that are not grey.
func coloured(img *image.RGBA, in image.Rectangle) (count int) {
	for y := in.Min.Y; y < in.Max.Y; y++ {
		for x := in.Min.X; x < in.Max.X; x++ {
			if c := img.RGBAAt(x, y); max(c.R, c.G, c.B)-min(c.R, c.G, c.B) > 30 {
				count++
			}
		}
	}
	return count
}

func TestGridCells(t *testing.T) {
	for _, c := range []struct{ n, across, want int }{{1, 1, 1}, {1, 10, 1}, {60, 10, 60}, {200, 20, 200}} {
		points := scattered(c.n, 3)
		seen := map[int]bool{}
		for _, i := range gridCells(unitSquare(points), c.across) {
			if i >= 0 && seen[i] {
				t.Errorf("%d points: %d has two squares", c.n, i)
			}
			seen[i] = seen[i] || i >= 0
		}
		delete(seen, -1)
		if len(seen) != c.want {
			t.Errorf("%d points in %d squares: %d are shown", c.n, c.across*c.across, len(seen))
		}
	}
	// Too many: one for each square that has any.
	shown := 0
	for _, i := range gridCells(unitSquare(scattered(2000, 3)), 10) {
		if i >= 0 {
			shown++
		}
	}
	if shown < 10 || shown > 100 {
		t.Errorf("%d are shown", shown)
	}
	// All in one place: around the middle, without overlap.
	for cell, i := range gridCells(unitSquare(make([]MapPoint, 9)), 9) {
		if inside := cell%9 >= 3 && cell%9 <= 5 && cell/9 >= 3 && cell/9 <= 5; inside != (i >= 0) {
			t.Errorf("square %d has %d", cell, i)
		}
	}
}

func TestDrawThumbnailMap(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	for _, n := range []int{1, 40, 3000} {
		img, shown, err := DrawThumbnailMap(ctx, scattered(n, 4), blank, PlotOptions{Size: 600})
		if err != nil || shown == 0 || n < 100 && shown != n || img.Rect.Dx() < 600 {
			t.Errorf("%d points: %d shown, %v", n, shown, err)
		}
	}
	wrong := errors.New("wrong")
	if _, _, err := DrawThumbnailMap(ctx, scattered(3, 1), func(int) (*dataset.Image, error) { return nil, wrong }, PlotOptions{}); !errors.Is(err, wrong) {
		t.Errorf("a thumbnail that cannot be read: %v", err)
	}
	if _, shown, err := DrawThumbnailMap(ctx, scattered(3, 0), func(int) (*dataset.Image, error) { return nil, nil }, PlotOptions{Size: 300}); err != nil || shown != 3 {
		t.Errorf("without thumbnails: %v", err)
	}
	cancel()
	if _, _, err := DrawThumbnailMap(ctx, scattered(3, 1), blank, PlotOptions{Size: 300}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestWriteMapSVG(t *testing.T) {
	points := scattered(500, 25)
	points[0].Label = "<b>&\"名前"
	var b bytes.Buffer
	if err := WriteMapSVG(&b, points, PlotOptions{Title: "A & B <i>", Subtitle: "500 images", Size: 500, Fonts: []string{}}); err != nil {
		t.Fatal(err)
	}
	texts := 0
	for d := xml.NewDecoder(&b); ; {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "text" {
			texts++
		}
	}
	if want := 2 + 2*26; texts != want {
		t.Errorf("%d texts, want %d", texts, want)
	}
	if err := WriteMapSVG(&b, nil, PlotOptions{}); !errors.Is(err, ErrNothing) {
		t.Errorf("no points: %v", err)
	}
}

func TestWriteMapPage(t *testing.T) {
	ctx := context.Background()
	points := scattered(300, 3)
	points[7].Source = "</script><script>alert(1)</script>"
	near := make([][]index.Neighbor, len(points))
	for i := range near[:200] {
		near[i] = []index.Neighbor{{ID: points[(i+1)%300].ID, Distance: .25}, {ID: 2, Distance: 1}} // 2 is no point
	}
	var b bytes.Buffer
	if err := WriteMapPage(ctx, &b, MapPage{Title: "<x>", Points: points, Neighbors: near, Thumbnail: blank}); err != nil {
		t.Fatal(err)
	}
	if s := b.String(); strings.Contains(s, "<script>alert") || strings.Contains(s, "<title><x>") || strings.Contains(s, "http://") && strings.Count(s, "http://") != strings.Count(s, "http://www.w3.org/2000/svg") || strings.Contains(s, "https://") {
		t.Error("the page has foreign parts")
	}
	if err := WriteMapPage(ctx, &b, MapPage{}); !errors.Is(err, ErrNothing) {
		t.Errorf("no points: %v", err)
	}
	if err := WriteMapPage(ctx, &b, MapPage{Points: points, Neighbors: near[:3]}); !errors.Is(err, ErrNeighbors) {
		t.Errorf("too few lists: %v", err)
	}
	// Pictures are made smaller until they fit.
	rng := rand.New(rand.NewPCG(42, 1))
	noisy := func(int) (*dataset.Image, error) {
		m := dataset.NewImage(64, 64)
		for i := range m.Pix {
			m.Pix[i] = uint8(rng.IntN(256))
		}
		return m, nil
	}
	for _, most := range []int{400_000, 100_000} {
		b.Reset()
		if err := WriteMapPage(ctx, &b, MapPage{Points: points, Thumbnail: noisy, MaxPictureBytes: most}); err != nil {
			t.Fatal(err)
		}
		if b.Len() > most+80_000 {
			t.Errorf("%d bytes for pictures of at most %d", b.Len(), most)
		}
	}
}
