package training

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
)

// CorpusOptions says where the decoded images are while a run lasts. The weights do not depend on it.
type CorpusOptions struct {
	// Memory is how many bytes the decoded images may take, 3*Size*Size each; the net and its batches come on top. Above
	// it, the images are decoded once into the file that [ImagesPath] names and read from there as the steps want them;
	// the run removes the file when it ends in any orderly way, an interruption included, and a resume decodes them
	// again. 0 is a quarter of the machine's memory, and 4 GiB where that is not known; negative is no limit.
	Memory int64
}

func (o CorpusOptions) limit() int64 {
	if o.Memory != 0 {
		return o.Memory
	}
	if total := machineMemory(); total > 0 {
		return total / 4
	}
	return 4 << 30
}

// ImagesPath returns where a run with the encoder file out keeps decoded images that do not fit in memory. A run without
// an encoder file uses a file in the folder for temporary files, named imgsearch-*.images.
func ImagesPath(out string) string { return out + ".images" }

// imagesMagic begins a file of images, so that no other file is ever taken for one and overwritten. There is nothing else
// to read from a file that a killed run left.
const imagesMagic = "imgsearch images of a run\n\x00\r\n"

// imageFile holds equally long images in a file.
type imageFile struct {
	path   string
	file   *os.File
	length int // of an image, in bytes
	out    *bufio.Writer
	failed atomic.Pointer[error] // the first error of read
}

// createImageFile makes an empty file beside the encoder file, in place of what a killed run left there.
func createImageFile(encoder string, length int) (*imageFile, error) {
	var file *os.File
	var err error
	if encoder == "" {
		file, err = os.CreateTemp("", "imgsearch-*.images")
	} else {
		path := ImagesPath(encoder)
		if err := checkImageFile(path); err != nil {
			return nil, err
		}
		file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("create a file for decoded images: %w", err)
	}
	f := &imageFile{path: file.Name(), file: file, length: length, out: bufio.NewWriterSize(file, 1<<20)}
	_, _ = f.out.WriteString(imagesMagic) // an error comes back with the next ones
	return f, nil
}

// checkImageFile refuses to write over what is no file of images.
func checkImageFile(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("create a file for decoded images: %w", err)
	}
	if info.Mode().IsRegular() {
		f, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("create a file for decoded images: %w", err)
		}
		defer f.Close()
		head := make([]byte, len(imagesMagic))
		n, err := io.ReadFull(f, head)
		// One that was killed at once has only a beginning of the magic, or nothing.
		if string(head[:n]) == imagesMagic[:n] && (err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) {
			return nil
		}
	}
	return fmt.Errorf("%s %w and holds no decoded images: choose another name for the encoder, or give the images more memory", path, ErrExists)
}

// add appends an image.
func (f *imageFile) add(pix []uint8) error {
	if _, err := f.out.Write(pix); err != nil {
		return fmt.Errorf("write decoded images: %w", err)
	}
	return nil
}

// flush makes all images readable.
func (f *imageFile) flush() error {
	if err := f.out.Flush(); err != nil {
		return fmt.Errorf("write decoded images: %w", err)
	}
	f.out = nil
	return nil
}

// read returns image i. Where that fails the image is black, and err tells; what was made of it must not be used.
func (f *imageFile) read(i int) []uint8 {
	pix := make([]uint8, f.length)
	if _, err := f.file.ReadAt(pix, int64(len(imagesMagic))+int64(i)*int64(f.length)); err != nil {
		err = fmt.Errorf("read decoded images from %s: %w", f.path, err)
		f.failed.CompareAndSwap(nil, &err)
		clear(pix)
	}
	return pix
}

// all returns a reader of all images, one after another.
func (f *imageFile) all(images int) io.Reader {
	return io.NewSectionReader(f.file, int64(len(imagesMagic)), int64(images)*int64(f.length))
}

func (f *imageFile) err() error {
	if err := f.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// remove closes the file and removes it.
func (f *imageFile) remove() {
	_ = f.file.Close()
	_ = os.Remove(f.path)
}

// machineMemory returns the bytes of memory that the process can have, 0 where that is not known: on Linux those of the
// machine, or of the process's control group where it has fewer.
func machineMemory() int64 {
	total := int64(0)
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "MemTotal:" && fields[2] == "kB" {
				kilobytes, _ := strconv.ParseInt(fields[1], 10, 48)
				total = kilobytes << 10
			}
		}
	}
	for _, path := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		if text, err := os.ReadFile(path); err == nil {
			if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && n > 0 && (total == 0 || n < total) {
				total = n
			}
		}
	}
	return total
}
