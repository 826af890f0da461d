package dataset

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"golang.org/x/sync/errgroup"
)

// openCIFARArchive reads and checks the batches of one part (or of both) in the .tar.gz at file, unpacking it once.
func openCIFARArchive(ctx context.Context, name, file, split string, batches []batch) (*recordSet, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	runs, err := readCIFARArchive(ctx, f, file, batchesOf(batches, split))
	if err != nil {
		return nil, err
	}
	return newRecordSet(name, "cifar10", runs)
}

// readCIFARArchive unpacks the wanted batches from r and checks them. It stops as soon as it has them all, and never
// allocates more than the published length of each. File is named in errors.
func readCIFARArchive(ctx context.Context, r io.Reader, file string, wanted []batch) ([]recordRun, error) {
	damaged := func(err error) error {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errors.New("it is cut short")
		}
		return fmt.Errorf("%s: %w: %w; get the archive again", file, ErrArchive, err)
	}
	zip, err := gzip.NewReader(bufio.NewReaderSize(contextReader{ctx, r}, 1<<20))
	if err != nil {
		return nil, contextOr(ctx, damaged(err))
	}
	runs := make([]recordRun, len(wanted))
	var checks errgroup.Group // a batch is checked while the next one is unpacked
	missing := len(wanted)
	unpack := func() error {
		archive := tar.NewReader(zip)
		for missing > 0 {
			header, err := archive.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				return damaged(err)
			}
			i := batchIndex(wanted, path.Base(header.Name))
			if i < 0 || header.Typeflag != tar.TypeReg || runs[i].data != nil {
				continue
			}
			member := file + "/" + header.Name
			if err := wanted[i].checkSize(member, header.Size); err != nil {
				return err
			}
			data := make([]byte, wanted[i].length)
			if _, err := io.ReadFull(archive, data); err != nil {
				return damaged(err)
			}
			runs[i] = recordRun{split: wanted[i].split, data: data}
			missing--
			checks.Go(func() error { return wanted[i].check(member, data) })
		}
		for i, b := range wanted {
			if runs[i].data == nil {
				return fmt.Errorf("%s: %w: no %s inside; expected the binary version of CIFAR-10, %s", file, ErrBatchMissing,
					b.file, cifarArchive)
			}
		}
		return nil
	}
	err = unpack()
	if checked := checks.Wait(); err == nil {
		err = checked
	}
	if err != nil {
		return nil, contextOr(ctx, err)
	}
	return runs, nil
}

func batchIndex(batches []batch, file string) int {
	for i, b := range batches {
		if b.file == file {
			return i
		}
	}
	return -1
}

// contextReader gives up when its context is done.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// contextOr returns the context's error when it is done, otherwise err: what fails after an interruption fails by it.
func contextOr(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
