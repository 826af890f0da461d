package dataset

import "fmt"

// Options say how images are read. The zero value means the defaults.
type Options struct {
	// MaxPixels is the largest picture that is decoded, in pixels as its header gives them; a larger one gives
	// [ErrTooLarge] before anything is allocated. Default 100,000,000. Raising it raises the memory that one picture can
	// take, up to some 16 bytes a pixel.
	MaxPixels int
	// MaxBytes is the longest image file that is read. Default 512 MiB.
	MaxBytes int64
	// ShortSide is what Read reduces the shorter side of a picture to; smaller pictures stay as they are. Default 256.
	// Raising it makes thumbnails sharper and collections and memory larger.
	ShortSide int
}

// The defaults of [Options].
const (
	DefaultMaxPixels = 100_000_000
	DefaultMaxBytes  = 512 << 20
	DefaultShortSide = 256
)

func (o Options) withDefaults() Options {
	if o.MaxPixels == 0 {
		o.MaxPixels = DefaultMaxPixels
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.ShortSide == 0 {
		o.ShortSide = DefaultShortSide
	}
	return o
}

// validate names the first field that makes no sense.
func (o Options) validate() error {
	switch {
	case o.MaxPixels < 0:
		return fmt.Errorf("dataset options: MaxPixels is %d, must be at least 0 (0: %d)", o.MaxPixels, DefaultMaxPixels)
	case o.MaxBytes < 0:
		return fmt.Errorf("dataset options: MaxBytes is %d, must be at least 0 (0: %d)", o.MaxBytes, DefaultMaxBytes)
	case o.ShortSide < 0:
		return fmt.Errorf("dataset options: ShortSide is %d, must be at least 0 (0: %d)", o.ShortSide, DefaultShortSide)
	}
	return nil
}
