package atlas

import (
	"cmp"
	"fmt"
	"image/color"
	"math"
	"slices"

	"imgsearch/dataset"
)

// MapPoint is an image on a map.
type MapPoint struct {
	ID     dataset.ID
	Source string
	// Label is "" where there is none.
	Label dataset.Label
	X, Y  float32
}

// markShape is the form of a point.
type markShape uint8

const (
	circle markShape = iota
	square
	diamond
	shapes = 3
)

// mark is how the points of a label look.
type mark struct {
	colour color.RGBA
	shape  markShape
}

// markColours are the ten of Petroff 2021 ("Accessible Color Sequences for Data Visualization", arXiv 2107.02270), which
// are chosen to be told apart with the common kinds of colour blindness too.
var markColours = [...]color.RGBA{
	{0x3f, 0x90, 0xda, 0xff}, {0xff, 0xa9, 0x0e, 0xff}, {0xbd, 0x1f, 0x01, 0xff}, {0x94, 0xa4, 0xa2, 0xff}, {0x83, 0x2d, 0xb6, 0xff},
	{0xa9, 0x6b, 0x59, 0xff}, {0xe7, 0x63, 0x00, 0xff}, {0xb9, 0xac, 0x70, 0xff}, {0x71, 0x75, 0x81, 0xff}, {0x92, 0xda, 0xdd, 0xff},
}

// maxMarks is the number of labels that get a mark of their own.
const maxMarks = shapes * len(markColours)

// otherMark is that of labels beyond maxMarks and of images without a label.
var otherMark = mark{color.RGBA{0x8c, 0x8c, 0x8c, 0xff}, circle}

// mapLabel is a label of a map with its mark.
type mapLabel struct {
	label dataset.Label
	count int
	mark  mark
}

// mapLabels lists the labels of the points by name, or where there are more than maxMarks by falling number of points, and
// the place of each point's label in the list. Points without a label come last. The most frequent labels get marks of their
// own, of one shape as long as the colours last.
func mapLabels(points []MapPoint) (labels []mapLabel, of []int) {
	counts := map[dataset.Label]int{}
	for _, p := range points {
		counts[p.Label]++
	}
	for label, count := range counts {
		labels = append(labels, mapLabel{label: label, count: count})
	}
	named := len(labels)
	if counts[""] > 0 {
		named--
	}
	slices.SortFunc(labels, func(a, b mapLabel) int {
		if (a.label == "") != (b.label == "") {
			return cmp.Compare(b.label, a.label) // the empty one last
		}
		if named > maxMarks && a.count != b.count {
			return b.count - a.count
		}
		return cmp.Compare(a.label, b.label)
	})
	places := map[dataset.Label]int{}
	for i := range labels {
		places[labels[i].label] = i
		labels[i].mark = otherMark
		if i < maxMarks && (labels[i].label != "" || named == 0) {
			labels[i].mark = mark{markColours[i%len(markColours)], markShape(i / len(markColours))}
		}
	}
	of = make([]int, len(points))
	for i, p := range points {
		of[i] = places[p.Label]
	}
	return labels, of
}

// legendRow is a line of a legend.
type legendRow struct {
	mark        mark
	text, count string
}

// legendRows are the lines for the labels, at most as many; none where no point has a label.
func legendRows(labels []mapLabel, most int) []legendRow {
	if len(labels) == 0 || len(labels) == 1 && labels[0].label == "" {
		return nil
	}
	own := min(len(labels), maxMarks)
	if len(labels) > own || own > most {
		own = max(0, min(own, most-1))
	}
	var rows []legendRow
	for _, l := range labels[:own] {
		text := string(l.label)
		if text == "" {
			text = "no label"
		}
		rows = append(rows, legendRow{l.mark, text, grouped(l.count)})
	}
	if rest := labels[own:]; len(rest) > 0 {
		count := 0
		for _, l := range rest {
			count += l.count
		}
		rows = append(rows, legendRow{otherMark, fmt.Sprintf("%s more labels", grouped(len(rest))), grouped(count)})
	}
	return rows
}

// grouped writes a number with commas between groups of three digits.
func grouped(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", grouped(n/1000), n%1000)
}

// unitSquare moves and scales the points into [0, 1] x [0, 1], y downwards, the longer side of their box filling it; the
// places are [n, 2]. Points that all lie in one place go to the middle.
func unitSquare(points []MapPoint) []float64 {
	out := make([]float64, 2*len(points))
	if len(points) == 0 {
		return out
	}
	minX, maxX, minY, maxY := math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)
	for _, p := range points {
		minX, maxX = min(minX, float64(p.X)), max(maxX, float64(p.X))
		minY, maxY = min(minY, float64(p.Y)), max(maxY, float64(p.Y))
	}
	side := max(maxX-minX, maxY-minY)
	if side <= 0 {
		side = 1
	}
	for i, p := range points {
		out[2*i] = .5 + (float64(p.X)-(minX+maxX)/2)/side
		out[2*i+1] = .5 - (float64(p.Y)-(minY+maxY)/2)/side
	}
	return out
}
