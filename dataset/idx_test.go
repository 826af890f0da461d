package dataset

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// idxBytes makes an IDX file of bytes.
func idxBytes(data []byte, dims ...uint32) []byte {
	out := []byte{0, 0, idxUnsignedBytes, byte(len(dims))}
	for _, d := range dims {
		out = binary.BigEndian.AppendUint32(out, d)
	}
	return append(out, data...)
}

func gzipped(data []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(data)
	must(err)
	must(w.Close())
	return out.Bytes()
}

// counted returns the bytes from, from+1, ...
func counted(from, n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(from + i)
	}
	return out
}

// fakeIDX is three training images and two test images, 3 wide and 2 high, whose pixels count up.
func fakeIDX() map[string][]byte {
	return map[string][]byte{
		"train-images-idx3-ubyte.gz": gzipped(idxBytes(counted(0, 18), 3, 2, 3)),
		"train-labels-idx1-ubyte.gz": gzipped(idxBytes([]byte{2, 0, 11}, 3)),
		"t10k-images-idx3-ubyte":     idxBytes(counted(100, 12), 2, 2, 3),
		"t10k-labels-idx1-ubyte":     idxBytes([]byte{1, 2}, 2),
	}
}

func writeFolder(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		writeFile(t, filepath.Join(dir, name), data)
	}
	return dir
}

func TestIDXFolder(t *testing.T) {
	files := fakeIDX()
	files["notes.txt"], files["train-images-idx3-ubyte.png"] = []byte("x"), []byte("x")
	dir := writeFolder(t, files)
	ds, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer ds.Close()
	want := []Entry{
		{Source: dir + ":train/0", Label: "2", Split: "train"}, {Source: dir + ":train/1", Label: "0", Split: "train"},
		{Source: dir + ":train/2", Label: "11", Split: "train"},
		{Source: dir + ":test/0", Label: "1", Split: "test"}, {Source: dir + ":test/1", Label: "2", Split: "test"},
	}
	if ds.Name() != dir || ds.Len() != len(want) {
		t.Fatalf("%s has %d images", ds.Name(), ds.Len())
	}
	for i, e := range want {
		first := 6 * i
		if i > 2 {
			first = 100 + 6*(i-3)
		}
		gray := counted(first, 6)
		for _, name := range []string{dir, e.Source} { // a source is the name of its image
			set, err := Open(t.Context(), name, Options{})
			if err != nil {
				t.Fatal(err)
			}
			at := i
			if name == e.Source {
				at = 0
				if set.Len() != 1 {
					t.Errorf("%s has %d images", name, set.Len())
				}
			}
			s, err := set.Read(t.Context(), at)
			if err != nil {
				t.Fatal(err)
			}
			if set.Entry(at) != e || s.Hash != sha256.Sum256(gray) || s.Image.Width != 3 || s.Image.Height != 2 {
				t.Errorf("image %d of %s is %+v, %dx%d", at, name, set.Entry(at), s.Image.Width, s.Image.Height)
			}
			for k, v := range gray {
				if !bytes.Equal(s.Image.Pix[3*k:][:3], []byte{v, v, v}) {
					t.Errorf("image %d, pixel %d is %v, want %d", i, k, s.Image.Pix[3*k:][:3], v)
				}
			}
		}
	}
	for part, n := range map[string]int{"train": 3, "test": 2} {
		set, err := Open(t.Context(), dir+":"+part, Options{})
		if err != nil || set.Len() != n || set.Entry(0).Source != dir+":"+part+"/0" {
			t.Errorf("part %s: %v, %v", part, set, err)
		}
	}
	for _, name := range []string{dir + ":train/3", dir + ":test/2"} {
		if _, err := Open(t.Context(), name, Options{}); !errors.Is(err, ErrNoPart) {
			t.Errorf("%s: %v", name, err)
		}
	}
	first, err := Fingerprint(t.Context(), ds)
	if err != nil {
		t.Fatal(err)
	}
	files["t10k-images-idx3-ubyte"][20]++
	writeFile(t, filepath.Join(dir, "t10k-images-idx3-ubyte"), files["t10k-images-idx3-ubyte"])
	changed, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if second, err := Fingerprint(t.Context(), changed); err != nil || second == first {
		t.Errorf("fingerprint %s after a pixel changed, %v", second, err)
	}
}

// TestIDXVariants: other names, no labels, one part only, class names.
func TestIDXVariants(t *testing.T) {
	images, labels := idxBytes(counted(0, 12), 3, 2, 2), idxBytes([]byte{0, 1, 0}, 3)
	for name, c := range map[string]struct {
		files map[string][]byte
		label Label
		split string
	}{
		"dots":         {map[string][]byte{"train-images.idx3-ubyte": images, "train-labels.idx1-ubyte": labels}, "1", "train"},
		"longer names": {map[string][]byte{"letters-test-images-idx3-ubyte": images, "letters-test-labels-idx1-ubyte": labels}, "1", "test"},
		"no labels":    {map[string][]byte{"t10k-images-idx3-ubyte.gz": gzipped(images)}, "", "test"},
		"both packed and not": {map[string][]byte{"train-images-idx3-ubyte": images, "train-images-idx3-ubyte.gz": []byte("damaged"),
			"train-labels-idx1-ubyte": labels, "train-labels-idx1-ubyte.gz": []byte("damaged")}, "1", "train"},
		"class names": {map[string][]byte{"train-images-idx3-ubyte": images, "train-labels-idx1-ubyte": labels,
			"labels.txt": []byte("T-shirt/top\r\n ankle boot\n\n")}, "ankle boot", "train"},
	} {
		ds, err := Open(t.Context(), writeFolder(t, c.files), Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if e := ds.Entry(1); ds.Len() != 3 || e.Label != c.label || e.Split != c.split {
			t.Errorf("%s: %d images, the second is %+v", name, ds.Len(), e)
		}
	}
}

func TestIDXDamage(t *testing.T) {
	const imagesName, labelsName = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
	images, labels := idxBytes(counted(0, 12), 3, 2, 2), idxBytes([]byte{0, 1, 0}, 3)
	packed := gzipped(images)
	broken := bytes.Clone(packed)
	broken[len(broken)-6]++ // gzip's sum
	for name, c := range map[string]struct {
		files map[string][]byte
		want  error
		text  string
	}{
		"empty":             {map[string][]byte{imagesName: nil}, ErrIDX, "cut short"},
		"header cut short":  {map[string][]byte{imagesName: images[:10]}, ErrIDX, "cut short"},
		"pixels cut short":  {map[string][]byte{imagesName: images[:20]}, ErrIDX, "more than a file of 20 bytes"},
		"archive cut short": {map[string][]byte{imagesName + ".gz": packed[:len(packed)-4]}, ErrIDX, "cut short"},
		"archive broken":    {map[string][]byte{imagesName + ".gz": broken}, ErrIDX, "checksum"},
		"pixels after the last": {map[string][]byte{imagesName: append(bytes.Clone(images), 0)}, ErrIDX,
			"bytes after its last value"},
		"labels as images":  {map[string][]byte{imagesName: labels}, ErrIDX, "it begins with 00000801"},
		"floats":            {map[string][]byte{imagesName: append([]byte{0, 0, 13, 3}, images[4:]...)}, ErrIDX, "it begins with 00000d03"},
		"claims too much":   {map[string][]byte{imagesName: idxBytes(nil, math.MaxUint32, math.MaxUint32, math.MaxUint32)}, ErrIDX, "claims more than"},
		"claims a lot":      {map[string][]byte{imagesName + ".gz": gzipped(idxBytes(nil, 1000, 28, 28))}, ErrIDX, "more than a file"},
		"empty images":      {map[string][]byte{imagesName: idxBytes(nil, 3, 0, 2)}, ErrIDX, "images of 2x0"},
		"large images":      {map[string][]byte{imagesName: idxBytes(make([]byte, 257), 1, 1, 257)}, ErrIDX, "at most 256x256"},
		"none":              {map[string][]byte{imagesName: idxBytes(nil, 0, 28, 28)}, ErrNoImages, ""},
		"labels of others":  {map[string][]byte{imagesName: images, labelsName: idxBytes([]byte{1}, 1)}, ErrIDX, "1 labels for the 3 images"},
		"unknown part":      {map[string][]byte{"our-images-idx3-ubyte": images}, ErrIDX, "must begin with"},
		"two data sets":     {map[string][]byte{"a-train-images-idx3-ubyte": images, "b-train-images-idx3-ubyte": images}, ErrIDX, "a folder of its own"},
		"too few names":     {map[string][]byte{imagesName: images, labelsName: labels, idxLabelNames: []byte("a\n")}, ErrIDX, "1 class names, and there is a label 1"},
		"an unnamed class":  {map[string][]byte{imagesName: images, labelsName: labels, idxLabelNames: []byte("a\n\nb")}, ErrIDX, "line 2"},
		"a name twice":      {map[string][]byte{imagesName: images, labelsName: labels, idxLabelNames: []byte("a\na")}, ErrIDX, "line 2"},
		"no text of labels": {map[string][]byte{imagesName: images, labelsName: labels, idxLabelNames: make([]byte, maxIDXNames+1)}, ErrIDX, "more than"},
	} {
		_, err := Open(t.Context(), writeFolder(t, c.files), Options{})
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
	dir := writeFolder(t, fakeIDX())
	if err := os.Remove(filepath.Join(dir, "t10k-images-idx3-ubyte")); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), dir+":test", Options{}); !errors.Is(err, ErrNoPart) {
		t.Errorf("a part that is not there: %v", err)
	}
}

// FuzzIDX: any bytes, packed or not, are as many values as the header says, or an error, and never take more memory
// than the bytes account for.
func FuzzIDX(f *testing.F) {
	for _, name := range []string{"train-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte"} {
		f.Add(fakeIDX()[name], 3)
	}
	f.Add(fakeIDX()["t10k-labels-idx1-ubyte"], 1)
	f.Add(idxBytes(nil, math.MaxUint32, math.MaxUint32, 2), 3)
	f.Add(idxBytes(nil, 0, math.MaxUint32, math.MaxUint32), 3)
	f.Fuzz(func(t *testing.T, data []byte, dims int) {
		if dims < 1 || dims > 4 {
			return
		}
		sizes, values, err := decodeIDX(bytes.NewReader(data), int64(len(data)), dims)
		if err != nil {
			return
		}
		total := 1
		for _, size := range sizes {
			total *= size
		}
		if len(sizes) != dims || len(values) != total || total > maxDeflate*len(data) {
			t.Errorf("%v, %d values of %d bytes", sizes, len(values), len(data))
		}
	})
}

// TestIDXJoin: parts of one folder under different names are taken once.
func TestIDXJoin(t *testing.T) {
	dir := writeFolder(t, maps.Clone(fakeIDX()))
	ds, err := OpenAll(t.Context(), []string{dir + ":test", dir, dir + ":train/1"}, Options{})
	if err != nil || ds.Len() != 5 {
		t.Fatalf("%v, %v", ds, err)
	}
}
