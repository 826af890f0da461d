package atlas

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"math"
	"math/rand/v2"

	"golang.org/x/image/draw"

	"imgsearch/dataset"
)

// PlotOptions say how a map is drawn. The zero value is usable.
type PlotOptions struct {
	// Title heads the picture, Subtitle is a grey line below. Both may be empty.
	Title, Subtitle string
	// Size is the side in pixels of the square that holds the map, 200 to 16,000; default 1,400, or 3,200 with thumbnails.
	Size int
	// Dark draws on black.
	Dark bool
	// Fonts are those of SheetOptions.
	Fonts []string
}

const (
	minPlotSize = 200
	maxPlotSize = 16_000
)

func (o PlotOptions) withDefaults(size int) (PlotOptions, error) {
	setDefault(&o.Size, size)
	if o.Fonts == nil {
		o.Fonts = systemFonts()
	}
	if o.Size < minPlotSize || o.Size > maxPlotSize {
		return o, fmt.Errorf("%w: Size is %d, %d to %d is possible", ErrOption, o.Size, minPlotSize, maxPlotSize)
	}
	return o, nil
}

// theme holds the colours around the points.
type theme struct{ paper, ink, grey color.RGBA }

func (o PlotOptions) theme() theme {
	if o.Dark {
		return theme{color.RGBA{0x14, 0x16, 0x1a, 0xff}, color.RGBA{0xee, 0xee, 0xee, 0xff}, color.RGBA{0xa0, 0xa0, 0xa0, 0xff}}
	}
	return theme{paperColour, inkColour, greyColour}
}

// plot is the frame of a map: header above, legend to the right.
type plot struct {
	PlotOptions
	theme
	title, subtitle, label, count *lettering
	margin, swatch, rowHeight     int
	header                        int // height
	legendWidth                   int // with its margin
	rows                          []legendRow
	area                          image.Rectangle // of the points' middles
	width, height                 int
}

func newPlot(labels []mapLabel, o PlotOptions) *plot {
	p := &plot{PlotOptions: o, theme: o.theme()}
	text := float64(min(max(o.Size/75, 11), 40))
	p.title = newLettering(mediumFont(), o.Fonts, text*1.5, p.ink)
	p.subtitle = newLettering(regularFont(), o.Fonts, text, p.grey)
	p.label = newLettering(regularFont(), o.Fonts, text, p.ink)
	p.count = newLettering(regularFont(), o.Fonts, text*.9, p.grey)
	p.margin = max(10, o.Size/50)
	p.rowHeight = p.label.lineHeight() * 4 / 3
	p.swatch = p.label.lineHeight()
	p.header = p.margin
	if o.Title != "" {
		p.header += p.title.lineHeight() + p.margin/4
	}
	if o.Subtitle != "" {
		p.header += p.subtitle.lineHeight() + p.margin/2
	}
	p.rows = legendRows(labels, max(1, o.Size/p.rowHeight))
	if len(p.rows) > 0 {
		most, widest := 0, 0
		for i, row := range p.rows {
			p.rows[i].text = p.label.fit(row.text, o.Size/4)
			most = max(most, p.label.width(p.rows[i].text))
			widest = max(widest, p.count.width(row.count))
		}
		p.legendWidth = p.swatch*3/2 + most + p.swatch + widest + p.margin
	}
	p.area = image.Rect(p.margin, p.header, p.margin+o.Size, p.header+o.Size)
	p.width, p.height = o.Size+2*p.margin+p.legendWidth, p.header+o.Size+p.margin
	return p
}

// frame draws all but the points.
func (p *plot) frame() *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, p.width, p.height))
	fill(img, img.Rect, p.paper)
	y := p.margin
	if p.Title != "" {
		p.title.draw(img, p.margin, y+p.title.ascent(), p.title.fit(p.Title, p.width-2*p.margin))
		y += p.title.lineHeight() + p.margin/4
	}
	if p.Subtitle != "" {
		p.subtitle.draw(img, p.margin, y+p.subtitle.ascent(), p.subtitle.fit(p.Subtitle, p.width-2*p.margin))
	}
	right := p.width - p.margin
	for i, row := range p.rows {
		x, y := p.area.Max.X+p.margin, p.area.Min.Y+i*p.rowHeight
		drawMark(img, float64(x)+float64(p.swatch)/2, float64(y)+float64(p.label.lineHeight())/2, float64(p.swatch)*.36, row.mark, 1)
		p.label.draw(img, x+p.swatch*3/2, y+p.label.ascent(), row.text)
		p.count.draw(img, right-p.count.width(row.count), y+p.label.ascent(), row.count)
	}
	return img
}

// pointRadius is that of n points on a map of a size.
func pointRadius(size, n int) float64 {
	return min(max(.3*float64(size)/math.Sqrt(float64(n)+1), 1.5*float64(size)/1400), float64(size)/140)
}

// mixedOrder is the order in which n points are drawn, so that no label covers the others: random, but always the same.
func mixedOrder(n int) []int { return rand.New(rand.NewPCG(1, uint64(n))).Perm(n) }

// DrawMap draws a map of points, coloured by label, with a legend. Labels beyond thirty share a grey point.
func DrawMap(points []MapPoint, options PlotOptions) (*image.RGBA, error) {
	o, err := options.withDefaults(1400)
	if err != nil {
		return nil, err
	}
	if len(points) == 0 {
		return nil, fmt.Errorf("%w: a map of no points", ErrNothing)
	}
	labels, of := mapLabels(points)
	p := newPlot(labels, o)
	img := p.frame()
	radius := pointRadius(o.Size, len(points))
	places := unitSquare(points)
	side := float64(o.Size) - 2*radius
	for _, i := range mixedOrder(len(points)) {
		x := float64(p.area.Min.X) + radius + side*places[2*i]
		y := float64(p.area.Min.Y) + radius + side*places[2*i+1]
		drawMark(img, x, y, radius, labels[of[i]].mark, .85)
	}
	return img, nil
}

// drawMark draws a mark with smooth edges; the areas of the shapes are alike.
func drawMark(img *image.RGBA, x, y, radius float64, m mark, opacity float64) {
	reach := int(radius*1.3) + 2
	for py := int(y) - reach; py <= int(y)+reach; py++ {
		for px := int(x) - reach; px <= int(x)+reach; px++ {
			if !image.Pt(px, py).In(img.Rect) {
				continue
			}
			dx, dy := math.Abs(float64(px)+.5-x), math.Abs(float64(py)+.5-y)
			outside := 0.0 // how far the pixel's middle is outside
			switch m.shape {
			case circle:
				outside = math.Hypot(dx, dy) - radius
			case square:
				outside = max(dx, dy) - .886*radius
			case diamond:
				outside = (dx + dy - 1.253*radius) * math.Sqrt2 / 2
			}
			cover := min(max(.5-outside, 0), 1) * opacity
			if cover == 0 {
				continue
			}
			at := img.Pix[img.PixOffset(px, py):][:3]
			for c, v := range [3]uint8{m.colour.R, m.colour.G, m.colour.B} {
				at[c] = uint8(float64(at[c])*(1-cover) + float64(v)*cover + .5)
			}
		}
	}
}

const (
	leastTile, mostTile = 24, 128
	// tileFill is the share of the squares that images may take to be all shown.
	tileFill = .6
)

// DrawThumbnailMap draws the images themselves, without overlap, in squares of a grid: each in the free square nearest to
// its place where there is room for all, otherwise in each square the image nearest to its middle, of those that lie in it.
// It returns how many are shown. Thumbnail gives the picture of a point, nil where there is none. Frames have the colours
// of the labels.
func DrawThumbnailMap(ctx context.Context, points []MapPoint, thumbnail func(i int) (*dataset.Image, error), options PlotOptions) (img *image.RGBA, shown int, err error) {
	o, err := options.withDefaults(3200)
	if err != nil {
		return nil, 0, err
	}
	if len(points) == 0 {
		return nil, 0, fmt.Errorf("%w: a map of no points", ErrNothing)
	}
	labels, of := mapLabels(points)
	p := newPlot(labels, o)
	img = p.frame()
	tile := min(max(int(float64(o.Size)/math.Ceil(math.Sqrt(float64(len(points))/tileFill))), leastTile), mostTile)
	across := o.Size / tile
	frame := 0
	if len(p.rows) > 0 {
		frame = max(2, tile/16)
	}
	origin := p.area.Min.Add(image.Pt((o.Size-across*tile)/2, (o.Size-across*tile)/2))
	for cell, i := range gridCells(unitSquare(points), across) {
		if i < 0 {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, 0, err
		}
		m, err := thumbnail(i)
		if err != nil {
			return nil, 0, err
		}
		shown++
		box := image.Rectangle{Max: image.Pt(tile-1, tile-1)}.Add(origin).Add(image.Pt(cell%across*tile, cell/across*tile))
		if frame > 0 {
			fill(img, box, labels[of[i]].mark.colour)
			box = box.Inset(frame)
		}
		fill(img, box, p.paper)
		if m != nil {
			drawInto(img, box, m)
		}
	}
	return img, shown, nil
}

// drawInto draws a picture as large as it fits into the box, in its middle.
func drawInto(img *image.RGBA, box image.Rectangle, m *dataset.Image) {
	longer := max(m.Width, m.Height)
	size := image.Pt(max(1, box.Dx()*m.Width/longer), max(1, box.Dx()*m.Height/longer))
	at := box.Min.Add(box.Size().Sub(size).Div(2))
	if size == image.Pt(m.Width, m.Height) {
		draw.Draw(img, image.Rectangle{at, at.Add(size)}, m.RGBA(), image.Point{}, draw.Src)
		return
	}
	draw.CatmullRom.Scale(img, image.Rectangle{at, at.Add(size)}, m.RGBA(), image.Rect(0, 0, m.Width, m.Height), draw.Src, nil)
}

// gridCells gives the squares of a grid their points, -1 where there is none: see DrawThumbnailMap.
func gridCells(places []float64, across int) []int {
	cells := make([]int, across*across)
	for i := range cells {
		cells[i] = -1
	}
	n := len(places) / 2
	at := func(i int) (x, y float64) {
		return places[2*i] * float64(across), places[2*i+1] * float64(across)
	}
	distance := func(i, cell int) float64 {
		x, y := at(i)
		dx, dy := x-float64(cell%across)-.5, y-float64(cell/across)-.5
		return dx*dx + dy*dy
	}
	home := func(i int) (int, int) {
		x, y := at(i)
		return min(max(int(x), 0), across-1), min(max(int(y), 0), across-1)
	}
	if float64(n) > tileFill*1.05*float64(len(cells)) {
		for i := range n {
			x, y := home(i)
			if cell := y*across + x; cells[cell] < 0 || distance(i, cell) < distance(cells[cell], cell) {
				cells[cell] = i
			}
		}
		return cells
	}
	for _, i := range mixedOrder(n) {
		x, y := home(i)
		best, nearest := -1, math.Inf(1)
		// A square in a ring of this radius is at least radius-1 away.
		for radius := 0; radius < across && (best < 0 || float64((radius-1)*(radius-1)) < nearest); radius++ {
			for cy := max(y-radius, 0); cy <= min(y+radius, across-1); cy++ {
				step := 1
				if cy != y-radius && cy != y+radius {
					step = max(2*radius, 1)
				}
				for cx := x - radius; cx <= x+radius; cx += step {
					if cx < 0 || cx >= across || cells[cy*across+cx] >= 0 {
						continue
					}
					if d := distance(i, cy*across+cx); d < nearest {
						best, nearest = cy*across+cx, d
					}
				}
			}
		}
		cells[best] = i
	}
	return cells
}
