package dataset

import (
	"context"
	"time"
)

// ID is the number of an image within one collection. IDs count from 0 in the order of insertion and are never reused.
type ID uint64

// Label is the class of an image as its data set names it; the empty Label means that none is known.
type Label string

// Hash is the SHA-256 of an image's content: of the file's bytes for files, of the 3,072 pixel bytes of the record for
// CIFAR-10 and the sample, of a byte a pixel for IDX files.
type Hash [32]byte

// Entry is what is known of an image without decoding it.
type Entry struct {
	// Source says where the image is: a file's path, or a data set's name and position such as "cifar10:test/17".
	// It is unique within a data set and stable between runs.
	Source string
	// Label is the class, or "".
	Label Label
	// Split is "train" or "test" where the data set has parts, otherwise "".
	Split string
	// Size is the file's length in bytes; 0 where the image is no file of its own.
	Size int64
	// ModTime is the file's modification time; zero where the image is no file of its own.
	ModTime time.Time
}

// Sample is one decoded image with its content hash.
type Sample struct {
	Image *Image
	Hash  Hash
}

// Dataset is an ordered, immutable list of images. All methods may be called from several goroutines at once.
type Dataset interface {
	// Name is the data set as the user named it, or a list of names joined by "+" (of a long list its beginning and
	// the number of the others).
	Name() string
	// Len is the number of images.
	Len() int
	// Entry describes image i, 0 <= i < Len(), without decoding it.
	Entry(i int) Entry
	// Read decodes image i. An image that cannot be decoded gives an error that names its source; the others stay
	// readable. The caller may keep and change the image.
	Read(ctx context.Context, i int) (Sample, error)
	// Close releases files and buffers.
	Close() error
}
