package dataset

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// IDX is the file format of MNIST and of the data sets made in its likeness (Y. LeCun, C. Cortes, C. Burges, The MNIST
// database of handwritten digits, 1998): two zero bytes, a byte for the type of the values (8: unsigned bytes), a byte
// with the number of dimensions, each dimension as a big-endian 32-bit number, and the values, the last dimension
// running fastest. Images have three dimensions (images, rows, columns), labels one.
const (
	idxUnsignedBytes = 8
	maxIDXSide       = DefaultShortSide
	maxIDXBytes      = 1<<31 - 1
	// maxDeflate is how many bytes, at most, one byte of a gzip file becomes: 1,032, and something for a short file.
	maxDeflate = 1100
)

// idxLabelNames is the file that names the classes, where there is one: a name a line, in the order of the label numbers.
const idxLabelNames = "labels.txt"

// idxPair is the files of one part.
type idxPair struct{ split, images, labels string }

// idxImagesName takes apart the name of a file of images: train-images-idx3-ubyte, with a dot in place of the second hyphen
// or without, with .gz behind it or without.
func idxImagesName(name string) (prefix string, ok bool) {
	name = strings.TrimSuffix(name, ".gz")
	for _, ending := range []string{"-images-idx3-ubyte", "-images.idx3-ubyte"} {
		if prefix, ok := strings.CutSuffix(name, ending); ok && prefix != "" {
			return prefix, true
		}
	}
	return "", false
}

// idxPairsIn returns the pairs of IDX files that lie in a folder, the training part first; none where there is no file
// of images.
func idxPairsIn(dir string) ([]idxPair, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, nil // what a folder's listing reports
	}
	defer f.Close()
	found := map[string]string{} // file of images by prefix; unpacked ones win
	for {
		names, err := f.Readdirnames(1024)
		for _, name := range names {
			if prefix, ok := idxImagesName(name); ok && (found[prefix] == "" || !strings.HasSuffix(name, ".gz")) {
				found[prefix] = name
			}
		}
		if err != nil {
			break
		}
	}
	parts := map[string]idxPair{}
	for prefix, name := range found {
		split := ""
		for ending, part := range map[string]string{"train": "train", "test": "test", "t10k": "test"} {
			if prefix == ending || strings.HasSuffix(prefix, "-"+ending) {
				split = part
			}
		}
		path := filepath.Join(dir, name)
		if split == "" {
			return nil, fmt.Errorf("%s: %w: its name must begin with train, test or t10k", path, ErrIDX)
		}
		if other, twice := parts[split]; twice {
			return nil, fmt.Errorf("%s and %s: %w: two parts for %s; put each data set in a folder of its own",
				min(path, other.images), max(path, other.images), ErrIDX, split)
		}
		parts[split] = idxPair{split, path, idxLabelsBeside(path)}
	}
	var out []idxPair
	for _, split := range []string{"train", "test"} {
		if pair, ok := parts[split]; ok {
			out = append(out, pair)
		}
	}
	return out, nil
}

// idxLabelsBeside returns the file of labels that belongs to a file of images, "" where there is none.
func idxLabelsBeside(images string) string {
	dir, name := filepath.Split(images)
	prefix, _ := idxImagesName(name)
	for _, ending := range []string{"-labels-idx1-ubyte", "-labels.idx1-ubyte"} {
		for _, packed := range []string{"", ".gz"} {
			path := filepath.Join(dir, prefix+ending+packed)
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
				return path
			}
		}
	}
	return ""
}

// openIDX reads one part of an IDX folder, or all of them.
func openIDX(ctx context.Context, name, dir, split string, pairs []idxPair) (*idxSet, error) {
	s := &idxSet{name: name, set: filepath.Clean(dir)}
	for _, pair := range pairs {
		if split != "" && pair.split != split {
			continue
		}
		part, err := readIDXPair(ctx, pair)
		if err != nil {
			return nil, contextOr(ctx, err)
		}
		s.parts = append(s.parts, part)
	}
	switch {
	case len(s.parts) == 0:
		return nil, fmt.Errorf("%s: %w: %s has no IDX files for %q", name, ErrNoPart, dir, split)
	case s.Len() == 0:
		return nil, fmt.Errorf("%s: %w in its IDX files", name, ErrNoImages)
	}
	if err := s.nameClasses(filepath.Join(dir, idxLabelNames)); err != nil {
		return nil, err
	}
	return s, nil
}

func readIDXPair(ctx context.Context, pair idxPair) (idxPart, error) {
	dims, pix, err := readIDXFile(ctx, pair.images, 3)
	if err != nil {
		return idxPart{}, err
	}
	part := idxPart{split: pair.split, images: dims[0], height: dims[1], width: dims[2], pix: pix}
	if part.images > 0 && (min(part.height, part.width) < 1 || max(part.height, part.width) > maxIDXSide) {
		return idxPart{}, fmt.Errorf("%s: %w: images of %dx%d, at most %dx%d are read", pair.images, ErrIDX, part.width, part.height,
			maxIDXSide, maxIDXSide)
	}
	if pair.labels == "" {
		return part, nil
	}
	if dims, part.labels, err = readIDXFile(ctx, pair.labels, 1); err != nil {
		return idxPart{}, err
	}
	if dims[0] != part.images {
		return idxPart{}, fmt.Errorf("%s: %w: %d labels for the %d images of %s", pair.labels, ErrIDX, dims[0], part.images, pair.images)
	}
	return part, nil
}

// readIDXFile reads a file of bytes with so many dimensions.
func readIDXFile(ctx context.Context, path string, dims int) ([]int, []byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	sizes, data, err := decodeIDX(contextReader{ctx, f}, info.Size(), dims)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w: %w", path, ErrIDX, err)
	}
	return sizes, data, nil
}

// decodeIDX reads an IDX file of length bytes, packed by gzip or not, whose values are bytes in so many dimensions, and
// returns the dimensions' sizes and the values. What the header claims is held against the length before anything is
// allocated, and memory grows with the bytes that come.
func decodeIDX(r io.Reader, length int64, dims int) ([]int, []byte, error) {
	in := bufio.NewReaderSize(r, 1<<16)
	most := length
	if magic, err := in.Peek(2); err == nil && magic[0] == 0x1f && magic[1] == 0x8b {
		zip, err := gzip.NewReader(in)
		if err != nil {
			return nil, nil, cutShort(err)
		}
		in = bufio.NewReaderSize(zip, 1<<16)
		most = min(length, maxIDXBytes) * maxDeflate
	}
	head := make([]byte, 4+4*dims)
	if _, err := io.ReadFull(in, head[:4]); err != nil {
		return nil, nil, cutShort(err)
	}
	if head[0] != 0 || head[1] != 0 || head[2] != idxUnsignedBytes || int(head[3]) != dims {
		return nil, nil, fmt.Errorf("it begins with %x where 0000%02x%02x is needed", head[:4], idxUnsignedBytes, dims)
	}
	if _, err := io.ReadFull(in, head[4:]); err != nil {
		return nil, nil, cutShort(err)
	}
	sizes, total := make([]int, dims), int64(1)
	for i := range sizes {
		size := int64(binary.BigEndian.Uint32(head[4+4*i:]))
		if size > maxIDXBytes || size > 0 && total > maxIDXBytes/size {
			return nil, nil, fmt.Errorf("it claims more than %d bytes", int64(maxIDXBytes))
		}
		sizes[i] = int(size)
		total *= size
	}
	if total+int64(len(head)) > most {
		return nil, nil, fmt.Errorf("it claims %d values, more than a file of %d bytes can hold", total, length)
	}
	var data bytes.Buffer
	if n, err := io.Copy(&data, io.LimitReader(in, total)); err != nil || n < total {
		if err == nil {
			err = io.EOF
		}
		return nil, nil, cutShort(err)
	}
	switch _, err := in.ReadByte(); { // reading to the end checks gzip's sum, too
	case err == nil:
		return nil, nil, errors.New("there are bytes after its last value")
	case err != io.EOF:
		return nil, nil, cutShort(err)
	}
	return sizes, bytes.Clone(data.Bytes()), nil
}

// cutShort says in words that a file ended too early.
func cutShort(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("it is cut short")
	}
	return err
}
