package dataset

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// fileSystem is what a walk asks of the operating system; tests put errors in its place.
type fileSystem struct {
	readDir      func(path string) ([]fs.DirEntry, error)
	stat         func(path string) (fs.FileInfo, error)
	evalSymlinks func(path string) (string, error)
}

var osFileSystem = fileSystem{os.ReadDir, os.Stat, filepath.EvalSymlinks}

// foundFile is an image file by its name: its path below the root, with slashes.
type foundFile struct {
	path string
	info fs.FileInfo
}

// walker lists the image files below a folder. Links are followed: a link to a file is a file of its own, a linked
// folder is listed under the link's name unless it is listed anyway, and a link to a folder around itself is a problem.
type walker struct {
	fs       fileSystem
	root     string
	files    []foundFile
	problems []Problem
	ignored  int

	visited map[string]bool // real paths of the folders listed
	links   []linkedFolder  // links to folders, put off until all real folders are listed
}

type linkedFolder struct {
	path   string // below the root
	target string // real path
}

// walk lists the image files below root, sorted by their paths.
func walk(ctx context.Context, fsys fileSystem, root string) (*walker, error) {
	w := &walker{fs: fsys, root: root, visited: map[string]bool{}}
	real, err := w.realPath(root)
	if err != nil {
		return nil, err
	}
	if err := w.folder(ctx, "", real); err != nil {
		return nil, err
	}
	for len(w.links) > 0 {
		links := w.links
		w.links = nil
		slices.SortFunc(links, func(a, b linkedFolder) int { return cmp.Compare(a.path, b.path) })
		for _, link := range links {
			if err := w.folder(ctx, link.path, link.target); err != nil {
				return nil, err
			}
		}
	}
	slices.SortFunc(w.files, func(a, b foundFile) int { return cmp.Compare(a.path, b.path) })
	slices.SortStableFunc(w.problems, func(a, b Problem) int { return cmp.Compare(a.Source, b.Source) })
	return w, nil
}

// folder lists one folder and those in it: path is its place below the root, real where it really is. Only the root's
// own error and the context's end the walk.
func (w *walker) folder(ctx context.Context, path, real string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if w.visited[real] {
		return nil
	}
	w.visited[real] = true
	entries, err := w.fs.readDir(w.join(path))
	if err != nil {
		if path == "" {
			return err
		}
		w.problem(path, err) // what could be listed before the error is still taken
	}
	for _, entry := range entries {
		name := entry.Name()
		below := name
		if path != "" {
			below = path + "/" + name
		}
		switch {
		case strings.HasPrefix(name, "."):
			if !entry.IsDir() {
				w.ignored++
			}
		case entry.Type()&fs.ModeSymlink != 0:
			w.link(below, real)
		case entry.IsDir():
			if err := w.folder(ctx, below, filepath.Join(real, name)); err != nil {
				return err
			}
		default:
			info, err := entry.Info()
			w.file(below, info, err)
		}
	}
	return nil
}

// link follows a link that lies in the folder whose real path is inside.
func (w *walker) link(path, inside string) {
	info, err := w.fs.stat(w.join(path))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) && kindByName(path) == notImage {
			w.ignored++ // a broken link that has nothing to do with images
			return
		}
		w.problem(path, fmt.Errorf("follow link: %w", err))
		return
	}
	if !info.IsDir() {
		w.file(path, info, nil)
		return
	}
	target, err := w.realPath(w.join(path))
	if err != nil {
		w.problem(path, fmt.Errorf("follow link: %w", err))
		return
	}
	if target == inside || strings.HasPrefix(inside, strings.TrimSuffix(target, string(filepath.Separator))+string(filepath.Separator)) {
		w.problem(path, fmt.Errorf("the link leads back to %s, which holds it: not followed", target))
		return
	}
	w.links = append(w.links, linkedFolder{path, target})
}

// file takes in one file by its name.
func (w *walker) file(path string, info fs.FileInfo, err error) {
	kind := kindByName(path)
	switch {
	case kind == notImage:
		w.ignored++
	case err != nil:
		w.problem(path, err)
	case !info.Mode().IsRegular():
		w.problem(path, fmt.Errorf("%w: not a regular file", ErrFormat))
	case kind != "":
		w.problem(path, fmt.Errorf("%w: %s is not read here; convert it to JPEG or PNG", ErrFormat, kind))
	default:
		w.files = append(w.files, foundFile{path, info})
	}
}

func (w *walker) problem(path string, err error) {
	source := w.join(path)
	w.problems = append(w.problems, Problem{Source: source, Err: named(source, err)})
}

// join gives the path of something below the root as the user would write it.
func (w *walker) join(path string) string { return filepath.Join(w.root, filepath.FromSlash(path)) }

// realPath resolves all links of a path and makes it absolute.
func (w *walker) realPath(path string) (string, error) {
	real, err := w.fs.evalSymlinks(path)
	if err != nil {
		return "", err
	}
	return filepath.Abs(real)
}

// notImage is the kind of a file whose name does not end like an image's.
const notImage = "-"

// kindByName tells from a file's name what it holds: "" an image that is read, the name of a format that is not, or
// notImage.
func kindByName(path string) string {
	extension := strings.ToLower(filepath.Ext(path))
	for _, f := range formats {
		if slices.Contains(f.extensions, extension) {
			return ""
		}
	}
	for _, f := range foreign {
		if slices.Contains(f.extensions, extension) {
			return f.name
		}
	}
	return notImage
}
