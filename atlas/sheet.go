package atlas

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"io"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/image/draw"

	"imgsearch/dataset"
)

// Frame tells how a neighbour compares with the query.
type Frame int

const (
	// FrameNone is a thin grey line: nothing is known.
	FrameNone Frame = iota
	// FrameMatch is a solid blue line: the label is the query's.
	FrameMatch
	// FrameMismatch is a dashed orange line: the label is another.
	FrameMismatch
)

// SheetCell is one picture with its texts.
type SheetCell struct {
	// Image is the picture; nil is drawn as an empty box.
	Image *dataset.Image
	// Caption stands below the picture, in two lines where one is too short, Sub is the grey line below that. What does
	// not fit ends in an ellipsis; of file names the middle gives way.
	Caption, Sub string
	// Frame is the line around the picture. That of a query is always thin.
	Frame Frame
}

// SheetRow is a query and its neighbours, nearest first.
type SheetRow struct {
	Query SheetCell
	Cells []SheetCell
}

// SheetOptions say how a contact sheet is drawn. The zero value is usable.
type SheetOptions struct {
	// Title heads the sheet, Subtitle is a grey line below. Both may be empty.
	Title, Subtitle string
	// Size is the side in pixels of the square that holds a picture, 32 to 1,024. The default is 96, or 144 where a
	// picture is larger than 96 pixels. The letters grow with it.
	Size int
	// Columns is the number of neighbours in a line; default 10. More neighbours go on in the next line, each then with
	// its rank before its caption instead of above its column.
	Columns int
	// Unranked leaves out the ranks, where the order of the cells means nothing.
	Unranked bool
	// MatchText and MismatchText name the frames in the legend, which shows those that occur; default "same label" and
	// "other label".
	MatchText, MismatchText string
	// FirstRank is the rank of the first neighbour; default 1.
	FirstRank int
	// QueryText stands above the queries; default "query".
	QueryText string
	// Across is the number of rows that stand side by side; default 1.
	Across int
	// Fonts are TrueType or OpenType files to take letters from that the built-in Go typeface lacks (it has Latin,
	// Greek and Cyrillic). Nil stands for well-known fonts of this machine, an empty list for none. A letter that is
	// nowhere is drawn as a box with its code point.
	Fonts []string
	// MaxPixels bounds the picture; default 40 million (160 MB of memory). MaxHeight bounds its height; default 16,000.
	MaxPixels, MaxHeight int
}

const (
	minSheetSize = 32
	maxSheetSize = 1024
	maxColumns   = 200
	// maxTitleWidth is how far a title may widen a sheet.
	maxTitleWidth = 640
)

func (o SheetOptions) withDefaults(rows []SheetRow) (SheetOptions, error) {
	if o.Size == 0 {
		o.Size = 96
		for _, row := range rows {
			for _, cell := range append([]SheetCell{row.Query}, row.Cells...) {
				if cell.Image != nil && max(cell.Image.Width, cell.Image.Height) > 96 {
					o.Size = 144
				}
			}
		}
	}
	setDefault(&o.Columns, 10)
	setDefault(&o.MatchText, "same label")
	setDefault(&o.MismatchText, "other label")
	setDefault(&o.FirstRank, 1)
	setDefault(&o.QueryText, "query")
	setDefault(&o.Across, 1)
	setDefault(&o.MaxPixels, 40_000_000)
	setDefault(&o.MaxHeight, 16_000)
	if o.Fonts == nil {
		o.Fonts = systemFonts()
	}
	switch {
	case o.Size < minSheetSize || o.Size > maxSheetSize:
		return o, fmt.Errorf("%w: Size is %d, %d to %d is possible", ErrOption, o.Size, minSheetSize, maxSheetSize)
	case o.Columns < 1 || o.Columns > maxColumns:
		return o, fmt.Errorf("%w: Columns is %d, 1 to %d is possible", ErrOption, o.Columns, maxColumns)
	case o.Across < 1 || o.Across > maxColumns:
		return o, fmt.Errorf("%w: Across is %d, 1 to %d is possible", ErrOption, o.Across, maxColumns)
	case o.MaxPixels < 1:
		return o, fmt.Errorf("%w: MaxPixels is %d, at least 1 is needed", ErrOption, o.MaxPixels)
	case o.MaxHeight < 1:
		return o, fmt.Errorf("%w: MaxHeight is %d, at least 1 is needed", ErrOption, o.MaxHeight)
	}
	return o, nil
}

func setDefault[T comparable](value *T, otherwise T) {
	var zero T
	if *value == zero {
		*value = otherwise
	}
}

// Sheet draws a contact sheet: a header, then for each row the query and, to its right, its neighbours. A picture of at
// most half the size of its square is enlarged by a whole factor, so that its pixels stay sharp; others are scaled with
// the Catmull-Rom filter; proportions are kept.
//
// Rows that make a larger picture than the options allow are ErrSheetSize: see Pages and SaveSheets.
func Sheet(rows []SheetRow, options SheetOptions) (*image.RGBA, error) {
	o, err := options.withDefaults(rows)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("%w: a contact sheet of no rows", ErrNothing)
	}
	l := layOut(rows, o)
	if err := l.check(); err != nil {
		return nil, err
	}
	return l.draw(), nil
}

// Pages cuts rows into as few runs as fit on a sheet each. Where a single row does not fit, it is ErrSheetSize.
func Pages(rows []SheetRow, options SheetOptions) ([][]SheetRow, error) {
	o, err := options.withDefaults(rows)
	if err != nil {
		return nil, err
	}
	var pages [][]SheetRow
	for len(rows) > 0 {
		if err := layOut(rows[:1], o).check(); err != nil {
			return nil, err
		}
		n := 1 + sort.Search(len(rows)-1, func(more int) bool { return layOut(rows[:more+2], o).check() != nil })
		pages = append(pages, rows[:n:n])
		rows = rows[n:]
	}
	return pages, nil
}

// SheetPaths are the files that SaveSheets would write: path itself for a single page, otherwise path with -1, -2, …
// before its extension.
func SheetPaths(path string, rows []SheetRow, options SheetOptions) ([]string, error) {
	pages, _, err := numberedPages(rows, options)
	if err != nil {
		return nil, err
	}
	return pagePaths(path, len(pages)), nil
}

// numberedPages cuts rows into pages and returns the subtitle of each, with its number where there are several.
func numberedPages(rows []SheetRow, o SheetOptions) ([][]SheetRow, []string, error) {
	if len(rows) == 0 {
		return nil, nil, fmt.Errorf("%w: a contact sheet of no rows", ErrNothing)
	}
	pages, err := Pages(rows, o)
	if err != nil || len(pages) == 1 {
		return pages, []string{o.Subtitle}, err
	}
	number := func(page, of int) string {
		return strings.TrimPrefix(fmt.Sprintf("%s · page %d of %d", o.Subtitle, page, of), " · ")
	}
	// The line with the number takes place too.
	numbered := o
	numbered.Subtitle = number(len(pages), len(pages))
	if pages, err = Pages(rows, numbered); err != nil {
		return nil, nil, err
	}
	subtitles := make([]string, len(pages))
	for i := range subtitles {
		subtitles[i] = number(i+1, len(pages))
	}
	return pages, subtitles, nil
}

func pagePaths(path string, pages int) []string {
	if pages == 1 {
		return []string{path}
	}
	ext := filepath.Ext(path)
	out := make([]string, pages)
	for i := range out {
		out[i] = fmt.Sprintf("%s-%d%s", strings.TrimSuffix(path, ext), i+1, ext)
	}
	return out
}

// SaveSheets writes rows as PNG files, each whole or not at all, and returns their names (see SheetPaths); after an
// error, those written before it. Files that are there are replaced.
func SaveSheets(ctx context.Context, path string, rows []SheetRow, options SheetOptions) ([]string, error) {
	o, err := options.withDefaults(rows)
	if err != nil {
		return nil, err
	}
	pages, subtitles, err := numberedPages(rows, o)
	if err != nil {
		return nil, err
	}
	paths := pagePaths(path, len(pages))
	for i, page := range pages {
		if err := ctx.Err(); err != nil {
			return paths[:i], err
		}
		o.Subtitle = subtitles[i]
		img, err := Sheet(page, o)
		if err != nil {
			return paths[:i], err
		}
		if err := WriteFile(paths[i], func(w io.Writer) error { return WritePNG(w, img) }); err != nil {
			return paths[:i], err
		}
	}
	return paths, nil
}

// The colours: black and grey on white, and from the palette of Okabe & Ito (2008) the blue and the vermilion, which
// differ for every kind of colour vision, in lightness too.
var (
	inkColour      = color.RGBA{0x1a, 0x1a, 0x1a, 0xff}
	greyColour     = color.RGBA{0x6b, 0x6b, 0x6b, 0xff}
	lineColour     = color.RGBA{0xd9, 0xd9, 0xd9, 0xff}
	paperColour    = color.RGBA{0xff, 0xff, 0xff, 0xff}
	emptyColour    = color.RGBA{0xf0, 0xf0, 0xf0, 0xff}
	matchColour    = color.RGBA{0x00, 0x72, 0xb2, 0xff}
	mismatchColour = color.RGBA{0xd5, 0x5e, 0x00, 0xff}
)

// layout holds the measures of a sheet in pixels.
type layout struct {
	SheetOptions
	rows []SheetRow

	title, subtitle, head, caption, sub *lettering

	unit                int // the measure of all gaps
	margin, frame, gap  int
	cellWidth           int // of a cell: its picture with frame
	cellHeight          int // with captions
	captionGap          int
	captionLines        int // 1, or 2 where a caption needs them
	queryGap            int // between the query and its neighbours, and between rows side by side
	rowWidth            int
	headerHeight        int // title, subtitle and legend
	ranksHeight         int // the line of ranks; 0 where they stand in the captions
	rowGap              int
	columns             int
	hasCaption, hasSub  bool
	wrapped             bool
	matches, mismatches bool
	legendBelow         bool
	width, height       int
}

func layOut(rows []SheetRow, o SheetOptions) *layout {
	l := &layout{SheetOptions: o, rows: rows}
	unit := max(8, o.Size/12)
	l.unit = unit
	textSize := float64(min(max(o.Size/8, 11), 28))
	l.title = newLettering(mediumFont(), o.Fonts, textSize*1.5, inkColour)
	l.subtitle = newLettering(regularFont(), o.Fonts, textSize*1.05, greyColour)
	l.head = newLettering(regularFont(), o.Fonts, textSize, greyColour)
	l.caption = newLettering(regularFont(), o.Fonts, textSize, inkColour)
	l.sub = newLettering(regularFont(), o.Fonts, max(textSize*0.9, 10), greyColour)

	most := 0
	for _, row := range rows {
		most = max(most, len(row.Cells))
		for i := -1; i < len(row.Cells); i++ {
			cell := row.Query
			if i >= 0 {
				cell = row.Cells[i]
				l.matches = l.matches || cell.Frame == FrameMatch
				l.mismatches = l.mismatches || cell.Frame == FrameMismatch
			}
			l.hasCaption = l.hasCaption || cell.Caption != ""
			l.hasSub = l.hasSub || cell.Sub != ""
		}
	}
	l.columns = min(o.Columns, max(most, 1))
	l.wrapped = most > o.Columns || o.Unranked
	if l.wrapped && !o.Unranked {
		l.hasCaption = true
	}
	l.margin = 2 * unit
	l.frame = max(2, o.Size/32)
	l.gap = unit
	l.captionGap = unit / 3
	l.queryGap = 2*unit + unit/2
	l.rowGap = 2*unit + unit/2
	l.cellWidth = o.Size + 4*l.frame // the frame and as much white inside it
	if l.hasCaption || l.hasSub {
		l.cellWidth = max(l.cellWidth, 64)
	}
	l.cellHeight = o.Size + 4*l.frame
	if l.hasCaption {
		l.captionLines = l.countCaptionLines()
		l.cellHeight += l.captionGap + l.captionLines*l.caption.lineHeight()
	}
	if l.hasSub {
		l.cellHeight += l.sub.lineHeight()
		if !l.hasCaption {
			l.cellHeight += l.captionGap
		}
	}
	l.rowWidth = l.cellWidth
	if most > 0 {
		l.rowWidth += l.queryGap + l.columns*(l.cellWidth+l.gap) - l.gap
		if !l.wrapped {
			l.ranksHeight = l.head.lineHeight() + unit/2
		}
	}
	across := min(o.Across, max(len(rows), 1))
	l.width = 2*l.margin + across*(l.rowWidth+l.queryGap) - l.queryGap
	l.measureHeader(unit)
	if l.headerHeight > 0 && l.ranksHeight == 0 {
		l.headerHeight += unit // where no ranks keep the pictures from the header
	}
	l.height = l.margin + l.headerHeight + l.ranksHeight + l.margin - l.rowGap
	for line := range slices.Chunk(rows, o.Across) {
		l.height += l.lineHeight(line) + l.rowGap
	}
	return l
}

// lineHeight is the height of rows that stand side by side.
func (l *layout) lineHeight(rows []SheetRow) int {
	height := 0
	for _, row := range rows {
		height = max(height, l.rowHeight(row))
	}
	return height
}

// measureHeader decides where the legend stands: to the right of the title or, where that is too narrow, below.
func (l *layout) measureHeader(unit int) {
	left, right := 0, l.legendWidth()
	if l.Title != "" {
		l.headerHeight += l.title.lineHeight()
		left = max(left, l.title.width(clean(l.Title)))
	}
	if l.Subtitle != "" {
		l.headerHeight += l.subtitle.lineHeight() + unit/4
		left = max(left, l.subtitle.width(clean(l.Subtitle)))
	}
	// A narrow sheet is widened for its title, within reason.
	l.width = max(l.width, 2*l.margin+min(left, maxTitleWidth))
	if right > 0 {
		l.legendBelow = left > 0 && left+right+2*unit > l.width-2*l.margin
		if l.legendBelow || left == 0 {
			l.headerHeight += l.swatch() + unit/2
		}
		l.width = max(l.width, 2*l.margin+right)
	}
	if l.headerHeight > 0 {
		l.headerHeight += unit
	}
}

func (l *layout) rowHeight(row SheetRow) int {
	lines := max(1, (len(row.Cells)+l.columns-1)/l.columns)
	return lines*(l.cellHeight+l.gap) - l.gap
}

// countCaptionLines tells how many lines the captions need.
func (l *layout) countCaptionLines() int {
	for _, row := range l.rows {
		for i := -1; i < len(row.Cells); i++ {
			text, rank := row.Query.Caption, ""
			if i >= 0 {
				text, rank = row.Cells[i].Caption, l.rankText(i)
			}
			if len(l.caption.lines(text, l.cellWidth-l.sub.width(rank), l.cellWidth)) > 1 {
				return 2
			}
		}
	}
	return 1
}

// rankText is what stands before the caption of the i-th neighbour of a row.
func (l *layout) rankText(i int) string {
	if !l.wrapped || l.Unranked {
		return ""
	}
	return strconv.Itoa(l.FirstRank+i) + ". "
}

func (l *layout) check() error {
	if l.height > l.MaxHeight || l.width > l.MaxPixels/l.height {
		return fmt.Errorf("%w: %d rows would make %d x %d pixels, at most %d high and %d million in all are allowed: take fewer or smaller pictures",
			ErrSheetSize, len(l.rows), l.width, l.height, l.MaxHeight, l.MaxPixels/1_000_000)
	}
	return nil
}

func (l *layout) draw() *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, l.width, l.height))
	fill(img, img.Rect, paperColour)
	l.drawHeader(img)
	y := l.margin + l.headerHeight
	if l.ranksHeight > 0 {
		for across := range min(l.Across, len(l.rows)) {
			l.drawRanks(img, l.margin+across*(l.rowWidth+l.queryGap), y)
		}
		y += l.ranksHeight
	}
	for line := range slices.Chunk(l.rows, l.Across) {
		if y > l.margin+l.headerHeight+l.ranksHeight {
			at := y - l.rowGap/2
			fill(img, image.Rect(l.margin, at, l.width-l.margin, at+1), lineColour)
		}
		for across, row := range line {
			l.drawRow(img, image.Pt(l.margin+across*(l.rowWidth+l.queryGap), y), row)
		}
		y += l.lineHeight(line) + l.rowGap
	}
	return img
}

// drawRanks heads the columns of rows.
func (l *layout) drawRanks(img *image.RGBA, x, y int) {
	base := y + l.head.ascent()
	center := func(x int, s string) { l.head.draw(img, x+(l.cellWidth-l.head.width(s))/2, base, s) }
	center(x, l.QueryText)
	for c := range l.columns {
		center(x+l.cellWidth+l.queryGap+c*(l.cellWidth+l.gap), strconv.Itoa(l.FirstRank+c))
	}
}

// drawRow draws a query and its neighbours.
func (l *layout) drawRow(img *image.RGBA, at image.Point, row SheetRow) {
	query := row.Query
	query.Frame = FrameNone
	l.drawCell(img, at, query, "")
	left := at.X + l.cellWidth + l.queryGap
	for c, cell := range row.Cells {
		place := image.Pt(left+c%l.columns*(l.cellWidth+l.gap), at.Y+c/l.columns*(l.cellHeight+l.gap))
		l.drawCell(img, place, cell, l.rankText(c))
	}
	// A line between the query and its neighbours.
	if len(row.Cells) > 0 {
		x := at.X + l.cellWidth + l.queryGap/2
		fill(img, image.Rect(x, at.Y, x+1, at.Y+l.rowHeight(row)), lineColour)
	}
}

func (l *layout) drawHeader(img *image.RGBA) {
	y, right, unit := l.margin, l.legendWidth(), l.unit
	room := l.width - 2*l.margin
	if right > 0 && !l.legendBelow {
		room -= right
	}
	if l.Title != "" {
		l.title.draw(img, l.margin, y+l.title.ascent(), l.title.fit(l.Title, room))
		y += l.title.lineHeight()
	}
	if l.Subtitle != "" {
		y += unit / 4
		l.subtitle.draw(img, l.margin, y+l.subtitle.ascent(), l.subtitle.fit(l.Subtitle, room))
		y += l.subtitle.lineHeight()
	}
	switch {
	case right == 0:
	case l.legendBelow:
		l.drawLegend(img, l.margin, y+unit/2+(l.swatch()-l.head.lineHeight())/2)
	case l.Title == "" && l.Subtitle == "":
		l.drawLegend(img, l.margin, l.margin+(l.swatch()-l.head.lineHeight())/2)
	default:
		l.drawLegend(img, l.width-l.margin-right, l.margin+max(0, (l.title.lineHeight()-l.head.lineHeight())/2))
	}
}

// legendEntry is one frame with its name.
type legendEntry struct {
	frame Frame
	text  string
}

func (l *layout) legend() []legendEntry {
	var out []legendEntry
	if l.matches {
		out = append(out, legendEntry{FrameMatch, clean(l.MatchText)})
	}
	if l.mismatches {
		out = append(out, legendEntry{FrameMismatch, clean(l.MismatchText)})
	}
	return out
}

func (l *layout) legendWidth() int {
	width := 0
	for i, e := range l.legend() {
		if i > 0 {
			width += 2 * l.gap
		}
		width += l.swatch() + l.gap*3/4 + l.head.width(e.text)
	}
	return width
}

// swatch is the side of a frame in the legend.
func (l *layout) swatch() int { return l.head.lineHeight() + 2*l.frame }

func (l *layout) drawLegend(img *image.RGBA, x, y int) {
	for _, e := range l.legend() {
		side := l.swatch()
		top := y - (side-l.head.lineHeight())/2
		drawFrame(img, image.Rect(x, top, x+side, top+side), e.frame, max(2, l.frame*2/3))
		x += side + l.gap*3/4
		l.head.draw(img, x, y+l.head.ascent(), e.text)
		x += l.head.width(e.text) + 2*l.gap
	}
}

// drawCell draws a picture with its frame and captions, the first of them behind the rank, its upper left corner at the
// point given.
func (l *layout) drawCell(img *image.RGBA, at image.Point, cell SheetCell, rank string) {
	side := l.Size + 4*l.frame
	box := image.Rect(0, 0, side, side).Add(at).Add(image.Pt((l.cellWidth-side)/2, 0))
	inside := box.Inset(2 * l.frame)
	if cell.Image == nil || cell.Image.Width <= 0 || cell.Image.Height <= 0 {
		fill(img, inside, emptyColour)
	} else {
		drawPicture(img, inside, cell.Image)
	}
	drawFrame(img, box, cell.Frame, l.frame)
	y := box.Max.Y + l.captionGap
	if l.hasCaption {
		for _, text := range l.caption.lines(cell.Caption, l.cellWidth-l.sub.width(rank), l.cellWidth) {
			base := y + l.caption.ascent()
			x := at.X + (l.cellWidth-l.sub.width(rank)-l.caption.width(text))/2
			l.sub.draw(img, x, base, rank)
			l.caption.draw(img, x+l.sub.width(rank), base, text)
			rank = ""
			y += l.caption.lineHeight()
		}
	}
	if l.hasSub {
		text := l.sub.fit(cell.Sub, l.cellWidth)
		l.sub.draw(img, at.X+(l.cellWidth-l.sub.width(text))/2, y+l.sub.ascent(), text)
	}
}

// drawFrame draws a line inside the box: thin and grey, or as thick as given, solid or dashed.
func drawFrame(img *image.RGBA, box image.Rectangle, frame Frame, thickness int) {
	switch frame {
	case FrameMatch:
		for _, edge := range edges(box, thickness) {
			fill(img, edge, matchColour)
		}
	case FrameMismatch:
		for _, edge := range edges(box, thickness) {
			for _, dash := range dashes(edge, thickness) {
				fill(img, dash, mismatchColour)
			}
		}
	default:
		for _, edge := range edges(box.Inset(thickness), max(1, thickness/3)) {
			fill(img, edge, lineColour)
		}
	}
}

// dashes cuts a side of a frame into dashes, the same at both ends, with gaps between of about 2 thicknesses.
func dashes(edge image.Rectangle, thickness int) []image.Rectangle {
	horizontal := edge.Dx() >= edge.Dy()
	length := edge.Dy()
	if horizontal {
		length = edge.Dx()
	}
	// n dashes of about 3 thicknesses and n-1 gaps of about 2.
	n := max(2, (length+2*thickness+2*thickness)/(5*thickness))
	gap := 2 * thickness
	if n*2 > length/thickness { // a small frame
		gap = thickness
	}
	total := length - (n-1)*gap
	out := make([]image.Rectangle, n)
	for i := range out {
		from, to := i*total/n+i*gap, (i+1)*total/n+i*gap
		out[i] = image.Rect(edge.Min.X, edge.Min.Y+from, edge.Max.X, edge.Min.Y+to)
		if horizontal {
			out[i] = image.Rect(edge.Min.X+from, edge.Min.Y, edge.Min.X+to, edge.Max.Y)
		}
	}
	return out
}

// drawPicture draws m as large as it fits into the box, in its middle.
func drawPicture(img *image.RGBA, box image.Rectangle, m *dataset.Image) {
	size := box.Dx()
	longer := max(m.Width, m.Height)
	src := m.RGBA()
	if factor := size / longer; factor >= 2 {
		at := box.Min.Add(image.Pt((size-factor*m.Width)/2, (size-factor*m.Height)/2))
		to := image.Rectangle{at, at.Add(image.Pt(factor*m.Width, factor*m.Height))}
		draw.NearestNeighbor.Scale(img, to, src, src.Rect, draw.Src, nil)
		return
	}
	width, height := max(1, (m.Width*size+longer/2)/longer), max(1, (m.Height*size+longer/2)/longer)
	at := box.Min.Add(image.Pt((size-width)/2, (size-height)/2))
	to := image.Rectangle{at, at.Add(image.Pt(width, height))}
	if width == m.Width && height == m.Height {
		draw.Draw(img, to, src, image.Point{}, draw.Src)
		return
	}
	draw.CatmullRom.Scale(img, to, src, src.Rect, draw.Src, nil)
}

func fill(img draw.Image, r image.Rectangle, c color.Color) {
	draw.Draw(img, r, image.NewUniform(c), image.Point{}, draw.Src)
}
