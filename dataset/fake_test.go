package dataset

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// fakeCIFAR stands in for CIFAR-10 in tests: batches of a few random records, with their own sums.
type fakeCIFAR struct {
	batches []batch
	data    [][]byte
}

func newFakeCIFAR(records int) *fakeCIFAR { return newFakeBatches(records * recordBytes) }

// newFakeBatches makes batches of a length that need not be whole records.
func newFakeBatches(length int) *fakeCIFAR {
	random := rand.New(rand.NewPCG(1, 2))
	f := &fakeCIFAR{}
	for _, b := range cifarBatches {
		data := make([]byte, length)
		for i := range data {
			data[i] = byte(random.Uint32())
			if i%recordBytes == 0 {
				data[i] %= 10
			}
		}
		sum := sha256.Sum256(data)
		f.batches = append(f.batches, batch{b.file, b.split, len(data), hex.EncodeToString(sum[:])})
		f.data = append(f.data, data)
	}
	return f
}

// folder writes the batches as published to a new folder.
func (f *fakeCIFAR) folder(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), cifarFolder)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for i, b := range f.batches {
		writeFile(t, filepath.Join(dir, b.file), f.data[i])
	}
	return dir
}

// archive packs the batches as published, leaving out those named.
func (f *fakeCIFAR) archive(without ...string) []byte {
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	w := tar.NewWriter(zip)
	must(w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: cifarFolder + "/", Mode: 0o755}))
	add := func(name string, data []byte) {
		must(w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: cifarFolder + "/" + name, Mode: 0o644, Size: int64(len(data))}))
		_, err := w.Write(data)
		must(err)
	}
	add("batches.meta.txt", []byte("airplane\n"))
next:
	for i, b := range f.batches {
		for _, name := range without {
			if b.file == name {
				continue next
			}
		}
		add(b.file, f.data[i])
	}
	must(w.Close())
	must(zip.Close())
	return out.Bytes()
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func writeFile(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}
