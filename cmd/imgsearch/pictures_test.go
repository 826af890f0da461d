package main

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
)

// drawn is a picture of smooth blobs whose colour tends to that of its kind.
func drawn(seed uint64, kind color.RGBA, width, height int) *image.RGBA {
	rng := rand.New(rand.NewPCG(seed, 1))
	type blob struct{ x, y, r, strength float64 }
	blobs := make([]blob, 6)
	for i := range blobs {
		blobs[i] = blob{rng.Float64(), rng.Float64(), 0.05 + 0.3*rng.Float64(), rng.Float64()*2 - 1}
	}
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			light := 0.5
			for _, b := range blobs {
				dx, dy := float64(x)/float64(width)-b.x, float64(y)/float64(height)-b.y
				light += b.strength * math.Exp(-(dx*dx+dy*dy)/(b.r*b.r))
			}
			light = min(max(light, 0), 1)
			img.SetRGBA(x, y, color.RGBA{uint8(light * float64(kind.R)), uint8(light * float64(kind.G)), uint8(light * float64(kind.B)), 255})
		}
	}
	return img
}

// photosCommand is "photos DIR": twelve pictures of two labels, red and blue, in four formats.
func photosCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: photos DIR")
	}
	ts.Check(makePhotos(ts.MkAbs(args[0]), 6))
}

// makePhotos makes n pictures of each of two labels.
func makePhotos(dir string, n int) error {
	endings := []string{".png", ".jpg", ".bmp", ".tif"}
	for k, label := range []string{"blue", "red"} {
		if err := os.MkdirAll(filepath.Join(dir, label), 0o777); err != nil {
			return err
		}
		kind := []color.RGBA{{60, 90, 255, 255}, {255, 70, 40, 255}}[k]
		for i := range n {
			name := filepath.Join(dir, label, strconv.Itoa(i)+endings[i%len(endings)])
			if err := writePicture(name, drawn(uint64(100*k+i), kind, 48+8*i%32, 40)); err != nil {
				return err
			}
		}
	}
	return nil
}

// writePicture encodes by the ending of the name.
func writePicture(name string, img image.Image) error {
	var b bytes.Buffer
	var err error
	switch filepath.Ext(name) {
	case ".jpg":
		err = jpeg.Encode(&b, img, nil)
	case ".bmp":
		err = bmp.Encode(&b, img)
	case ".tif":
		err = tiff.Encode(&b, img, nil)
	case ".gif":
		err = gif.Encode(&b, img, nil)
	default:
		err = png.Encode(&b, img)
	}
	if err != nil {
		return err
	}
	return os.WriteFile(name, b.Bytes(), 0o666)
}

// pictureCommand is "picture KIND FILE": one picture, or what pretends to be one.
func pictureCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: picture KIND FILE")
	}
	path := ts.MkAbs(args[1])
	red := color.RGBA{255, 70, 40, 255}
	switch args[0] {
	case "good":
		ts.Check(writePicture(path, drawn(7, red, 50, 40)))
	case "other":
		ts.Check(writePicture(path, drawn(8, color.RGBA{70, 255, 40, 255}, 40, 50)))
	case "1x1":
		ts.Check(writePicture(path, drawn(9, red, 1, 1)))
	case "huge":
		ts.Check(os.WriteFile(path, pngHeader(20000, 20000), 0o666))
	case "empty":
		ts.Check(os.WriteFile(path, nil, 0o666))
	case "text":
		ts.Check(os.WriteFile(path, []byte("this is no picture\n"), 0o666))
	case "truncated":
		var b bytes.Buffer
		ts.Check(jpeg.Encode(&b, drawn(7, red, 50, 40), nil))
		ts.Check(os.WriteFile(path, b.Bytes()[:b.Len()/2], 0o666))
	default:
		ts.Fatalf("unknown kind %q", args[0])
	}
}

// alteredCommand is "altered FROM TO": the same picture smaller, cropped a little, brighter and compressed anew.
func alteredCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: altered FROM TO")
	}
	f, err := os.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	defer f.Close()
	from, _, err := image.Decode(f)
	ts.Check(err)
	size := from.Bounds().Size()
	to := image.NewRGBA(image.Rect(0, 0, size.X*4/5, size.Y*4/5))
	for y := range to.Rect.Dy() {
		for x := range to.Rect.Dx() {
			r, g, b, _ := from.At(1+x*(size.X-1)/to.Rect.Dx(), y*(size.Y-1)/to.Rect.Dy()).RGBA()
			bright := func(v uint32) uint8 { return uint8(min(v>>8*11/10+8, 255)) }
			to.SetRGBA(x, y, color.RGBA{bright(r), bright(g), bright(b), 255})
		}
	}
	ts.Check(writePicture(ts.MkAbs(args[1]), to))
}

// pngHeader is a PNG file that ends after its header, which claims width x height pixels.
func pngHeader(width, height uint32) []byte {
	var chunk [17]byte
	copy(chunk[:], "IHDR")
	binary.BigEndian.PutUint32(chunk[4:], width)
	binary.BigEndian.PutUint32(chunk[8:], height)
	chunk[12], chunk[13] = 8, 2
	data := binary.BigEndian.AppendUint32([]byte("\x89PNG\r\n\x1a\n"), 13)
	data = append(data, chunk[:]...)
	return binary.BigEndian.AppendUint32(data, crc32.ChecksumIEEE(chunk[:]))
}

// pngCommand is "png FILE": a whole PNG of some size.
func pngCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: png FILE")
	}
	f, err := os.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	defer f.Close()
	img, err := png.Decode(f)
	ts.Check(err)
	if size := img.Bounds().Size(); size.X < 200 || size.Y < 100 {
		ts.Fatalf("%s is %v", args[0], size)
	}
}
