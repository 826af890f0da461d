package patches

import "fmt"

// Images are square images of one size.
type Images struct {
	// Pix is [n, Side, Side, 3], row by row: red, green, blue.
	Pix []uint8
	// Side is the width and the height in pixels.
	Side int
}

// Len is the number of images.
func (m Images) Len() int { return len(m.Pix) / (3 * m.Side * m.Side) }

func (m Images) check() error {
	if m.Side < 2 || len(m.Pix)%(3*m.Side*m.Side) != 0 {
		return fmt.Errorf("%w: %d values for images of %d x %d x 3", ErrImages, len(m.Pix), m.Side, m.Side)
	}
	return nil
}

func (m Images) image(i int) []uint8 {
	size := 3 * m.Side * m.Side
	return m.Pix[i*size:][:size]
}

// lattice is where the patches of an image lie.
type lattice struct {
	side, patch, stride int
	across              int // patches in a row of them, and rows
	dim                 int // values of a patch
}

func newLattice(side, patch, stride int) lattice {
	return lattice{side, patch, stride, (side-patch)/stride + 1, 3 * patch * patch}
}

func (l lattice) patches() int { return l.across * l.across }

// cut writes all patches of an image, row by row of the lattice, to out, [patches, dim], each less its mean. With mirror the image is turned left to right first.
func (l lattice) cut(image []uint8, mirror bool, out []float32) {
	for p := range l.patches() {
		l.cutOne(image, p, mirror, out[p*l.dim:][:l.dim])
	}
}

func (l lattice) cutOne(image []uint8, p int, mirror bool, out []float32) {
	top, left := p/l.across*l.stride, p%l.across*l.stride
	sum := 0
	at := 0
	for y := range l.patch {
		row := image[(top+y)*l.side*3:][:l.side*3]
		for x := range l.patch {
			from := left + x
			if mirror {
				from = l.side - 1 - from
			}
			for _, v := range row[from*3:][:3] {
				sum += int(v)
				out[at] = float32(v)
				at++
			}
		}
	}
	mean := float32(sum) / float32(l.dim)
	for i := range out {
		out[i] -= mean
	}
}

// cells gives the cell of a grid x grid division that each patch lies in.
func (l lattice) cells(grid int) []int {
	out := make([]int, l.patches())
	for p := range out {
		out[p] = p/l.across*grid/l.across*grid + p%l.across*grid/l.across
	}
	return out
}
