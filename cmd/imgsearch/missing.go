package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"imgsearch/embedder"
	"imgsearch/search"
)

// missingFile is a missing index or encoder; other missing files, an image or a data set, are failures.
type missingFile struct{ text string }

func (e missingFile) Error() string { return e.text }

// isMissingArtefact tells whether an index or an encoder is missing, is none, or was written by another version.
func isMissingArtefact(err error) bool {
	var missing missingFile
	if errors.As(err, &missing) {
		return true
	}
	for _, target := range []error{
		search.ErrNotExist, search.ErrNotCollection, search.ErrVersion, search.ErrEncoder,
		embedder.ErrFormat, embedder.ErrVersion,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// requireIndex is an error when no collection lies at path, in words for the command line.
func requireIndex(path string) error {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return missingFile{fmt.Sprintf("there is no collection %s: make it with: imgsearch index PHOTOS --index %s", path, word(path))}
	}
	return nil
}

// loadEncoder reads an encoder file, or returns the built-in encoder where path is empty.
func loadEncoder(path string) (*embedder.Encoder, error) {
	if path == "" {
		return embedder.Shipped()
	}
	encoder, err := embedder.Load(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, missingFile{fmt.Sprintf("there is no encoder %s: make it with: imgsearch train --data PHOTOS --out %s", path, word(path))}
	}
	return encoder, err
}
