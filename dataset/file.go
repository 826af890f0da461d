package dataset

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// openFile makes a data set of one image file. A file named like an image is taken as one, and decoding it will show
// what it is worth; any other must begin like one.
func openFile(name, path string, info fs.FileInfo, opts Options) (Dataset, error) {
	path = filepath.Clean(path)
	if kindByName(path) == notImage {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		head := make([]byte, sniffLength)
		n, err := io.ReadFull(f, head)
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return nil, err
		}
		if _, err := recognise(head[:n]); err != nil {
			return nil, fmt.Errorf("%s: %w; %s", path, err, accepted)
		}
	}
	entry := Entry{Source: path, Size: info.Size(), ModTime: info.ModTime()}
	return &files{name: name, entries: []Entry{entry}, opts: opts}, nil
}
