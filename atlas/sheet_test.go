package atlas

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"image"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"imgsearch/dataset"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// example returns n queries with k neighbours, matches and mismatches by turns.
func example(n, k int) []SheetRow {
	rows := make([]SheetRow, n)
	for i := range rows {
		rows[i].Query = SheetCell{Image: ramp(32, 32), Caption: "query", Sub: fmt.Sprint("id ", i)}
		for j := range k {
			rows[i].Cells = append(rows[i].Cells, SheetCell{
				Image: ramp(32, 32), Caption: fmt.Sprint("label ", j), Sub: fmt.Sprintf("0.%03d", j), Frame: FrameMatch + Frame(j%2),
			})
		}
	}
	return rows
}

var plain = SheetOptions{Fonts: []string{}}

func TestSheetOfManySizes(t *testing.T) {
	for _, n := range []int{1, 3, 100} {
		for _, k := range []int{0, 1, 10, 50} {
			for _, size := range []int{0, 32, 200} {
				o := plain
				o.Title, o.Subtitle, o.Size = "A title", "and a line below", size
				rows := example(n, k)
				pages, err := Pages(rows, o)
				if err != nil {
					t.Fatal(err)
				}
				count := 0
				for p, page := range pages {
					count += len(page)
					if p == 1 {
						break // one page is enough to draw
					}
					img, err := Sheet(page, o)
					if err != nil {
						t.Fatalf("%d queries, k %d, size %d: %v", n, k, size, err)
					}
					if img.Rect.Dy() > 16_000 || img.Rect.Dx()*img.Rect.Dy() > 40_000_000 {
						t.Errorf("%d queries, k %d, size %d: %v", n, k, size, img.Rect)
					}
					if !clearMargin(img, 8) {
						t.Errorf("%d queries, k %d, size %d: something is drawn into the margin", n, k, size)
					}
				}
				if len(pages) < 2 && count != n {
					t.Errorf("%d queries, k %d, size %d: %d on the pages", n, k, size, count)
				}
			}
		}
	}
}

// clearMargin tells whether the outermost pixels are all white.
func clearMargin(img *image.RGBA, margin int) bool {
	inner := img.Rect.Inset(margin)
	for y := range img.Rect.Dy() {
		for x := range img.Rect.Dx() {
			if !image.Pt(x, y).In(inner) && img.RGBAAt(x, y) != paperColour {
				return false
			}
		}
	}
	return true
}

func TestSheetKeepsPixelsSharp(t *testing.T) {
	m := dataset.NewImage(32, 32)
	for i := range m.Pix {
		m.Pix[i] = uint8(i * 37)
	}
	img, err := Sheet([]SheetRow{{Query: SheetCell{Image: m}}}, plain)
	if err != nil {
		t.Fatal(err)
	}
	// The default square of 96 pixels begins behind the margin, the frame and as much white.
	left := 2*8 + 2*3
	for y := range 96 {
		for x := range 96 {
			p := m.Pix[3*(y/3*32+x/3):]
			got := img.RGBAAt(left+x, left+y)
			if got.R != p[0] || got.G != p[1] || got.B != p[2] {
				t.Fatalf("pixel (%d, %d) is %v, want %v", x, y, got, p[:3])
			}
		}
	}
}

func TestSheetFramesDifferInShape(t *testing.T) {
	img, err := Sheet([]SheetRow{{Query: SheetCell{}, Cells: []SheetCell{{Frame: FrameMatch}, {Frame: FrameMismatch}, {}}}}, plain)
	if err != nil {
		t.Fatal(err)
	}
	// The middle row of pixels crosses every frame; count how much of each frame's left side has its colour.
	count := map[string]int{}
	for y := range img.Rect.Dy() {
		for x := range img.Rect.Dx() {
			switch img.RGBAAt(x, y) {
			case matchColour:
				count["match"]++
			case mismatchColour:
				count["mismatch"]++
			}
		}
	}
	if count["match"] == 0 || count["mismatch"] == 0 || float64(count["mismatch"]) > .75*float64(count["match"]) {
		t.Errorf("%v: the dashed frame should cover clearly less than the solid one", count)
	}
}

func TestDashes(t *testing.T) {
	for thickness := 2; thickness <= 12; thickness++ {
		for length := 4 * thickness; length < 1200; length += 7 {
			edge := image.Rect(3, 4, 3+length, 4+thickness)
			all := dashes(edge, thickness)
			if all[0].Min != edge.Min || all[len(all)-1].Max != edge.Max {
				t.Fatalf("length %d, thickness %d: dashes from %v to %v in %v", length, thickness, all[0], all[len(all)-1], edge)
			}
			for i := range all {
				if all[i].Empty() || i > 0 && all[i].Min.X <= all[i-1].Max.X {
					t.Fatalf("length %d, thickness %d: %v", length, thickness, all)
				}
			}
		}
	}
}

func TestSheetErrors(t *testing.T) {
	rows := example(2, 2)
	for name, test := range map[string]struct {
		rows []SheetRow
		o    SheetOptions
		want error
	}{
		"no rows":          {nil, SheetOptions{}, ErrNothing},
		"tiny size":        {rows, SheetOptions{Size: 5}, ErrOption},
		"huge size":        {rows, SheetOptions{Size: 5000}, ErrOption},
		"columns":          {rows, SheetOptions{Columns: -1}, ErrOption},
		"many columns":     {rows, SheetOptions{Columns: 5000}, ErrOption},
		"negative pixels":  {rows, SheetOptions{MaxPixels: -1}, ErrOption},
		"negative height":  {rows, SheetOptions{MaxHeight: -1}, ErrOption},
		"too high":         {example(100, 50), SheetOptions{}, ErrSheetSize},
		"too many pixels":  {rows, SheetOptions{MaxPixels: 1000}, ErrSheetSize},
		"a row that is it": {example(1, 50), SheetOptions{Columns: 1, MaxHeight: 1000}, ErrSheetSize},
	} {
		test.o.Fonts = []string{}
		if _, err := Sheet(test.rows, test.o); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
	if _, err := Pages(example(1, 50), SheetOptions{Columns: 1, MaxHeight: 1000}); !errors.Is(err, ErrSheetSize) {
		t.Errorf("a row that no page holds: %v", err)
	}
}

func TestSaveSheets(t *testing.T) {
	dir := t.TempDir()
	o := plain
	o.MaxHeight = 500
	rows := example(5, 3)
	want := []string{"out-1.png", "out-2.png", "out-3.png"}
	paths, err := SaveSheets(context.Background(), filepath.Join(dir, "out.png"), rows, o)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range paths {
		names = append(names, filepath.Base(p))
		f, err := os.Open(p)
		if err != nil {
			t.Fatal(err)
		}
		img, err := png.Decode(f)
		f.Close()
		if err != nil || img.Bounds().Dy() > 500 {
			t.Errorf("%s: %v, %v", p, img.Bounds(), err)
		}
	}
	if !slices.Equal(names, want) {
		t.Errorf("wrote %v, want %v", names, want)
	}
	if planned, err := SheetPaths(filepath.Join(dir, "out.png"), rows, o); err != nil || !slices.Equal(planned, paths) {
		t.Errorf("planned %v, %v", planned, err)
	}
	one, err := SaveSheets(context.Background(), filepath.Join(dir, "one.png"), rows, plain)
	if err != nil || len(one) != 1 || filepath.Base(one[0]) != "one.png" {
		t.Errorf("%v, %v", one, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 4 {
		t.Errorf("%v, %v", entries, err)
	}
	if _, err := SaveSheets(context.Background(), filepath.Join(dir, "missing", "a.png"), rows, plain); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("into a missing folder: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if paths, err := SaveSheets(ctx, filepath.Join(dir, "b.png"), rows, o); !errors.Is(err, context.Canceled) || len(paths) > 0 {
		t.Errorf("cancelled: %v, %v", paths, err)
	}
}

func TestWriteFileLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.txt")
	if err := WriteFile(path, func(w io.Writer) error { _, err := io.WriteString(w, "first"); return err }); err != nil {
		t.Fatal(err)
	}
	failed := errors.New("no more")
	err := WriteFile(path, func(w io.Writer) error { _, _ = io.WriteString(w, "second"); return failed })
	if !errors.Is(err, failed) || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v", err)
	}
	entries, _ := os.ReadDir(dir)
	if data, err := os.ReadFile(path); err != nil || string(data) != "first" || len(entries) != 1 {
		t.Errorf("%q, %v, %v", data, err, entries)
	}
}

// TestSheetGolden holds a sheet without pictures and fallback fonts to its pixels: lettering, frames and places.
func TestSheetGolden(t *testing.T) {
	rows := []SheetRow{
		{Query: SheetCell{Image: ramp(32, 32), Caption: "Zürich", Sub: "photos/IMG_20190803_114502.jpg"}, Cells: []SheetCell{
			{Caption: "кошка", Sub: "0.125", Frame: FrameMatch}, {Caption: "日本 \U0001f984", Sub: "0.250", Frame: FrameMismatch}, {Caption: "Ελλάδα"},
		}},
		{Query: SheetCell{Caption: "a label that is far too long"}, Cells: []SheetCell{{Image: ramp(40, 20)}}},
	}
	img, err := Sheet(rows, SheetOptions{Title: "Golden sheet", Subtitle: "l2 · 2 queries", Fonts: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", "sheet.png")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := WriteFile(path, func(w io.Writer) error { return WritePNG(w, img) }); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if img.Rect != want.Bounds() {
		t.Fatalf("size %v, want %v", img.Rect, want.Bounds())
	}
	// Processors with fused multiply-add round the edges of letters and resampled pictures differently.
	different := 0
	for y := range img.Rect.Dy() {
		for x := range img.Rect.Dx() {
			r, g, b, _ := want.At(x, y).RGBA()
			got := img.RGBAAt(x, y)
			if far(got.R, r) || far(got.G, g) || far(got.B, b) {
				different++
			}
		}
	}
	if different > 0 {
		t.Errorf("%d pixels differ from %s (-update rewrites it)", different, path)
	}
}

func far(got uint8, want uint32) bool {
	d := int(got) - int(want>>8)
	return d > 3 || d < -3
}
