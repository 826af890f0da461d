package dataset

// Image is an RGB picture: Pix holds Height rows of Width pixels of three bytes (red, green, blue), without padding.
type Image struct {
	Width, Height int
	// Pix is [Height, Width, 3] uint8, sRGB values.
	Pix []uint8
}

// NewImage returns a black image. Width and height must be positive.
func NewImage(width, height int) *Image {
	return &Image{Width: width, Height: height, Pix: make([]uint8, 3*width*height)}
}
