package dataset

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// cifarFolderAt returns the folder that holds the batches when dir is such a folder or its parent.
func cifarFolderAt(dir string, batches []batch) (string, bool) {
	for _, candidate := range []string{dir, filepath.Join(dir, cifarFolder)} {
		for _, b := range batches {
			if info, err := os.Stat(filepath.Join(candidate, b.file)); err == nil && info.Mode().IsRegular() {
				return candidate, true
			}
		}
	}
	return "", false
}

// openCIFARFolder reads and checks the batches of one part (or of both) in dir.
func openCIFARFolder(ctx context.Context, name, dir, split string, batches []batch) (*recordSet, error) {
	wanted := batchesOf(batches, split)
	runs := make([]recordRun, len(wanted))
	err := inParallel(ctx, len(wanted), 2, func(i int) error {
		b, path := wanted[i], filepath.Join(dir, wanted[i].file)
		data, err := readBatch(path, b)
		runs[i] = recordRun{split: b.split, data: data}
		return err
	})
	if err != nil {
		return nil, err
	}
	return newRecordSet(name, "cifar10", runs)
}

// readBatch reads one batch; the length is checked before anything is allocated.
func readBatch(path string, b batch) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w; unpack the whole archive again", path, ErrBatchMissing)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := b.checkSize(path, info.Size()); err != nil {
		return nil, err
	}
	data := make([]byte, b.length)
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return data, b.check(path, data)
}
