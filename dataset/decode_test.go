package dataset

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
)

// quarters are the colours of the fixtures in testdata/images, upright: top left, top right, bottom left, bottom right.
var quarters = [4][3]int{{0xe0, 0x20, 0x20}, {0x20, 0xc0, 0x20}, {0x20, 0x40, 0xe0}, {0xff, 0xff, 0xff}}

// checkQuarters compares the middle of each quarter with the expected colours.
func checkQuarters(t *testing.T, m *Image, want [4][3]int, tolerance int) {
	t.Helper()
	if m.Width != 24 || m.Height != 16 {
		t.Fatalf("%dx%d pixels, want 24x16", m.Width, m.Height)
	}
	for q, at := range [4][2]int{{6, 4}, {18, 4}, {6, 12}, {18, 12}} {
		for c := range 3 {
			got := int(m.Pix[3*(at[1]*m.Width+at[0])+c])
			if got < want[q][c]-tolerance || got > want[q][c]+tolerance {
				t.Errorf("quarter %d, channel %d: %d, want %d +- %d", q, c, got, want[q][c], tolerance)
			}
		}
	}
}

func TestDecodeFileFixtures(t *testing.T) {
	white := [3]int{0xff, 0xff, 0xff}
	gray := [4][3]int{{73, 73, 73}, {146, 146, 146}, {69, 69, 69}, white} // by Rec. 709
	for _, test := range []struct {
		file      string
		want      [4][3]int
		tolerance int
	}{
		{"orientation-1.jpg", quarters, 6},
		{"orientation-2.jpg", quarters, 6},
		{"orientation-3.jpg", quarters, 6},
		{"orientation-4.jpg", quarters, 6},
		{"orientation-5.jpg", quarters, 6},
		{"orientation-6.jpg", quarters, 6},
		{"orientation-7.jpg", quarters, 6},
		{"orientation-8.jpg", quarters, 6},
		{"orientation-6.png", quarters, 0},
		{"orientation-6.tif", quarters, 0},
		{"orientation-6.webp", quarters, 0},
		{"cmyk.jpg", quarters, 8},
		{"progressive.jpg", quarters, 8},
		{"gray.jpg", gray, 4},
		{"16-bit.png", quarters, 0},
		{"16-bit.tif", quarters, 0},
		{"interlaced-palette.png", quarters, 0},
		{"palette.bmp", quarters, 0},
		{"24-bit.bmp", quarters, 0},
		{"lossy.webp", quarters, 4},
		{"lossless.webp", quarters, 0},
		{"alpha.png", quarters, 0},
		{"alpha.webp", quarters, 4},
		{"animated.gif", [4][3]int{quarters[0], white, quarters[2], white}, 0},
		{"animated.webp", [4][3]int{white, quarters[1], white, white}, 0},
	} {
		t.Run(test.file, func(t *testing.T) {
			path := filepath.Join("testdata", "images", test.file)
			s, err := DecodeFile(t.Context(), path, Options{})
			if err != nil {
				t.Fatal(err)
			}
			checkQuarters(t, s.Image, test.want, test.tolerance)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if s.Hash != sha256.Sum256(data) {
				t.Error("the hash is not that of the file's bytes")
			}
			again, err := DecodeBytes(data, Options{})
			if err != nil || !again.Image.Equal(s.Image) || again.Hash != s.Hash {
				t.Errorf("DecodeBytes differs from DecodeFile: %v", err)
			}
		})
	}
}

// TestDecodeTruncated cuts every fixture at every length: there is an image or an error, nothing else.
func TestDecodeTruncated(t *testing.T) {
	fixtures, err := filepath.Glob(filepath.Join("testdata", "images", "*.*"))
	if err != nil || len(fixtures) < 20 {
		t.Fatal(len(fixtures), err)
	}
	for _, path := range fixtures {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		failed := 0
		for n := range data {
			_, err := DecodeBytes(data[:n], Options{})
			if err == nil {
				continue // what is missing were not pixels
			}
			failed++
			if !errors.Is(err, ErrFormat) && !errors.Is(err, ErrDamaged) {
				t.Errorf("%s cut at %d: %v", path, n, err)
			}
		}
		if failed < len(data)/10 {
			t.Errorf("%s: only %d of %d cuts were noticed", path, failed, len(data))
		}
	}
}

// pngHeader is a PNG file of the size given that ends behind its header.
func pngHeader(width, height uint32) []byte {
	chunk := []byte("IHDR")
	chunk = binary.BigEndian.AppendUint32(chunk, width)
	chunk = binary.BigEndian.AppendUint32(chunk, height)
	chunk = append(chunk, 8, 2, 0, 0, 0)
	out := []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0d")
	out = append(out, chunk...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(chunk))
}

// headerOnly holds a header that claims 20,000x20,000 pixels for each format (WebP cannot: 16,383 is its most).
func headerOnly() map[string][]byte {
	vp8x := []byte("RIFF\x5a\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x10\x00\x00\x00\x1f\x4e\x00\x1f\x4e\x00")
	animated := bytes.Clone(vp8x)
	animated[20] |= webpAnimated
	bitmap := []byte("BM\x00\x00\x00\x00\x00\x00\x00\x00\x36\x00\x00\x00\x28\x00\x00\x00")
	bitmap = binary.LittleEndian.AppendUint32(bitmap, 20_000)
	bitmap = binary.LittleEndian.AppendUint32(bitmap, 20_000)
	bitmap = append(bitmap, 1, 0, 24, 0)
	bitmap = append(bitmap, make([]byte, 24)...)
	ifd := func(tag, value uint16) []byte {
		return []byte{byte(tag), byte(tag >> 8), 3, 0, 1, 0, 0, 0, byte(value), byte(value >> 8), 0, 0}
	}
	tif := []byte("II*\x00\x08\x00\x00\x00\x06\x00")
	for _, field := range [][2]uint16{{256, 20_000}, {257, 20_000}, {258, 8}, {259, 1}, {262, 1}, {277, 1}} {
		tif = append(tif, ifd(field[0], field[1])...)
	}
	tif = append(tif, 0, 0, 0, 0)
	const jfif = "\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
	const frame = "\x00\x11\x08\x4e\x20\x4e\x20\x03\x01\x11\x00\x02\x11\x01\x03\x11\x01"
	return map[string][]byte{
		"big.png":       pngHeader(20_000, 20_000),
		"big.jpg":       []byte("\xff\xd8" + jfif + "\xff\xc0" + frame),
		"big-prog.jpg":  []byte("\xff\xd8" + "\xff\xc2" + frame + "\xff\xda\x00\x02"),
		"big.gif":       []byte("GIF89a\x20\x4e\x20\x4e\x00\x00\x00"),
		"big.webp":      vp8x,
		"animated.webp": animated,
		"big.bmp":       bitmap,
		"big.tif":       tif,
	}
}

func TestDecodeHugeHeader(t *testing.T) {
	for name, data := range headerOnly() {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), name)
			writeFile(t, path, data)
			_, err := DecodeFile(t.Context(), path, Options{})
			if !errors.Is(err, ErrTooLarge) {
				t.Fatalf("error %v, want ErrTooLarge", err)
			}
			if !strings.Contains(err.Error(), "20000x20000") || !strings.Contains(err.Error(), path) {
				t.Errorf("the error does not tell file and size: %v", err)
			}
			if _, err := DecodeBytes(data, Options{}); !errors.Is(err, ErrTooLarge) {
				t.Errorf("from bytes: %v, want ErrTooLarge", err)
			}
		})
	}
}

// TestDecodeHugeHeaderAllocatesNothing measures bytes: a refused picture must not cost its pixels.
func TestDecodeHugeHeaderAllocatesNothing(t *testing.T) {
	data := pngHeader(60_000, 60_000)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := DecodeBytes(data, Options{}); !errors.Is(err, ErrTooLarge) {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20 {
		t.Errorf("%d bytes allocated", got)
	}
}

func TestDecodeBadFiles(t *testing.T) {
	zeroSize := []byte("GIF89a\x00\x00\x00\x00\x00\x00\x00")
	for _, test := range []struct {
		name string
		data []byte
		want error
		says string
	}{
		{"empty.jpg", nil, ErrFormat, "empty"},
		{"one byte.jpg", []byte{0xff}, ErrFormat, ""},
		{"text.png", []byte("this is no picture at all"), ErrFormat, "none of JPEG"},
		{"photo.jpg", []byte("\x00\x00\x00\x18ftypheic\x00\x00\x00\x00"), ErrFormat, "HEIC"},
		{"photo.avif", []byte("\x00\x00\x00\x18ftypavif\x00\x00\x00\x00"), ErrFormat, "AVIF"},
		{"header.png", pngHeader(10, 10), ErrDamaged, "cut short"},
		{"zero.png", pngHeader(0, 10), ErrDamaged, ""},
		{"zero.gif", zeroSize, ErrDamaged, ""},
		{"negative.png", pngHeader(1<<31, 1<<31), ErrDamaged, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), test.name)
			writeFile(t, path, test.data)
			_, err := DecodeFile(t.Context(), path, Options{})
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %v, want %v with %q", err, test.want, test.says)
			}
		})
	}
	t.Run("missing", func(t *testing.T) {
		if _, err := DecodeFile(t.Context(), filepath.Join(t.TempDir(), "x.png"), Options{}); !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
	})
	t.Run("folder", func(t *testing.T) {
		if _, err := DecodeFile(t.Context(), t.TempDir(), Options{}); !errors.Is(err, ErrFormat) {
			t.Error(err)
		}
	})
	t.Run("no permission", func(t *testing.T) {
		if os.Geteuid() <= 0 {
			t.Skip("everything may be read by this user")
		}
		path := filepath.Join(t.TempDir(), "x.png")
		writeFile(t, path, pngHeader(10, 10))
		must(os.Chmod(path, 0))
		if _, err := DecodeFile(t.Context(), path, Options{}); !errors.Is(err, os.ErrPermission) {
			t.Error(err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := DecodeFile(ctx, filepath.Join("testdata", "images", "cmyk.jpg"), Options{}); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func TestDecodeLimits(t *testing.T) {
	picture := encodePNG(image.NewGray(image.Rect(0, 0, 30, 20)))
	for _, test := range []struct {
		name string
		opts Options
		want error
	}{
		{"fits", Options{MaxPixels: 600, MaxBytes: int64(len(picture))}, nil},
		{"a pixel too many", Options{MaxPixels: 599}, ErrTooLarge},
		{"a byte too many", Options{MaxBytes: int64(len(picture)) - 1}, ErrTooLarge},
	} {
		path := filepath.Join(t.TempDir(), "x.png")
		writeFile(t, path, picture)
		if _, err := DecodeBytes(picture, test.opts); !errors.Is(err, test.want) {
			t.Errorf("%s: bytes: %v, want %v", test.name, err, test.want)
		}
		if _, err := DecodeFile(t.Context(), path, test.opts); !errors.Is(err, test.want) {
			t.Errorf("%s: file: %v, want %v", test.name, err, test.want)
		}
	}
	for _, opts := range []Options{{MaxPixels: -1}, {MaxBytes: -1}, {ShortSide: -1}} {
		if _, err := DecodeBytes(picture, opts); err == nil {
			t.Errorf("%+v was taken", opts)
		}
		if _, err := Open(t.Context(), "sample", opts); err == nil {
			t.Errorf("Open took %+v", opts)
		}
	}
}

func TestDecodeReduces(t *testing.T) {
	for _, test := range []struct{ width, height, wantWidth, wantHeight int }{
		{1, 1, 1, 1},
		{256, 256, 256, 256},
		{100, 300, 100, 300},
		{257, 257, 256, 256},
		{600, 300, 512, 256},
		{300, 600, 256, 512},
		{1100, 1400, 256, 326},
		{5000, 2, 2048, 2},
		{3, 4001, 3, 2048},
		{6000, 512, 2048, 256},
	} {
		src := image.NewGray(image.Rect(0, 0, test.width, test.height))
		for i := range src.Pix {
			src.Pix[i] = 77
		}
		s, err := DecodeBytes(encodePNG(src), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if s.Image.Width != test.wantWidth || s.Image.Height != test.wantHeight {
			t.Errorf("%dx%d became %dx%d, want %dx%d", test.width, test.height, s.Image.Width, s.Image.Height,
				test.wantWidth, test.wantHeight)
		}
		for i, v := range s.Image.Pix {
			if v != 77 {
				t.Errorf("%dx%d: value %d is %d, the picture was even", test.width, test.height, i, v)
				break
			}
		}
	}
	s, err := DecodeBytes(encodePNG(image.NewGray(image.Rect(0, 0, 100, 50))), Options{ShortSide: 10})
	if err != nil || s.Image.Width != 20 || s.Image.Height != 10 {
		t.Errorf("ShortSide 10: %v, %v", s.Image, err)
	}
}

func TestOrientationApply(t *testing.T) {
	m := &Image{Width: 3, Height: 2, Pix: make([]uint8, 18)}
	for i := range 6 {
		m.Pix[3*i] = uint8(i)
	}
	for o, want := range map[orientation]string{
		0: "012/345", 1: "012/345", 2: "210/543", 3: "543/210", 4: "345/012",
		5: "03/14/25", 6: "30/41/52", 7: "52/41/30", 8: "25/14/03", 9: "012/345",
	} {
		got := o.apply(m)
		var rows []string
		for y := range got.Height {
			row := ""
			for x := range got.Width {
				row += string(rune('0' + got.Pix[3*(y*got.Width+x)]))
			}
			rows = append(rows, row)
		}
		if text := strings.Join(rows, "/"); text != want {
			t.Errorf("orientation %d gives %s, want %s", o, text, want)
		}
	}
}

// TestDecodeBadMetadata: damaged EXIF data is no reason to refuse a picture.
func TestDecodeBadMetadata(t *testing.T) {
	good, err := os.ReadFile(filepath.Join("testdata", "images", "orientation-6.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	start := bytes.Index(good, []byte("Exif\x00\x00")) + 6
	for i := start; i < start+60; i++ {
		data := bytes.Clone(good)
		for _, v := range []byte{0, 0xff, 0x80} {
			data[i] = v
			if _, err := DecodeBytes(data, Options{}); err != nil {
				t.Fatalf("byte %d of the metadata set to %#x: %v", i, v, err)
			}
		}
	}
}

// TestDecodeAgreesAcrossFormats decodes one picture in each lossless format.
func TestDecodeAgreesAcrossFormats(t *testing.T) {
	src := image.NewNRGBA(image.Rect(0, 0, 40, 30))
	for y := range 30 {
		for x := range 40 {
			src.SetNRGBA(x, y, color.NRGBA{uint8(6 * x), uint8(8 * y), uint8(3 * (x + y)), 0xff})
		}
	}
	want := FromImage(src)
	var bitmap, tif bytes.Buffer
	must(bmp.Encode(&bitmap, src))
	must(tiff.Encode(&tif, src, &tiff.Options{Compression: tiff.Deflate, Predictor: true}))
	for name, data := range map[string][]byte{"PNG": encodePNG(src), "BMP": bitmap.Bytes(), "TIFF": tif.Bytes()} {
		s, err := DecodeBytes(data, Options{})
		if err != nil || !s.Image.Equal(want) {
			t.Errorf("%s differs: %v", name, err)
		}
	}
}

func encodePNG(m image.Image) []byte {
	var out bytes.Buffer
	must(png.Encode(&out, m))
	return out.Bytes()
}
