package atlas

import (
	"bufio"
	"bytes"
	"encoding/xml"
	"fmt"
	"image/color"
	"io"
)

// svgLayers is in how many layers the points are drawn, each with all labels, so that no label covers the others.
const svgLayers = 8

// WriteMapSVG writes a map of points, coloured by label, with a legend, as an SVG file. See DrawMap.
func WriteMapSVG(w io.Writer, points []MapPoint, options PlotOptions) error {
	o, err := options.withDefaults(1400)
	if err != nil {
		return err
	}
	if len(points) == 0 {
		return fmt.Errorf("%w: a map of no points", ErrNothing)
	}
	labels, of := mapLabels(points)
	p := newPlot(labels, o)
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="Go, Helvetica, Arial, sans-serif">`+"\n", p.width, p.height, p.width, p.height)
	fmt.Fprintf(b, "<title>%s</title>\n", escapeXML(clean(o.Title)))
	fmt.Fprintf(b, `<rect width="100%%" height="100%%" fill="%s"/>`+"\n", hex(p.paper))
	text := func(x, y int, l *lettering, c color.RGBA, anchor, s string) {
		fmt.Fprintf(b, `<text x="%d" y="%d" font-size="%.1f" fill="%s" text-anchor="%s">%s</text>`+"\n", x, y, l.size, hex(c), anchor, escapeXML(s))
	}
	y := p.margin
	if o.Title != "" {
		text(p.margin, y+p.title.ascent(), p.title, p.ink, "start", p.title.fit(o.Title, p.width-2*p.margin))
		y += p.title.lineHeight() + p.margin/4
	}
	if o.Subtitle != "" {
		text(p.margin, y+p.subtitle.ascent(), p.subtitle, p.grey, "start", p.subtitle.fit(o.Subtitle, p.width-2*p.margin))
	}
	for i, row := range p.rows {
		x, y := p.area.Max.X+p.margin, p.area.Min.Y+i*p.rowHeight
		fmt.Fprintf(b, `<path fill="%s" d="%s"/>`+"\n", hex(row.mark.colour),
			svgMark(row.mark.shape, float64(x)+float64(p.swatch)/2, float64(y)+float64(p.label.lineHeight())/2, float64(p.swatch)*.36))
		text(x+p.swatch*3/2, y+p.label.ascent(), p.label, p.ink, "start", row.text)
		text(p.width-p.margin, y+p.label.ascent(), p.count, p.grey, "end", row.count)
	}
	radius := pointRadius(o.Size, len(points))
	places := unitSquare(points)
	side := float64(o.Size) - 2*radius
	order := mixedOrder(len(points))
	fmt.Fprintln(b, `<g fill-opacity="0.85">`)
	for layer := range svgLayers {
		paths := make([]bytes.Buffer, len(labels))
		for _, i := range order[layer*len(order)/svgLayers : (layer+1)*len(order)/svgLayers] {
			paths[of[i]].WriteString(svgMark(labels[of[i]].mark.shape,
				float64(p.area.Min.X)+radius+side*places[2*i], float64(p.area.Min.Y)+radius+side*places[2*i+1], radius))
		}
		for l := range paths {
			if paths[l].Len() > 0 {
				fmt.Fprintf(b, `<path fill="%s" d="%s"/>`+"\n", hex(labels[l].mark.colour), paths[l].Bytes())
			}
		}
	}
	fmt.Fprintln(b, "</g>\n</svg>")
	return b.Flush()
}

// svgMark is the outline of a mark.
func svgMark(shape markShape, x, y, radius float64) string {
	switch shape {
	case square:
		h := .886 * radius
		return fmt.Sprintf("M%.2f %.2fh%.2fv%.2fh%.2fz", x-h, y-h, 2*h, 2*h, -2*h)
	case diamond:
		h := 1.253 * radius
		return fmt.Sprintf("M%.2f %.2fl%.2f %.2fl%.2f %.2fl%.2f %.2fz", x-h, y, h, -h, h, h, -h, h)
	default:
		return fmt.Sprintf("M%.2f %.2fa%.2f %.2f 0 1 0 %.2f 0a%.2f %.2f 0 1 0 %.2f 0z", x-radius, y, radius, radius, 2*radius, radius, radius, -2*radius)
	}
}

func hex(c color.RGBA) string { return fmt.Sprintf("#%02x%02x%02x", c.R, c.G, c.B) }

// escapeXML makes text of a file's content.
func escapeXML(s string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(s)) // a Buffer takes all
	return b.String()
}
