package dataset

import (
	"errors"
	"io"

	"github.com/bep/imagemeta"
)

// orientation says how a stored picture must be turned to stand upright, as EXIF counts: 1 is upright, 2 to 8 are the
// flips and turns.
type orientation int

const upright orientation = 1

// readOrientation looks for the EXIF orientation in an image file. Metadata that is missing, damaged or makes no sense
// means upright: it is no reason to refuse the picture.
func readOrientation(r io.ReadSeeker, kind imagemeta.ImageFormat) orientation {
	found := upright
	if kind == imagemeta.ImageFormatAuto {
		return found
	}
	_, err := imagemeta.Decode(imagemeta.Options{
		R:           r,
		ImageFormat: kind,
		Sources:     imagemeta.EXIF,
		ShouldHandleTag: func(tag imagemeta.TagInfo) bool {
			return tag.Tag == "Orientation" && tag.Namespace == "IFD0"
		},
		HandleTag: func(tag imagemeta.TagInfo) error {
			if v := orientationValue(tag.Value); v >= 1 && v <= 8 {
				found = v
			}
			return imagemeta.ErrStopWalking
		},
	})
	if err != nil && !errors.Is(err, imagemeta.ErrStopWalking) {
		return upright
	}
	return found
}

// orientationValue reads a tag that should be a 16-bit number, which not all writers heed; 0 is none.
func orientationValue(value any) orientation {
	switch v := value.(type) {
	case uint8:
		return orientation(v)
	case uint16:
		return orientation(v)
	case uint32:
		return orientation(min(v, 9))
	}
	return 0
}

// swaps tells whether width and height change places.
func (o orientation) swaps() bool { return o >= 5 }

// apply returns the picture upright.
func (o orientation) apply(m *Image) *Image {
	if o <= upright || o > 8 {
		return m
	}
	out := NewImage(m.Width, m.Height)
	if o.swaps() {
		out.Width, out.Height = m.Height, m.Width
	}
	right, bottom := m.Width-1, m.Height-1
	for y := range out.Height {
		for x := range out.Width {
			var fromX, fromY int
			switch o {
			case 2: // mirrored
				fromX, fromY = right-x, y
			case 3: // upside down
				fromX, fromY = right-x, bottom-y
			case 4: // upside down and mirrored
				fromX, fromY = x, bottom-y
			case 5: // transposed
				fromX, fromY = y, x
			case 6: // turned left; a quarter turn right makes it upright
				fromX, fromY = y, bottom-x
			case 7: // transposed over the other diagonal
				fromX, fromY = right-y, bottom-x
			case 8: // turned right
				fromX, fromY = right-y, x
			}
			to, from := 3*(y*out.Width+x), 3*(fromY*m.Width+fromX)
			copy(out.Pix[to:to+3], m.Pix[from:from+3])
		}
	}
	return out
}
