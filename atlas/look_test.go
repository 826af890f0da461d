package atlas

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"imgsearch/dataset"
)

// TestLook writes pictures for people to look at into the folder that IMGSEARCH_LOOK names.
func TestLook(t *testing.T) {
	dir := os.Getenv("IMGSEARCH_LOOK")
	if dir == "" {
		t.Skip("IMGSEARCH_LOOK names no folder")
	}
	ds, err := dataset.Open(context.Background(), "sample", dataset.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer ds.Close()
	rng := rand.New(rand.NewPCG(1, 1))
	cell := func() SheetCell {
		i := rng.IntN(ds.Len())
		s, err := ds.Read(context.Background(), i)
		if err != nil {
			t.Fatal(err)
		}
		return SheetCell{Image: s.Image, Caption: string(ds.Entry(i).Label), Sub: fmt.Sprintf("%.3f", rng.Float64())}
	}
	rows := func(n, k int) []SheetRow {
		out := make([]SheetRow, n)
		for i := range out {
			out[i].Query = cell()
			out[i].Query.Sub = "sample:test/17"
			for range k {
				c := cell()
				c.Frame = FrameMismatch
				if rng.IntN(2) == 0 {
					c.Frame = FrameMatch
				}
				out[i].Cells = append(out[i].Cells, c)
			}
		}
		return out
	}
	save := func(name string, r []SheetRow, o SheetOptions) {
		img, err := Sheet(r, o)
		if err != nil {
			t.Fatal(name, err)
		}
		if err := WriteFile(filepath.Join(dir, name+".png"), func(w io.Writer) error { return WritePNG(w, img) }); err != nil {
			t.Fatal(err)
		}
	}
	titled := SheetOptions{Title: "Queries and their nearest neighbours", Subtitle: "photos.imgsearch · cosine distance below each picture"}
	save("8x10", rows(8, 10), titled)
	save("1x1", rows(1, 1), titled)
	save("1x50", rows(1, 50), titled)
	save("2x3-plain", rows(2, 3), SheetOptions{})
	small := titled
	small.Size = 32
	save("4x10-small", rows(4, 10), small)
	large := titled
	large.Size = 288
	save("2x4-large", rows(2, 4), large)
	odd := rows(3, 6)
	for i, s := range []string{
		"日本語のラベル", "Ελληνικά και кириллица", "שלום עולם", "العربية", "an extremely long label that goes on and on",
		"holiday/2019/IMG_20190803_114502.jpg", "e\u0301te\u0301 — naïve façade", "\u1f984🦄 emoji", "ไทย", "line\nbreak\x1b[31m", "WWWWWWWWWWWWWWWW",
		"photo-0001-final-edit-version-2.jpeg",
	} {
		odd[i/6].Cells[i%6].Caption = s
		odd[i/6].Cells[i%6].Sub = s
	}
	odd[2].Cells[0].Image = nil
	odd[2].Cells[1].Image = ramp(300, 200)
	odd[2].Cells[2].Image = ramp(20, 60)
	odd[2].Cells[3].Image = ramp(1, 1)
	odd[2].Cells[4].Image = ramp(70, 64)
	odd[2].Cells[5].Image = ramp(2000, 3)
	odd[1].Cells = odd[1].Cells[:2]
	save("odd", odd, titled)
	none := titled
	none.Fonts = []string{}
	save("odd-no-fonts", odd, none)
}

// ramp is a picture of two colour ramps.
func ramp(width, height int) *dataset.Image {
	img := dataset.NewImage(width, height)
	for y := range height {
		for x := range width {
			p := img.Pix[3*(y*width+x):]
			p[0], p[1], p[2] = uint8(255*x/width), uint8(255*y/height), 128
		}
	}
	return img
}
