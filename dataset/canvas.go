package dataset

import (
	"image"
	"image/color"
)

// canvas is a picture of a given size, transparent outside the frame that lies on it.
type canvas struct {
	frame image.Image
	rect  image.Rectangle
}

// onCanvas lays a frame, by its own bounds, on a canvas from (0, 0) to (width, height).
func onCanvas(frame image.Image, width, height int) image.Image {
	rect := image.Rect(0, 0, width, height)
	if frame.Bounds() == rect {
		return frame
	}
	return &canvas{frame, rect}
}

func (c *canvas) ColorModel() color.Model { return c.frame.ColorModel() }
func (c *canvas) Bounds() image.Rectangle { return c.rect }

func (c *canvas) At(x, y int) color.Color {
	if !(image.Point{x, y}).In(c.frame.Bounds()) {
		return color.Transparent
	}
	return c.frame.At(x, y)
}

// moved is a picture at another place.
type moved struct {
	image.Image
	by image.Point
}

func (m moved) Bounds() image.Rectangle { return m.Image.Bounds().Add(m.by) }
func (m moved) At(x, y int) color.Color { return m.Image.At(x-m.by.X, y-m.by.Y) }
