package dataset

import (
	"errors"
	"image"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestParseName(t *testing.T) {
	for name, want := range map[string]reference{
		"sample":                  {"sample", "", -1},
		"sample:train":            {"sample", "train", -1},
		"sample:test/17":          {"sample", "test", 17},
		"sample:test/":            {"sample:test/", "", -1},
		"sample:test/-1":          {"sample:test/-1", "", -1},
		"sample:test/99999999999": {"sample:test/99999999999", "", -1},
		"sample:both":             {"sample:both", "", -1},
		`C:\data\x.tar.gz`:        {`C:\data\x.tar.gz`, "", -1},
		`C:\data\x.tar.gz:test`:   {`C:\data\x.tar.gz`, "test", -1},
		"a:b/c:train":             {"a:b/c", "train", -1},
		"folder/a:train/b.jpg":    {"folder/a:train/b.jpg", "", -1},
		":train":                  {":train", "", -1},
		"":                        {"", "", -1},
	} {
		if got := parseName(name); got != want {
			t.Errorf("parseName(%q) = %+v, want %+v", name, got, want)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_DATA_HOME", filepath.Join(dir, "data"))
	text := filepath.Join(dir, "notes.txt")
	writeFile(t, text, []byte("some notes"))
	empty := filepath.Join(dir, "empty")
	must(os.Mkdir(empty, 0o755))
	picture := filepath.Join(dir, "picture.png")
	writeFile(t, picture, encodePNG(image.NewGray(image.Rect(0, 0, 1, 1))))
	photos := filepath.Join(dir, "photos")
	must(os.Mkdir(photos, 0o755))
	writeFile(t, filepath.Join(photos, "a.png"), nil)

	for _, test := range []struct {
		name string
		want error
		says string
	}{
		{"", ErrNotFound, "a data set is"},
		{"smaple", ErrNotFound, "sample"},
		{filepath.Join(dir, "missing"), ErrNotFound, "a data set is"},
		{filepath.Join(dir, "missing") + ":train", ErrNotFound, "a data set is"},
		{"cifar10", ErrNotDownloaded, "dataset get cifar10"},
		{"cifar10:test/3", ErrNotDownloaded, filepath.Join(dir, "data", "imgsearch")},
		{text, ErrFormat, "a data set is"},
		{empty, ErrNoImages, ".jpg"},
		{picture + ":train", ErrNoPart, "single file"},
		{photos + ":train", ErrNoPart, `"train"`},
		{photos + ":train/3", ErrNoPart, "by its path"},
		{"sample:test/1000", ErrNoPart, "0 to 999"},
	} {
		_, err := Open(t.Context(), test.name, Options{})
		if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), strings.TrimSuffix(test.name, ":train")) {
			t.Errorf("Open(%q): %v, want %v with %q", test.name, err, test.want, test.says)
		}
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("Open(%q) says more than a line: %v", test.name, err)
		}
	}
}

// TestOpenFileWithColon has a file whose name looks like one with a part behind it.
func TestOpenFileWithColon(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no such names here")
	}
	path := filepath.Join(t.TempDir(), "x.png:test")
	writeFile(t, path, encodePNG(image.NewGray(image.Rect(0, 0, 3, 3))))
	ds, err := Open(t.Context(), path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if ds.Len() != 1 || ds.Entry(0).Source != path {
		t.Errorf("%d images, the first %+v", ds.Len(), ds.Entry(0))
	}
}

func TestOpenSingleFile(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a.png", "no ending"} {
		path := filepath.Join(dir, name)
		writeFile(t, path, encodePNG(image.NewGray(image.Rect(0, 0, 3, 5))))
		ds, err := Open(t.Context(), dir+"/./"+name, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer ds.Close()
		if ds.Len() != 1 || ds.Entry(0).Source != path || ds.Entry(0).Size == 0 || ds.Entry(0).ModTime.IsZero() {
			t.Errorf("%d images, the first %+v", ds.Len(), ds.Entry(0))
		}
		s, err := ds.Read(t.Context(), 0)
		if err != nil || s.Image.Width != 3 || s.Image.Height != 5 {
			t.Errorf("%v, %v", s.Image, err)
		}
	}
	// A damaged file with an image's name opens, so that one of many named does not stop the others; its Read tells.
	broken := filepath.Join(dir, "broken.jpg")
	writeFile(t, broken, nil)
	ds, err := Open(t.Context(), broken, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ds.Read(t.Context(), 0); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), broken) {
		t.Errorf("error %v", err)
	}
}

func TestPlace(t *testing.T) {
	home := func() (string, error) { return "/home/me", nil }
	if runtime.GOOS == "windows" {
		home = func() (string, error) { return `C:\Users\me`, nil }
	}
	base, _ := home()
	absolute := filepath.Join(base, "xdg")
	for _, test := range []struct {
		goos string
		env  map[string]string
		want string
	}{
		{"linux", nil, filepath.Join(base, ".local", "share", "imgsearch")},
		{"linux", map[string]string{"XDG_DATA_HOME": absolute}, filepath.Join(absolute, "imgsearch")},
		{"linux", map[string]string{"XDG_DATA_HOME": "relative"}, filepath.Join(base, ".local", "share", "imgsearch")},
		{"linux", map[string]string{"LocalAppData": absolute}, filepath.Join(base, ".local", "share", "imgsearch")},
		{"darwin", nil, filepath.Join(base, "Library", "Application Support", "imgsearch")},
		{"darwin", map[string]string{"XDG_DATA_HOME": absolute}, filepath.Join(absolute, "imgsearch")},
		{"windows", map[string]string{"LocalAppData": absolute}, filepath.Join(absolute, "imgsearch")},
		{"windows", nil, filepath.Join(base, "AppData", "Local", "imgsearch")},
	} {
		got, err := place(test.goos, func(key string) string { return test.env[key] }, home)
		if err != nil || got != test.want {
			t.Errorf("%s with %v: %s, %v; want %s", test.goos, test.env, got, err, test.want)
		}
	}
	homeless := func() (string, error) { return "", errors.New("no home") }
	if _, err := place("linux", func(string) string { return "" }, homeless); err == nil || !strings.Contains(err.Error(), "XDG_DATA_HOME") {
		t.Errorf("error %v", err)
	}
}
