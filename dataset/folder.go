package dataset

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
)

// files is a data set of image files: those of a folder, or a single one.
type files struct {
	name    string
	entries []Entry
	opts    Options
	left    []Problem
	passed  int
}

func (f *files) Name() string        { return f.name }
func (f *files) Len() int            { return len(f.entries) }
func (f *files) Entry(i int) Entry   { return f.entries[i] }
func (f *files) Close() error        { return nil }
func (f *files) problems() []Problem { return f.left }
func (f *files) ignored() int        { return f.passed }

func (f *files) Read(ctx context.Context, i int) (Sample, error) {
	return DecodeFile(ctx, f.entries[i].Source, f.opts)
}

// openFolder lists the images below a folder. Split, if not empty, takes only that part.
func openFolder(ctx context.Context, fsys fileSystem, name, root, split string, opts Options) (Dataset, error) {
	root = filepath.Clean(root)
	w, err := walk(ctx, fsys, root)
	if err != nil {
		return nil, err
	}
	ds := &files{name: name, opts: opts, left: w.problems, passed: w.ignored}
	parts := haveParts(w.files)
	if split != "" && !parts {
		return nil, fmt.Errorf("%s: %w: %s has no folder %q that holds images", name, ErrNoPart, root, split)
	}
	for _, file := range w.files {
		entry := Entry{Source: w.join(file.path), Size: file.info.Size(), ModTime: file.info.ModTime()}
		folders := strings.Split(file.path, "/")
		folders = folders[:len(folders)-1]
		if parts {
			entry.Split, folders = folders[0], folders[1:]
		}
		if len(folders) > 0 {
			entry.Label = Label(folders[0])
		}
		if split == "" || entry.Split == split {
			ds.entries = append(ds.entries, entry)
		}
	}
	if len(ds.entries) == 0 {
		return nil, noImages(name, ds)
	}
	return ds, nil
}

// haveParts tells whether all images lie in folders named train and test.
func haveParts(found []foundFile) bool {
	for _, file := range found {
		if first, _, below := strings.Cut(file.path, "/"); !below || first != "train" && first != "test" {
			return false
		}
	}
	return len(found) > 0
}

// noImages says what was found instead of images.
func noImages(name string, ds *files) error {
	names := make([]string, 0, 16)
	for _, f := range formats {
		names = append(names, f.extensions[0])
	}
	err := fmt.Errorf("%s: %w in it or below it (files ending in %s and the like)", name, ErrNoImages, strings.Join(names, ", "))
	if ds.passed > 0 {
		err = fmt.Errorf("%w; %d other files were passed over", err, ds.passed)
	}
	if len(ds.left) > 0 {
		err = fmt.Errorf("%w; %d problems, the first: %w", err, len(ds.left), ds.left[0])
	}
	return err
}
