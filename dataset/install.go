package dataset

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// install checks the archive at path and unpacks its batches to the folder final, which appears whole or not at all.
// Origin is what errors about the content name.
func (g *getter) install(ctx context.Context, archive, origin, final string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	counted := &countingReader{r: f, report: func(n int64) {
		if g.From != "" {
			g.Progress(n, info.Size())
		}
	}}
	runs, err := readCIFARArchive(ctx, counted, origin, g.batches)
	if err != nil {
		return err
	}
	temporary := final + ".part"
	if err := os.RemoveAll(temporary); err != nil { // of a call that was killed
		return err
	}
	if err := os.Mkdir(temporary, 0o755); err != nil {
		return err
	}
	defer os.RemoveAll(temporary)
	for i, b := range g.batches {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := g.write(filepath.Join(temporary, b.file), runs[i].data); err != nil {
			return fmt.Errorf("unpack %s: %w%s", origin, err, roomHint(err))
		}
	}
	names := make([]string, 0, len(cifarLabels))
	for _, label := range cifarLabels {
		names = append(names, string(label))
	}
	if err := g.write(filepath.Join(temporary, "batches.meta.txt"), []byte(strings.Join(names, "\n")+"\n")); err != nil {
		return err
	}
	if err := g.clear(final); err != nil {
		return err
	}
	if err := os.Rename(temporary, final); err != nil {
		return err
	}
	syncFolder(g.Dir)
	return nil
}

// clear removes a folder of batches that are not CIFAR-10, or get would have ended; only what a call of ours could have
// put there, for the folder is in a place that the user may have named.
func (g *getter) clear(final string) error {
	for _, b := range g.batches {
		_ = os.Remove(filepath.Join(final, b.file))
	}
	for _, file := range []string{"batches.meta.txt", "readme.html"} {
		_ = os.Remove(filepath.Join(final, file))
	}
	if err := os.Remove(final); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w; it is in the way of the data set: move it away and try again", err)
	}
	return nil
}

// syncFolder makes a rename last through a power failure, where the system can do that for folders.
func syncFolder(dir string) {
	if f, err := os.Open(dir); err == nil {
		_ = f.Sync()
		f.Close()
	}
}

// write makes a file that is on the disk when write returns.
func (g *getter) write(path string, data []byte) error {
	f, err := g.fs.create(path)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}

// countingReader reports how many bytes have passed.
type countingReader struct {
	r      io.Reader
	n      int64
	report func(n int64)
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	c.report(c.n)
	return n, err
}
