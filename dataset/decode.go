package dataset

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"image"
	"io"
	"io/fs"
	"os"
	"strings"
)

// DecodeFile reads one image file: JPEG, PNG, GIF, WebP, BMP or TIFF, whatever its name ends with; of an animation the
// first frame. The picture stands upright as its EXIF orientation says, transparent pixels are laid over white, and its
// shorter side is at most [Options.ShortSide] pixels (its longer side at most 2,048: longer pictures lose their ends).
// The hash is that of the file's bytes.
//
// The header is checked before anything is allocated. Decoding waits for its turn while other goroutines decode pictures
// that take much memory.
//
// Errors: [ErrFormat], [ErrDamaged], [ErrTooLarge], those of the file system and of the context; their text names the
// file.
func DecodeFile(ctx context.Context, path string, opts Options) (Sample, error) {
	if err := opts.validate(); err != nil {
		return Sample{}, err
	}
	opts = opts.withDefaults()
	data, release, err := readImageFile(ctx, path, opts)
	if err != nil {
		return Sample{}, named(path, err)
	}
	defer release()
	img, err := decodePicture(data, opts)
	if err != nil {
		return Sample{}, named(path, err)
	}
	return Sample{Image: img, Hash: sha256.Sum256(data)}, nil
}

// DecodeBytes decodes an image file that is in memory, as [DecodeFile] does. Data is not kept.
func DecodeBytes(data []byte, opts Options) (Sample, error) {
	if err := opts.validate(); err != nil {
		return Sample{}, err
	}
	opts = opts.withDefaults()
	if int64(len(data)) > opts.MaxBytes {
		return Sample{}, fmt.Errorf("%w: %d bytes, allowed are %d", ErrTooLarge, len(data), opts.MaxBytes)
	}
	img, err := decodePicture(data, opts)
	if err != nil {
		return Sample{}, err
	}
	return Sample{Image: img, Hash: sha256.Sum256(data)}, nil
}

// named puts the path before an error that does not name it yet.
func named(path string, err error) error {
	var pathError *fs.PathError
	if errors.As(err, &pathError) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("%s: %w", path, err)
}

// readImageFile checks an image file's header and reads all of it when there is memory for decoding it. The caller
// calls release when that is done.
func readImageFile(ctx context.Context, path string, opts Options) (data []byte, release func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	// Asked before opening: to open a pipe would wait for its other end.
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%w: not a regular file", ErrFormat)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	if info.Size() > opts.MaxBytes {
		return nil, nil, fmt.Errorf("%w: %d bytes, allowed are %d", ErrTooLarge, info.Size(), opts.MaxBytes)
	}
	format, config, err := readHeader(f, opts)
	if err != nil {
		return nil, nil, err
	}
	progressive := false
	if format.name == "JPEG" {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return nil, nil, err
		}
		progressive = isProgressive(bufio.NewReader(f))
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, nil, err
	}
	weight := decodingWeight(format, config, info.Size(), progressive)
	if err := decoding.Acquire(ctx, weight); err != nil {
		return nil, nil, err
	}
	data = make([]byte, info.Size())
	n, err := io.ReadFull(f, data)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) { // a file that has shrunk since is decoded as it is
		decoding.Release(weight)
		return nil, nil, err
	}
	return data[:n], func() { decoding.Release(weight) }, nil
}

// readHeader recognises the format of r and checks the size that its header gives.
func readHeader(r io.ReadSeeker, opts Options) (f *format, config image.Config, err error) {
	head := make([]byte, sniffLength)
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, config, err
	}
	if f, err = recognise(head[:n]); err != nil {
		return nil, config, err
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return nil, config, err
	}
	if err := guard(f, func() (err error) { config, err = f.config(r); return }); err != nil {
		return nil, config, err
	}
	return f, config, checkSize(f, config, opts)
}

// recognise finds the format by a file's first bytes.
func recognise(head []byte) (*format, error) {
	if f := formatOf(head); f != nil {
		return f, nil
	}
	if len(head) == 0 {
		return nil, fmt.Errorf("%w: the file is empty", ErrFormat)
	}
	if name := foreignName(head); name != "" {
		return nil, fmt.Errorf("%w: %s is not read here; convert it to JPEG or PNG", ErrFormat, name)
	}
	return nil, fmt.Errorf("%w: none of %s", ErrFormat, formatNames())
}

func formatNames() string {
	names := make([]string, len(formats))
	for i, f := range formats {
		names[i] = f.name
	}
	return strings.Join(names, ", ")
}

// checkSize refuses a picture by the size in its header.
func checkSize(f *format, config image.Config, opts Options) error {
	if config.Width <= 0 || config.Height <= 0 {
		return fmt.Errorf("%w: %s of %dx%d pixels", ErrDamaged, f.name, config.Width, config.Height)
	}
	if int64(config.Width)*int64(config.Height) > int64(opts.MaxPixels) {
		return fmt.Errorf("%w: %dx%d pixels, allowed are %d million", ErrTooLarge, config.Width, config.Height, opts.MaxPixels/1e6)
	}
	return nil
}

// decodePicture decodes a whole image file. Opts has its defaults filled in.
func decodePicture(data []byte, opts Options) (*Image, error) {
	f, _, err := readHeader(bytes.NewReader(data), opts)
	if err != nil {
		return nil, err
	}
	var img *Image
	err = guard(f, func() error {
		picture, err := f.decode(bytes.NewReader(data))
		if err != nil {
			return err
		}
		if img = reduced(picture, opts.ShortSide); img == nil {
			return errors.New("no pixels")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return readOrientation(bytes.NewReader(data), f.meta).apply(img), nil
}

// guard calls a decoder that is not ours. Its errors become [ErrDamaged], and so does its panic: one file that trips a
// decoder must not end the reading of a million others.
func guard(f *format, decode func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %s decoder: %v", ErrDamaged, f.name, r)
		}
	}()
	err = decode()
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: %s file is cut short", ErrDamaged, f.name)
	default:
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
}
