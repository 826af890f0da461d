package main

import (
	"errors"
	"io/fs"

	"imgsearch/embedder"
	"imgsearch/search"
)

// missingFile is a missing index or encoder; other missing files, an image or a data set, are failures.
type missingFile struct{ error }

func (e missingFile) Unwrap() error { return e.error }

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

// orMissing marks an error about a file that is not there as one about an index or an encoder.
func orMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return missingFile{err}
	}
	return err
}
