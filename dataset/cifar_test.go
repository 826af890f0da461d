package dataset

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCIFARFolderAndArchive(t *testing.T) {
	fake := newFakeCIFAR(3)
	archive := filepath.Join(t.TempDir(), "a.tar.gz")
	writeFile(t, archive, fake.archive())
	folder := fake.folder(t)
	for split, want := range map[string]int{"": 18, "train": 15, "test": 3} {
		fromFolder, err := openCIFARFolder(t.Context(), "x", folder, split, fake.batches)
		if err != nil {
			t.Fatal(err)
		}
		fromArchive, err := openCIFARArchive(t.Context(), "x", archive, split, fake.batches)
		if err != nil {
			t.Fatal(err)
		}
		if fromFolder.Len() != want || fromArchive.Len() != want {
			t.Fatalf("part %q has %d and %d images, want %d", split, fromFolder.Len(), fromArchive.Len(), want)
		}
		for i := range want {
			position, part, record := i, "train", i
			if split == "test" {
				record += 15
			}
			if record >= 15 {
				position, part = record-15, "test"
			}
			raw := fake.data[record/3][record%3*recordBytes:][:recordBytes]
			wanted := Entry{Source: fmt.Sprintf("cifar10:%s/%d", part, position), Label: cifarLabels[raw[0]], Split: part}
			if e := fromFolder.Entry(i); e != wanted {
				t.Errorf("part %q, image %d is %+v, want %+v", split, i, e, wanted)
			}
			if e := fromArchive.Entry(i); e != wanted {
				t.Errorf("archive, part %q, image %d is %+v, want %+v", split, i, e, wanted)
			}
			s, err := fromArchive.Read(t.Context(), i)
			if err != nil {
				t.Fatal(err)
			}
			checkRecord(t, s, raw)
		}
	}
}

// checkRecord compares an image with a record, pixel by pixel.
func checkRecord(t *testing.T, s Sample, raw []byte) {
	t.Helper()
	if s.Image.Width != 32 || s.Image.Height != 32 || len(s.Image.Pix) != 3072 {
		t.Fatalf("%dx%d pixels, %d bytes", s.Image.Width, s.Image.Height, len(s.Image.Pix))
	}
	for y := range 32 {
		for x := range 32 {
			for c := range 3 {
				if got, want := s.Image.Pix[3*(32*y+x)+c], raw[1+1024*c+32*y+x]; got != want {
					t.Fatalf("pixel %d,%d channel %d is %d, want %d", x, y, c, got, want)
				}
			}
		}
	}
	if s.Hash != sha256.Sum256(raw[1:]) {
		t.Error("the hash is not that of the pixels")
	}
}

func TestCIFARFolderBad(t *testing.T) {
	fake := newFakeCIFAR(3)
	for _, test := range []struct {
		name   string
		damage func(dir string)
		want   error
	}{
		{"missing", func(dir string) { must(os.Remove(filepath.Join(dir, "data_batch_3.bin"))) }, ErrBatchMissing},
		{"cut short", func(dir string) { must(os.Truncate(filepath.Join(dir, "data_batch_3.bin"), 100)) }, ErrBatchSize},
		{"empty", func(dir string) { must(os.Truncate(filepath.Join(dir, "data_batch_3.bin"), 0)) }, ErrBatchSize},
		{"longer", func(dir string) { must(os.Truncate(filepath.Join(dir, "data_batch_3.bin"), 1<<30)) }, ErrBatchSize},
		{"flipped bit", func(dir string) {
			data := bytes.Clone(fake.data[2])
			data[4000] ^= 0x10
			must(os.WriteFile(filepath.Join(dir, "data_batch_3.bin"), data, 0o644))
		}, ErrBatchChecksum},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := fake.folder(t)
			test.damage(dir)
			_, err := openCIFARFolder(t.Context(), "x", dir, "", fake.batches)
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), filepath.Join(dir, "data_batch_3.bin")) {
				t.Errorf("error %v, want %v naming the batch", err, test.want)
			}
			if _, err := openCIFARFolder(t.Context(), "x", dir, "test", fake.batches); err != nil {
				t.Errorf("the test part needs no training batch: %v", err)
			}
		})
	}
}

func TestCIFARArchiveBad(t *testing.T) {
	fake := newFakeCIFAR(3)
	good := fake.archive()
	flip := bytes.Clone(good)
	flip[len(flip)/2] ^= 0x40
	other := newFakeCIFAR(3)
	other.data[1][5] ^= 1
	for _, test := range []struct {
		name string
		data []byte
		want error
	}{
		{"empty", nil, ErrArchive},
		{"text", []byte("not a gzip file"), ErrArchive},
		{"flipped bit in the packed data", flip, ErrArchive},
		{"flipped bit in a batch", other.archive(), ErrBatchChecksum},
		{"batch of another length", newFakeCIFAR(4).archive(), ErrBatchSize},
		{"missing batch", fake.archive("test_batch.bin"), ErrBatchMissing},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.tar.gz")
			writeFile(t, path, test.data)
			_, err := openCIFARArchive(t.Context(), "x", path, "", fake.batches)
			if !errors.Is(err, test.want) && !(test.want == ErrArchive && errors.Is(err, ErrBatchChecksum)) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %v, want %v naming the archive", err, test.want)
			}
		})
	}
}

// TestCIFARArchiveTruncated cuts the archive at many lengths: only the part that is complete can be opened.
func TestCIFARArchiveTruncated(t *testing.T) {
	fake := newFakeCIFAR(3)
	good := fake.archive()
	for n := 0; n < len(good)-1000; n += 997 {
		if _, err := readCIFARArchive(t.Context(), bytes.NewReader(good[:n]), "x", fake.batches); !errors.Is(err, ErrArchive) {
			t.Fatalf("cut at %d of %d: %v, want ErrArchive", n, len(good), err)
		}
	}
	if _, err := readCIFARArchive(t.Context(), bytes.NewReader(good[:len(good)*9/10]), "x", batchesOf(fake.batches, "train")); err == nil {
		t.Log("the training part was complete")
	}
}

func TestCIFARCancelled(t *testing.T) {
	fake := newFakeCIFAR(3)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := readCIFARArchive(ctx, bytes.NewReader(fake.archive()), "x", fake.batches); !errors.Is(err, context.Canceled) {
		t.Errorf("archive: %v", err)
	}
	if _, err := openCIFARFolder(ctx, "x", fake.folder(t), "", fake.batches); !errors.Is(err, context.Canceled) {
		t.Errorf("folder: %v", err)
	}
}

func TestRecordsOfUnknownLabel(t *testing.T) {
	data := make([]byte, 2*recordBytes)
	data[recordBytes] = 10
	if _, err := newRecordSet("x", "x", []recordRun{{split: "train", data: data}}); err == nil || !strings.Contains(err.Error(), "record 1 has label 10") {
		t.Errorf("error %v", err)
	}
	if _, err := newRecordSet("x", "x", []recordRun{{split: "train", data: data[:recordBytes+5]}}); err == nil {
		t.Error("half a record was taken")
	}
}

// TestOpenSeesCIFAR checks that folders and archives are recognised for what they are, by their damage.
func TestOpenSeesCIFAR(t *testing.T) {
	fake := newFakeCIFAR(1)
	folder := fake.folder(t)
	for _, name := range []string{folder, folder + ":test", filepath.Dir(folder), folder + ":train/3"} {
		if _, err := Open(t.Context(), name, Options{}); !errors.Is(err, ErrBatchSize) {
			t.Errorf("%s: %v, want ErrBatchSize", name, err)
		}
	}
	for _, file := range []string{"a.tar.gz", "a.tgz", "A.TAR.GZ", "no ending"} {
		path := filepath.Join(t.TempDir(), file)
		writeFile(t, path, fake.archive())
		for _, name := range []string{path, path + ":train"} {
			if _, err := Open(t.Context(), name, Options{}); !errors.Is(err, ErrBatchSize) {
				t.Errorf("%s: %v, want ErrBatchSize", name, err)
			}
		}
	}
}
