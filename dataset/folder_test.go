package dataset

import (
	"errors"
	"fmt"
	"image"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// tree makes a folder. Each line is a file, "link -> target" a link, a line ending in "/" an empty folder.
func tree(t *testing.T, lines ...string) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "root")
	must(os.Mkdir(root, 0o755))
	picture := encodePNG(image.NewGray(image.Rect(0, 0, 4, 4)))
	for _, line := range lines {
		path, target, link := strings.Cut(line, " -> ")
		path = filepath.Join(root, filepath.FromSlash(path))
		must(os.MkdirAll(filepath.Dir(path), 0o755))
		switch {
		case link:
			if err := os.Symlink(filepath.FromSlash(target), path); err != nil {
				t.Skipf("no links here: %v", err)
			}
		case strings.HasSuffix(line, "/"):
			must(os.MkdirAll(path, 0o755))
		default:
			writeFile(t, path, picture)
		}
	}
	return root
}

// listing describes a data set for comparison: "path label split" for each image, paths below root.
func listing(t *testing.T, ds Dataset, root string) []string {
	t.Helper()
	var lines []string
	for i := range ds.Len() {
		e := ds.Entry(i)
		lines = append(lines, strings.TrimRight(fmt.Sprintf("%s %s %s", below(t, root, e.Source), e.Label, e.Split), " "))
	}
	return lines
}

func problemsOf(t *testing.T, ds Dataset, root string) []string {
	t.Helper()
	var lines []string
	for _, p := range Problems(ds) {
		lines = append(lines, below(t, root, p.Source))
		if !strings.Contains(p.Error(), p.Source) || !errors.Is(p, p.Err) {
			t.Errorf("the problem %q does not name its source %s", p.Error(), p.Source)
		}
	}
	return lines
}

func below(t *testing.T, root, path string) string {
	t.Helper()
	rest, ok := strings.CutPrefix(path, root+string(filepath.Separator))
	if !ok {
		t.Errorf("%s is not below %s", path, root)
	}
	return filepath.ToSlash(rest)
}

func TestFolder(t *testing.T) {
	for _, test := range []struct {
		name     string
		files    []string
		split    string
		want     []string
		problems []string
		ignored  int
	}{
		{name: "flat", files: []string{"b.png", "a.JPG", "c.txt"}, want: []string{"a.JPG", "b.png"}, ignored: 1},
		{name: "sub-folders are labels", files: []string{"dog/2.png", "cat/1.png", "cat/old/0.png", "x.png"},
			want: []string{"cat/1.png cat", "cat/old/0.png cat", "dog/2.png dog", "x.png"}},
		{name: "every ending", files: []string{"a.jpg", "b.jpeg", "c.JPE", "d.jfif", "e.Png", "f.apng", "g.gif", "h.webp", "i.bmp", "j.dib", "k.tif", "l.tiff"},
			want: []string{"a.jpg", "b.jpeg", "c.JPE", "d.jfif", "e.Png", "f.apng", "g.gif", "h.webp", "i.bmp", "j.dib", "k.tif", "l.tiff"}},
		{name: "hidden", files: []string{"a.png", ".b.png", "._a.png", ".git/c.png", "cat/.DS_Store"}, want: []string{"a.png"}, ignored: 3},
		{name: "known, but not read", files: []string{"a.png", "b.heic", "c.AVIF", "d.jxl"}, want: []string{"a.png"},
			problems: []string{"b.heic", "c.AVIF", "d.jxl"}},
		{name: "parts", files: []string{"train/cat/1.png", "test/cat/2.png", "test/3.png"},
			want: []string{"test/3.png  test", "test/cat/2.png cat test", "train/cat/1.png cat train"}},
		{name: "one part", files: []string{"train/cat/1.png", "test/cat/2.png", "test/3.png"}, split: "train",
			want: []string{"train/cat/1.png cat train"}},
		{name: "train beside others is a label", files: []string{"train/1.png", "car/2.png"},
			want: []string{"car/2.png car", "train/1.png train"}},
		{name: "linked file", files: []string{"a.png", "b.png -> a.png"}, want: []string{"a.png", "b.png"}},
		{name: "broken links", files: []string{"a.png", "b.png -> gone", "c.txt -> gone"}, want: []string{"a.png"},
			problems: []string{"b.png"}, ignored: 1},
		{name: "a link to itself", files: []string{"a.png", "loop -> loop"}, want: []string{"a.png"}, problems: []string{"loop"}},
		{name: "a link to the folder around it", files: []string{"a.png", "x/y/up -> ../..", "x/here -> ."}, want: []string{"a.png"},
			problems: []string{"x/here", "x/y/up"}},
		{name: "a link to far above", files: []string{"a.png", "x/up -> ../.."}, want: []string{"a.png"}, problems: []string{"x/up"}},
		{name: "links to each other", files: []string{"x/a.png", "x/to -> ../y", "y/b.png", "y/to -> ../x"}, want: []string{"x/a.png x", "y/b.png y"}},
		{name: "a linked folder that is listed anyway", files: []string{"a -> b", "b/1.png"}, want: []string{"b/1.png b"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := tree(t, test.files...)
			name := root
			if test.split != "" {
				name += ":" + test.split
			}
			ds, err := Open(t.Context(), name, Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer ds.Close()
			if got := listing(t, ds, root); !slices.Equal(got, test.want) {
				t.Errorf("listed %q\nwant   %q", got, test.want)
			}
			if got := problemsOf(t, ds, root); !slices.Equal(got, test.problems) {
				t.Errorf("problems %q, want %q", got, test.problems)
			}
			if got := Ignored(ds); got != test.ignored {
				t.Errorf("%d files passed over, want %d", got, test.ignored)
			}
			if ds.Name() != name {
				t.Errorf("name %q, want %q", ds.Name(), name)
			}
		})
	}
}

// TestFolderLinkedFromElsewhere has two links to one folder outside: it is taken once, under the first name.
func TestFolderLinkedFromElsewhere(t *testing.T) {
	outside := tree(t, "1.png", "deep/2.png")
	root := tree(t, "a.png", "b -> "+outside, "c -> "+outside)
	ds, err := Open(t.Context(), root, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := listing(t, ds, root), []string{"a.png", "b/1.png b", "b/deep/2.png b"}; !slices.Equal(got, want) {
		t.Errorf("listed %q, want %q", got, want)
	}
	if got := problemsOf(t, ds, root); got != nil {
		t.Errorf("problems %q", got)
	}
}

// TestFolderSources keeps paths as the user gave them.
func TestFolderSources(t *testing.T) {
	root := tree(t, "cat/1.png")
	t.Chdir(filepath.Dir(root))
	for name, want := range map[string]string{
		"root": "root/cat/1.png", "./root/": "root/cat/1.png", "root/../root": "root/cat/1.png", "root/cat": "root/cat/1.png",
		"root/cat/1.png": "root/cat/1.png", root: filepath.ToSlash(root) + "/cat/1.png",
	} {
		ds, err := Open(t.Context(), filepath.FromSlash(name), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := filepath.ToSlash(ds.Entry(0).Source); got != want {
			t.Errorf("%s: source %s, want %s", name, got, want)
		}
	}
}

func TestFolderEmpty(t *testing.T) {
	root := tree(t, "a.txt", "sub/b.doc", "sub/c.heic")
	_, err := Open(t.Context(), root, Options{})
	if !errors.Is(err, ErrNoImages) {
		t.Fatalf("error %v, want ErrNoImages", err)
	}
	for _, want := range []string{root, "2 other files", "1 problem", "HEIC"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
}

// TestFolderDamagedImages reads what can be read, and names what cannot.
func TestFolderDamagedImages(t *testing.T) {
	root := tree(t, "good.png")
	writeFile(t, filepath.Join(root, "empty.jpg"), nil)
	writeFile(t, filepath.Join(root, "huge.png"), pngHeader(20_000, 20_000))
	ds, err := Open(t.Context(), root, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var problems []Problem
	loaded, err := Load(t.Context(), ds, 32, 2, func(p Problem) { problems = append(problems, p) })
	if err != nil {
		t.Fatal(err)
	}
	if len(loaded) != 1 || loaded[0].Index != 1 || loaded[0].Entry.Source != filepath.Join(root, "good.png") || loaded[0].Image.Width != 32 {
		t.Errorf("loaded %+v", loaded)
	}
	if len(problems) != 2 || !errors.Is(problems[0], ErrFormat) || !errors.Is(problems[1], ErrTooLarge) ||
		problems[1].Source != filepath.Join(root, "huge.png") {
		t.Errorf("problems %v", problems)
	}
}

func TestFolderNoPermission(t *testing.T) {
	if os.Geteuid() <= 0 {
		t.Skip("everything may be read by this user; TestWalkErrors puts errors in place of the system's")
	}
	root := tree(t, "a.png", "locked/b.png")
	must(os.Chmod(filepath.Join(root, "locked"), 0))
	t.Cleanup(func() { os.Chmod(filepath.Join(root, "locked"), 0o755) })
	ds, err := Open(t.Context(), root, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := listing(t, ds, root); !slices.Equal(got, []string{"a.png"}) {
		t.Errorf("listed %q", got)
	}
	if p := Problems(ds); len(p) != 1 || !errors.Is(p[0], fs.ErrPermission) {
		t.Errorf("problems %v", p)
	}
}

// TestWalkErrors puts errors in place of the system's answers.
func TestWalkErrors(t *testing.T) {
	root := tree(t, "a.png", "locked/b.png", "half/c.png", "half/d.png", "z.png", "link -> locked")
	denied := func(op, path string) error { return &fs.PathError{Op: op, Path: path, Err: fs.ErrPermission} }
	broken := osFileSystem
	broken.readDir = func(path string) ([]fs.DirEntry, error) {
		entries, err := os.ReadDir(path)
		switch filepath.Base(path) {
		case "locked":
			return nil, denied("open", path)
		case "half":
			return entries[:1], denied("readdirent", path)
		}
		return entries, err
	}
	broken.stat = func(path string) (fs.FileInfo, error) {
		if filepath.Base(path) == "link" {
			return nil, denied("stat", path)
		}
		return os.Stat(path)
	}
	ds, err := openFolder(t.Context(), broken, "x", root, "", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := listing(t, ds, root), []string{"a.png", "half/c.png half", "z.png"}; !slices.Equal(got, want) {
		t.Errorf("listed %q, want %q", got, want)
	}
	if got, want := problemsOf(t, ds, root), []string{"half", "link", "locked"}; !slices.Equal(got, want) {
		t.Errorf("problems %q, want %q", got, want)
	}
	for _, p := range Problems(ds) {
		if !errors.Is(p, fs.ErrPermission) {
			t.Errorf("problem %v", p)
		}
	}

	broken.readDir = func(path string) ([]fs.DirEntry, error) { return nil, denied("open", path) }
	if _, err := openFolder(t.Context(), broken, "x", root, "", Options{}); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("a root that cannot be read: %v", err)
	}
	broken = osFileSystem
	broken.evalSymlinks = func(path string) (string, error) {
		if filepath.Base(path) == "link" {
			return "", denied("readlink", path)
		}
		return filepath.EvalSymlinks(path)
	}
	ds, err = openFolder(t.Context(), broken, "x", root, "", Options{})
	if err != nil || len(Problems(ds)) != 1 {
		t.Errorf("a link that cannot be followed: %v, %v", ds, err)
	}
}

// TestFolderManyLinks has links that a naive walk would follow 2^20 times.
func TestFolderManyLinks(t *testing.T) {
	var lines []string
	for level := range 20 {
		lines = append(lines, fmt.Sprintf("d%02d/%d.png", level, level),
			fmt.Sprintf("d%02d/left -> ../d%02d", level, (level+1)%20), fmt.Sprintf("d%02d/right -> ../d%02d", level, (level+1)%20))
	}
	ds, err := Open(t.Context(), tree(t, lines...), Options{})
	if err != nil || ds.Len() != 20 {
		t.Errorf("%d images, %v", ds.Len(), err)
	}
}

// TestFolderDeterministic lists a folder twice, its entries coming in another order.
func TestFolderDeterministic(t *testing.T) {
	root := tree(t, "b/1.png", "a/2.png", "a-b/3.png", "a.png", "c -> b", "B/4.png")
	backwards := osFileSystem
	backwards.readDir = func(path string) ([]fs.DirEntry, error) {
		entries, err := os.ReadDir(path)
		slices.Reverse(entries)
		return entries, err
	}
	one, err := openFolder(t.Context(), osFileSystem, "x", root, "", Options{})
	if err != nil {
		t.Fatal(err)
	}
	two, err := openFolder(t.Context(), backwards, "x", root, "", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if a, b := listing(t, one, root), listing(t, two, root); !slices.Equal(a, b) {
		t.Errorf("%q and %q", a, b)
	}
}

func TestFolderPipe(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no pipes in folders here")
	}
	root := tree(t, "a.png")
	makePipe(t, filepath.Join(root, "b.png"))
	ds, err := Open(t.Context(), root, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := problemsOf(t, ds, root); !slices.Equal(got, []string{"b.png"}) {
		t.Errorf("problems %q", got)
	}
	if _, err := DecodeFile(t.Context(), filepath.Join(root, "b.png"), Options{}); !errors.Is(err, ErrFormat) {
		t.Errorf("reading it: %v", err)
	}
}
