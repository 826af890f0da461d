package dataset

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/bep/imagemeta"
)

// addFixtures seeds a target with all pictures of testdata/images and with headers that claim too much.
func addFixtures(f *testing.F) {
	fixtures, err := filepath.Glob(filepath.Join("testdata", "images", "*.*"))
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range fixtures {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, data := range headerOnly() {
		f.Add(data)
	}
}

// FuzzDecodeBytes: any bytes give an image of the size promised, or an error of the kinds promised.
func FuzzDecodeBytes(f *testing.F) {
	addFixtures(f)
	opts := Options{MaxPixels: 1 << 20, ShortSide: 16}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := DecodeBytes(data, opts)
		if err != nil {
			if !errors.Is(err, ErrFormat) && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrTooLarge) {
				t.Errorf("error of no kind: %v", err)
			}
			return
		}
		m := s.Image
		if m.Width <= 0 || m.Height <= 0 || len(m.Pix) != 3*m.Width*m.Height || min(m.Width, m.Height) > 16 || max(m.Width, m.Height) > maxLongSide {
			t.Errorf("%dx%d, %d bytes", m.Width, m.Height, len(m.Pix))
		}
		m.Square(8)
	})
}

// FuzzReadOrientation: any metadata gives an orientation from 1 to 8.
func FuzzReadOrientation(f *testing.F) {
	addFixtures(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, kind := range []imagemeta.ImageFormat{imagemeta.JPEG, imagemeta.PNG, imagemeta.TIFF, imagemeta.WebP} {
			if o := readOrientation(bytes.NewReader(data), kind); o < 1 || o > 8 {
				t.Errorf("orientation %d", o)
			}
		}
	})
}

// FuzzWebP: the reader of animations never panics, and never gives a picture of another size than its header's.
func FuzzWebP(f *testing.F) {
	addFixtures(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		config, err := webpConfig(bytes.NewReader(data))
		if err != nil || config.Width*config.Height > 1<<20 {
			return
		}
		picture, err := decodeWebP(bytes.NewReader(data))
		if err == nil && (picture.Bounds().Dx() != config.Width || picture.Bounds().Dy() != config.Height) {
			t.Errorf("%v, the header says %dx%d", picture.Bounds(), config.Width, config.Height)
		}
	})
}

// FuzzIsProgressive: the search for the frame header ends on any bytes.
func FuzzIsProgressive(f *testing.F) {
	addFixtures(f)
	f.Fuzz(func(t *testing.T, data []byte) { jpegIsProgressive(data) })
}

// FuzzRecords: any bytes as a batch are records with known labels and 32x32 pixels, or an error.
func FuzzRecords(f *testing.F) {
	f.Add(newFakeCIFAR(2).data[0])
	f.Add(make([]byte, recordBytes-1))
	f.Add(bytes.Repeat([]byte{11}, recordBytes))
	f.Fuzz(func(t *testing.T, data []byte) {
		set, err := newRecordSet("x", "x", []recordRun{{split: "train", data: data}})
		if err != nil {
			return
		}
		for i := range set.Len() {
			s, err := set.Read(context.Background(), i)
			if err != nil || s.Image.Width != 32 || set.Entry(i).Label == "" {
				t.Errorf("record %d: %+v, %v", i, set.Entry(i), err)
			}
		}
	})
}

// FuzzArchive: any bytes as an archive, and any bytes packed as one, give the batches that were published or an error
// of the kinds promised.
func FuzzArchive(f *testing.F) {
	fake := newFakeBatches(30)
	good := fake.archive()
	f.Add(good, false)
	f.Add(fake.archive("data_batch_2.bin"), false)
	f.Add(good[:len(good)/2], false)
	unpacked, err := gzip.NewReader(bytes.NewReader(good))
	must(err)
	tarball, err := io.ReadAll(unpacked)
	must(err)
	f.Add(tarball, true)
	f.Fuzz(func(t *testing.T, data []byte, pack bool) {
		if pack {
			var packed bytes.Buffer
			w, err := gzip.NewWriterLevel(&packed, gzip.NoCompression)
			must(err)
			w.Write(data)
			must(w.Close())
			data = packed.Bytes()
		}
		runs, err := readCIFARArchive(context.Background(), bytes.NewReader(data), "x", fake.batches)
		if err != nil {
			if !isWrongContent(err) {
				t.Errorf("error of no kind: %v", err)
			}
			return
		}
		for i, run := range runs {
			if !bytes.Equal(run.data, fake.data[i]) {
				t.Errorf("batch %d is not what was published", i)
			}
		}
	})
}

// FuzzParseName: what a name is taken apart to is what it was.
func FuzzParseName(f *testing.F) {
	for _, name := range []string{"sample:test/17", "a:b:train", `C:\x:test`, "", ":", "x:train/00"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		ref := parseName(name)
		if len(ref.base) > len(name) || name[:len(ref.base)] != ref.base || ref.position < -1 || ref.split == "" && ref.base != name {
			t.Errorf("%q became %+v", name, ref)
		}
	})
}
