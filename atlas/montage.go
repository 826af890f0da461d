package atlas

import (
	"image"
	"image/color"

	"imgsearch/dataset"
)

// maxMontage is how many pictures a montage shows.
const maxMontage = 9

// Montage lays several pictures into one square of side pixels, those of unlike struck out. Of more than nine, the first
// are shown, as many of either as there is room for. A picture that is nil is an empty box.
func Montage(like, unlike []*dataset.Image, side int) *dataset.Image {
	if room := maxMontage - min(len(unlike), maxMontage/3); len(like) > room {
		like = like[:room]
	}
	unlike = unlike[:min(len(unlike), maxMontage-len(like))]
	across := 1
	for across*across < len(like)+len(unlike) {
		across++
	}
	img := image.NewRGBA(image.Rect(0, 0, side, side))
	fill(img, img.Rect, paperColour)
	for i := range len(like) + len(unlike) {
		box := image.Rect(i%across*side/across, i/across*side/across, (i%across+1)*side/across, (i/across+1)*side/across)
		if across > 1 {
			box = box.Inset(1)
		}
		var m *dataset.Image
		if i < len(like) {
			m = like[i]
		} else {
			m = unlike[i-len(like)]
		}
		if m == nil || m.Width <= 0 || m.Height <= 0 {
			fill(img, box, emptyColour)
		} else {
			drawPicture(img, box, m)
		}
		if i >= len(like) {
			strike(img, box)
		}
	}
	return dataset.FromImage(img)
}

// strike draws a line with a white edge from corner to corner.
func strike(img *image.RGBA, box image.Rectangle) {
	thick := max(2, box.Dx()/16)
	for _, line := range []struct {
		half   int
		colour color.RGBA
	}{{thick/2 + 1, paperColour}, {(thick + 1) / 2, mismatchColour}} {
		for x := box.Min.X; x < box.Max.X; x++ {
			y := box.Max.Y - 1 - (x-box.Min.X)*(box.Dy()-1)/max(box.Dx()-1, 1)
			fill(img, image.Rect(x, y-line.half, x+1, y+line.half).Intersect(box), line.colour)
		}
	}
}
