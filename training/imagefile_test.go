package training

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"imgsearch/dataset"
)

func noFile(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is there: %v", path, err)
	}
}

// TestImagesInFile: weights, measurements and record are those of a run with its images in memory, on any number of
// threads.
func TestImagesInFile(t *testing.T) {
	eachNet(t, func(t *testing.T, makeNet func(networkConfig) (stepper, error)) {
		o := miniOptions(t)
		o.Data.(*memory).damaged = map[int]bool{7: true}
		whole, err := run(t.Context(), o, makeNet)
		if err != nil {
			t.Fatal(err)
		}
		for _, threads := range []int{1, 3} {
			o.Out, o.Threads = filepath.Join(t.TempDir(), "encoder"), threads
			o.Corpus.Memory = 59*3*16*16 - 1 // for one image less than there are
			during := int64(0)
			o.afterStep = func(int) {
				if info, err := os.Stat(ImagesPath(o.Out)); err == nil {
					during = info.Size()
				}
			}
			shown := ""
			o.OnProgress = func(p Progress) { shown = p.ImagesFile }
			r, err := run(t.Context(), o, makeNet)
			if err != nil {
				t.Fatal(err)
			}
			if r.Encoder.Fingerprint() != whole.Encoder.Fingerprint() || *r.HeldBack.Purity != *whole.HeldBack.Purity || r.HeldBack.Match != whole.HeldBack.Match {
				t.Errorf("%d threads: %+v, in memory %+v", threads, r, whole)
			}
			if want := int64(len(imagesMagic) + 59*3*16*16); during != want || shown != ImagesPath(o.Out) {
				t.Errorf("the file had %d bytes, want %d; progress showed %q", during, want, shown)
			}
			if start := lines(t, r.Record)[0]; start["images_in_file"] != true || start["images"] != 59.0 {
				t.Errorf("record begins with %v", start)
			}
			noFile(t, ImagesPath(o.Out))
		}
	})
}

// TestImagesFileInterrupted: an interruption removes the file, and a resume ends with the same weights, wherever the
// images are then.
func TestImagesFileInterrupted(t *testing.T) {
	o := miniOptions(t)
	whole, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for name, memory := range map[string][2]int64{"from file to memory": {1, 0}, "from memory to file": {0, 1}, "in files": {1, 1}} {
		ctx, cancel := context.WithCancel(t.Context())
		o := miniOptions(t)
		o.Corpus.Memory = memory[0]
		o.afterStep = func(step int) {
			if step == 17 {
				cancel()
			}
		}
		var interrupted *InterruptedError
		if _, err := Run(ctx, o); !errors.As(err, &interrupted) {
			t.Fatalf("%s: %v", name, err)
		}
		noFile(t, ImagesPath(o.Out))
		o.Corpus.Memory, o.Resume, o.afterStep = memory[1], true, nil
		r, err := Run(t.Context(), o)
		if err != nil || r.Encoder.Fingerprint() != whole.Encoder.Fingerprint() {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
		noFile(t, ImagesPath(o.Out))
	}
}

// TestImagesFileLost: a file that cannot be read any more ends the run without a wrong step.
func TestImagesFileLost(t *testing.T) {
	o := miniOptions(t)
	whole, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	o = miniOptions(t)
	o.Corpus.Memory, o.CheckpointEvery = 1, time.Nanosecond
	o.afterStep = func(step int) {
		if step == 20 {
			if err := os.Truncate(ImagesPath(o.Out), 5000); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "read decoded images from "+ImagesPath(o.Out)) {
		t.Fatal(err)
	}
	noFile(t, ImagesPath(o.Out))
	noFile(t, o.Out)
	o.Resume, o.afterStep = true, nil
	if r, err := Run(t.Context(), o); err != nil || r.Encoder.Fingerprint() != whole.Encoder.Fingerprint() {
		t.Errorf("resumed: %+v, %v", r, err)
	}
}

// TestImagesFilePlace: what a killed run left is replaced, another's file never; without an encoder file the folder for
// temporary files serves.
func TestImagesFilePlace(t *testing.T) {
	for _, left := range []string{"", imagesMagic[:5], imagesMagic, imagesMagic + "images"} {
		o := miniOptions(t)
		o.Corpus.Memory = 1
		if err := os.WriteFile(ImagesPath(o.Out), []byte(left), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Run(t.Context(), o); err != nil {
			t.Errorf("beside %q: %v", left, err)
		}
		noFile(t, ImagesPath(o.Out))
	}
	for _, other := range []string{"holiday", "imgsearch images of mine, and of nobody else"} {
		o := miniOptions(t)
		o.Corpus.Memory = 1
		if err := os.WriteFile(ImagesPath(o.Out), []byte(other), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Run(t.Context(), o); !errors.Is(err, ErrExists) {
			t.Errorf("beside %q: %v", other, err)
		}
		if text, err := os.ReadFile(ImagesPath(o.Out)); err != nil || string(text) != other {
			t.Errorf("%q became %q, %v", other, text, err)
		}
	}
	o := miniOptions(t)
	o.Corpus.Memory = 1
	if err := os.Mkdir(ImagesPath(o.Out), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), o); !errors.Is(err, ErrExists) {
		t.Errorf("beside a folder: %v", err)
	}

	dir := t.TempDir()
	for _, name := range []string{"TMPDIR", "TMP", "TEMP"} {
		t.Setenv(name, dir)
	}
	o = miniOptions(t)
	o.Out, o.Corpus.Memory = "", 1
	var during []string
	o.afterStep = func(int) { during, _ = filepath.Glob(filepath.Join(dir, "imgsearch-*.images")) }
	if _, err := Run(t.Context(), o); err != nil || len(during) != 1 {
		t.Errorf("%v, files %q", err, during)
	}
	if after, err := os.ReadDir(dir); err != nil || len(after) != 0 {
		t.Errorf("left: %v, %v", after, err)
	}
}

func TestCorpusLimit(t *testing.T) {
	if got := (CorpusOptions{Memory: 5}).limit(); got != 5 {
		t.Errorf("limit %d", got)
	}
	if total := machineMemory(); total != 0 && total < 64<<20 {
		t.Errorf("the machine has %d bytes", total)
	}
	if got := (CorpusOptions{}).limit(); got < 16<<20 {
		t.Errorf("default limit %d", got)
	}
}

// TestCorpusLabels: what is kept of a label does not hold on to a longer string, and equal ones are kept once.
func TestCorpusLabels(t *testing.T) {
	m := stripes(9, 16, 3)
	for _, memory := range []int64{-1, 0, 1} {
		c, err := loadCorpus(t.Context(), m, loading{size: 16, threads: 2, memory: memory, out: filepath.Join(t.TempDir(), "e"),
			onProblem: func(p dataset.Problem) { t.Error(p) }, onLoad: func(int, int) {}})
		if err != nil {
			t.Fatal(err)
		}
		if (c.file != nil) != (memory >= 0) || !slices.Equal(c.labels, m.labels) {
			t.Errorf("memory %d: file %v, labels %q", memory, c.file, c.labels)
		}
		for i, img := range m.images {
			if !slices.Equal(c.pixels(int32(i)), planes(img.Pix)) {
				t.Errorf("memory %d: image %d is another", memory, i)
			}
		}
		if c.close(); c.file != nil {
			noFile(t, c.file.path)
		}
	}
}
