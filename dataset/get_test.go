package dataset

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"imgsearch/internal/cifartest"
)

// getServer serves a file and notes what was asked. The script says how each request is answered; the last entry serves
// all further ones.
type getServer struct {
	*httptest.Server
	mu     sync.Mutex
	ranges []string
}

// answer serves one request for content.
type answer func(w http.ResponseWriter, r *http.Request, content []byte)

func newGetServer(t *testing.T, content []byte, script ...answer) *getServer {
	s := &getServer{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		n := len(s.ranges)
		s.ranges = append(s.ranges, r.Header.Get("Range"))
		s.mu.Unlock()
		script[min(n, len(script)-1)](w, r, content)
	}))
	t.Cleanup(s.Close)
	return s
}

// whole serves properly: with ranges, If-Range and an ETag.
func whole(w http.ResponseWriter, r *http.Request, content []byte) {
	w.Header().Set("ETag", `"one"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

// broken serves properly, but hangs up after n bytes.
func broken(n int) answer {
	return func(w http.ResponseWriter, r *http.Request, content []byte) {
		whole(&hangUp{ResponseWriter: w, left: n}, r, content)
	}
}

type hangUp struct {
	http.ResponseWriter
	left int
}

func (h *hangUp) Write(p []byte) (int, error) {
	n, _ := h.ResponseWriter.Write(p[:min(len(p), h.left)])
	if h.left -= n; h.left == 0 {
		http.NewResponseController(h.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, nil
}

// noRanges serves the whole file whatever part was asked for.
func noRanges(w http.ResponseWriter, r *http.Request, content []byte) {
	w.Header().Set("Content-Length", strconv.Itoa(len(content)))
	w.Write(content)
}

func status(code int) answer {
	return func(w http.ResponseWriter, r *http.Request, content []byte) { http.Error(w, "no", code) }
}

func otherVersion(w http.ResponseWriter, r *http.Request, content []byte) {
	w.Header().Set("ETag", `"two"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

func wrongRange(w http.ResponseWriter, r *http.Request, content []byte) {
	w.Header().Set("Content-Range", fmt.Sprintf("bytes 1-%d/%d", len(content)-1, len(content)))
	w.WriteHeader(http.StatusPartialContent)
	w.Write(content[1:])
}

// newGetter is Get for a fake CIFAR-10, without pauses.
func newGetter(t *testing.T, f *fakeCIFAR, url string) *getter {
	return &getter{
		GetOptions: GetOptions{URL: url, Dir: filepath.Join(t.TempDir(), "place"), Client: http.DefaultClient,
			Progress: func(int64, int64) {}},
		batches: f.batches, fs: osPartSystem, idle: time.Minute,
		pause: func(ctx context.Context, failures int) error { return ctx.Err() },
	}
}

// checkPlace looks at what Get left in its folder.
func checkPlace(t *testing.T, g *getter, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(g.Dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s holds %q, want %q", g.Dir, got, want)
	}
	if slices.Contains(want, cifarFolder) {
		if _, err := openCIFARFolder(t.Context(), "x", filepath.Join(g.Dir, cifarFolder), "", g.batches); err != nil {
			t.Error(err)
		}
	}
}

const (
	partName   = cifarArchive + ".part"
	recordName = partName + ".json"
)

func TestGet(t *testing.T) {
	fake := newFakeCIFAR(5)
	content := fake.archive()
	half := len(content) / 2
	for _, test := range []struct {
		name   string
		script []answer
		ranges []string // requests expected
	}{
		{"at once", []answer{whole}, []string{""}},
		{"broken off once", []answer{broken(half), whole}, []string{"", at(half)}},
		{"broken off often, a little more each time", []answer{broken(100), broken(200), broken(300), broken(400), broken(500), whole},
			[]string{"", at(100), at(300), at(600), at(1000), at(1500)}},
		{"the server knows no ranges", []answer{broken(half), noRanges}, []string{"", at(half)}},
		{"the file has changed meanwhile", []answer{broken(half), otherVersion}, []string{"", at(half)}},
		{"another range than asked for", []answer{broken(half), wrongRange, whole}, []string{"", at(half), ""}},
		{"the range is refused", []answer{broken(half), status(416), whole}, []string{"", at(half), ""}},
		{"the server is busy", []answer{status(503), status(429), whole}, []string{"", "", ""}},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := newGetServer(t, content, test.script...)
			g := newGetter(t, fake, server.URL)
			var last int64
			g.Progress = func(done, total int64) {
				if last = done; done > total {
					t.Errorf("progress %d of %d", done, total)
				}
			}
			path, err := g.get(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if path != filepath.Join(g.Dir, cifarFolder) {
				t.Errorf("path %s", path)
			}
			if !slices.Equal(server.ranges, test.ranges) {
				t.Errorf("asked for %q, want %q", server.ranges, test.ranges)
			}
			if last != int64(len(content)) {
				t.Errorf("progress ended at %d of %d bytes", last, len(content))
			}
			checkPlace(t, g, cifarFolder)

			if _, err := g.get(t.Context()); err != nil || len(server.ranges) != len(test.ranges) {
				t.Errorf("a second call made requests (%d) or failed: %v", len(server.ranges), err)
			}
		})
	}
}

func at(n int) string { return fmt.Sprintf("bytes=%d-", n) }

func TestGetRefusesWrongContent(t *testing.T) {
	fake := newFakeCIFAR(5)
	content := fake.archive()
	flipped := newFakeCIFAR(5)
	flipped.data[3][77] ^= 1
	longer := newFakeCIFAR(6)
	for _, test := range []struct {
		name    string
		content []byte
		want    error
	}{
		{"a web page", []byte("<html>log in first</html>"), ErrArchive},
		{"nothing", nil, ErrArchive},
		{"cut short", content[:len(content)/2], ErrArchive},
		{"one bit", flipped.archive(), ErrBatchChecksum},
		{"another length", longer.archive(), ErrBatchSize},
		{"a batch less", fake.archive("data_batch_4.bin"), ErrBatchMissing},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := newGetServer(t, test.content, whole)
			g := newGetter(t, fake, server.URL)
			_, err := g.get(t.Context())
			if !errors.Is(err, test.want) {
				t.Errorf("error %v, want %v", err, test.want)
			}
			if err != nil && !strings.Contains(err.Error(), server.URL) {
				t.Errorf("the error does not name the address: %v", err)
			}
			checkPlace(t, g)

			g.From = filepath.Join(t.TempDir(), "file.tar.gz")
			writeFile(t, g.From, test.content)
			_, err = g.get(t.Context())
			if !errors.Is(err, test.want) || err != nil && !strings.Contains(err.Error(), g.From) {
				t.Errorf("from a file: error %v, want %v", err, test.want)
			}
			checkPlace(t, g)
			if _, err := os.Stat(g.From); err != nil {
				t.Errorf("the file itself was touched: %v", err)
			}
		})
	}
}

func TestGetGivesUp(t *testing.T) {
	fake := newFakeCIFAR(5)
	content := fake.archive()
	for _, test := range []struct {
		name     string
		script   []answer
		requests int
		left     []string
	}{
		{"not found", []answer{status(404)}, 1, nil},
		{"always busy", []answer{status(503)}, maxFailures, nil},
		{"stuck half-way", []answer{broken(len(content) / 2), status(503)}, 1 + maxFailures - 1, []string{partName, recordName}},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := newGetServer(t, content, test.script...)
			g := newGetter(t, fake, server.URL)
			if _, err := g.get(t.Context()); !errors.Is(err, ErrDownload) {
				t.Errorf("error %v, want ErrDownload", err)
			}
			if len(server.ranges) != test.requests {
				t.Errorf("%d requests, want %d", len(server.ranges), test.requests)
			}
			checkPlace(t, g, test.left...)
		})
	}
}

// TestGetGoesOnLater interrupts a download and calls Get again, as a user does.
func TestGetGoesOnLater(t *testing.T) {
	fake := newFakeCIFAR(40)
	content := fake.archive()
	half := len(content) / 2
	ctx, cancel := context.WithCancel(t.Context())
	server := newGetServer(t, content, func(w http.ResponseWriter, r *http.Request, content []byte) {
		w.Header().Set("ETag", `"one"`)
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		w.Write(content[:half])
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}, whole)
	g := newGetter(t, fake, server.URL)
	g.Progress = func(done, total int64) {
		if done == int64(half) {
			cancel()
		}
	}
	if _, err := g.get(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want context.Canceled", err)
	}
	checkPlace(t, g, partName, recordName)

	g.Progress = func(int64, int64) {}
	if _, err := g.get(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := []string{"", at(half)}; !slices.Equal(server.ranges, want) {
		t.Errorf("asked for %q, want %q", server.ranges, want)
	}
	checkPlace(t, g, cifarFolder)
}

// TestGetDistrustsOldBeginning resumes from bytes that were not of this file: Get must notice and start anew.
func TestGetDistrustsOldBeginning(t *testing.T) {
	fake := newFakeCIFAR(5)
	content := fake.archive()
	for name, beginning := range map[string][]byte{
		"part":  bytes.Repeat([]byte{7}, len(content)/2),
		"whole": bytes.Repeat([]byte{7}, len(content)),
		"more":  bytes.Repeat([]byte{7}, len(content)+10),
	} {
		t.Run(name, func(t *testing.T) {
			server := newGetServer(t, content, whole)
			g := newGetter(t, fake, server.URL)
			must(os.MkdirAll(g.Dir, 0o755))
			part := filepath.Join(g.Dir, partName)
			writeFile(t, part, beginning)
			must(partRecord{URL: g.URL, Validator: `"one"`, Total: int64(len(content))}.write(part))
			if _, err := g.get(t.Context()); err != nil {
				t.Fatal(err)
			}
			checkPlace(t, g, cifarFolder)
		})
	}
}

func TestGetReplacesDamagedFolder(t *testing.T) {
	fake := newFakeCIFAR(5)
	server := newGetServer(t, fake.archive(), whole)
	g := newGetter(t, fake, server.URL)
	folder := filepath.Join(g.Dir, cifarFolder)
	must(os.MkdirAll(folder, 0o755))
	writeFile(t, filepath.Join(folder, "test_batch.bin"), []byte("half"))
	if _, err := g.get(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkPlace(t, g, cifarFolder)

	// A folder with a stranger's file in it is not removed.
	must(os.Remove(filepath.Join(folder, "test_batch.bin")))
	writeFile(t, filepath.Join(folder, "thesis.txt"), []byte("years of work"))
	if _, err := g.get(t.Context()); err == nil || !strings.Contains(err.Error(), "move it away") {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(filepath.Join(folder, "thesis.txt")); err != nil {
		t.Error(err)
	}
}

func TestGetFromFile(t *testing.T) {
	fake := newFakeCIFAR(5)
	g := newGetter(t, fake, "http://unused.invalid/")
	g.From = filepath.Join(t.TempDir(), "any name")
	writeFile(t, g.From, fake.archive())
	var last, total int64
	g.Progress = func(done, of int64) { last, total = done, of }
	if _, err := g.get(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkPlace(t, g, cifarFolder)
	if last == 0 || last > total {
		t.Errorf("progress ended at %d of %d", last, total)
	}

	g = newGetter(t, fake, "http://unused.invalid/")
	g.From = t.TempDir()
	if _, err := g.get(t.Context()); !errors.Is(err, ErrArchive) {
		t.Errorf("from a folder: %v, want ErrArchive", err)
	}
	g.From = filepath.Join(g.From, "missing")
	if _, err := g.get(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("from a missing file: %v", err)
	}
}

// TestGetSilentServer has a server that stops sending without hanging up.
func TestGetSilentServer(t *testing.T) {
	fake := newFakeCIFAR(5)
	content := fake.archive()
	release := make(chan struct{})
	server := newGetServer(t, content, func(w http.ResponseWriter, r *http.Request, content []byte) {
		w.Header().Set("ETag", `"one"`)
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		w.Write(content[:100])
		http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
		case <-release:
		}
	}, whole)
	defer close(release)
	g := newGetter(t, fake, server.URL)
	g.idle = 50 * time.Millisecond
	if _, err := g.get(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := []string{"", at(100)}; !slices.Equal(server.ranges, want) {
		t.Errorf("asked for %q, want %q", server.ranges, want)
	}
}

// fullDisk is a file system with room for so many bytes.
type fullDisk struct {
	mu   sync.Mutex
	room int
}

func (d *fullDisk) system() partSystem {
	open := func(underneath func(string) (partFile, error)) func(string) (partFile, error) {
		return func(path string) (partFile, error) {
			f, err := underneath(path)
			return &fullDiskFile{f, d, path}, err
		}
	}
	return partSystem{open(osPartSystem.create), open(osPartSystem.appendTo), osPartSystem.sizeOnDisk}
}

type fullDiskFile struct {
	partFile
	disk *fullDisk
	path string
}

func (f *fullDiskFile) Write(p []byte) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	n, err := f.partFile.Write(p[:min(len(p), f.disk.room)])
	f.disk.room -= n
	if err == nil && n < len(p) {
		err = &os.PathError{Op: "write", Path: f.path, Err: syscall.ENOSPC}
	}
	return n, err
}

// TestGetFullDisk runs out of room at many points, each time makes a little, and calls Get again: there is never a
// partial folder, and what was downloaded once is not downloaded again.
func TestGetFullDisk(t *testing.T) {
	fake := newFakeCIFAR(5)
	content := fake.archive()
	server := newGetServer(t, content, whole)
	g := newGetter(t, fake, server.URL)
	disk := &fullDisk{}
	g.fs = disk.system()
	for step := 0; ; step++ {
		disk.room = 20_000 * (1 + step%12)
		_, err := g.get(t.Context())
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "make room") {
			t.Fatalf("step %d: error %v", step, err)
		}
		if _, err := os.Stat(filepath.Join(g.Dir, cifarFolder)); err == nil {
			t.Fatal("there is a folder already")
		}
		if step > 100 {
			t.Fatal("no end")
		}
	}
	checkPlace(t, g, cifarFolder)
	for _, asked := range server.ranges[1:] {
		if asked == "" {
			t.Errorf("asked for %q: the beginning was downloaded twice", server.ranges)
		}
	}
}

func TestGetBadAddress(t *testing.T) {
	for _, url := range []string{"file:///etc/passwd", "ftp://host/x", "no address", "http://"} {
		if _, err := Get(t.Context(), GetOptions{URL: url, Dir: t.TempDir()}); !errors.Is(err, ErrDownload) {
			t.Errorf("%s: error %v, want ErrDownload", url, err)
		}
	}
}

func TestContentRange(t *testing.T) {
	for value, want := range map[string]struct {
		first, total int64
		ok           bool
	}{
		"bytes 5-9/10":  {5, 10, true},
		"bytes 5-9/*":   {5, -1, true},
		"bytes 5-9":     {ok: false},
		"bytes x-9/10":  {ok: false},
		"bytes -5-9/10": {ok: false},
		"items 5-9/10":  {ok: false},
		"":              {ok: false},
	} {
		first, total, ok := contentRange(value)
		if ok != want.ok || ok && (first != want.first || total != want.total) {
			t.Errorf("contentRange(%q) = %d, %d, %v; want %+v", value, first, total, ok, want)
		}
	}
}

// TestGetOfficialArchive installs the real archive and opens it by the name cifar10.
func TestGetOfficialArchive(t *testing.T) {
	archive := cifartest.Archive(t)
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	_, err := Open(t.Context(), "cifar10", Options{})
	if !errors.Is(err, ErrNotDownloaded) || !strings.Contains(err.Error(), "dataset get cifar10") {
		t.Errorf("before: %v, want ErrNotDownloaded and the way out", err)
	}
	if _, err := Get(t.Context(), GetOptions{From: archive}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"cifar10": 60_000, "cifar10:train": 50_000, "cifar10:test": 10_000, "cifar10:test/17": 1} {
		start := time.Now()
		ds, err := Open(t.Context(), name, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if ds.Len() != want {
			t.Errorf("%s has %d images, want %d", name, ds.Len(), want)
		}
		t.Logf("%s opened in %v", name, time.Since(start))
	}
}
