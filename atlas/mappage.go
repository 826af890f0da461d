package atlas

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"html"
	"image"
	"image/jpeg"
	"io"
	"math"
	"slices"
	"strings"

	"imgsearch/dataset"
	"imgsearch/index"
)

// MapPage is a map as a page for the browser.
type MapPage struct {
	// Title heads the page, Subtitle is a grey line beside it.
	Title, Subtitle string
	Points          []MapPoint
	// Neighbors are those of each point, nearest first, ids that are no points being left out. Nil where there are none.
	Neighbors [][]index.Neighbor
	// Thumbnail gives the picture of a point, nil where there is none.
	Thumbnail func(i int) (*dataset.Image, error)
	// MaxPictureBytes bounds the size of the pictures in the page, encoded; default 32 MB. With many images, thumbnails are
	// made smaller until they fit.
	MaxPictureBytes int
}

//go:embed mappage.html
var mapPageText string

// Pictures lie in sheets of a fixed side, a tile each, in the order of a curve through the map: what is seen together is
// on few sheets, and sheets are decoded when they are looked at.
const (
	spriteSide    = 1024
	spriteQuality = 80
	// spriteSample is the number of images whose size tells how large tiles can be: a sheet of the largest.
	spriteSample = 256
)

// spriteTiles are the sides of tiles that are tried, largest first.
var spriteTiles = []int{64, 48, 32, 24, 16, 8}

// mapPageData is what the page's program reads.
type mapPageData struct {
	Title     string         `json:"title"`
	Subtitle  string         `json:"subtitle"`
	Count     int            `json:"count"`
	Labels    []mapPageLabel `json:"labels"`
	IDs       string         `json:"ids"`    // uint32 each
	Places    string         `json:"places"` // float32, [n, 2]
	Label     string         `json:"label"`  // uint16 each: a place in labels
	Near      string         `json:"near"`   // uint32, [n, per]: points, 0xffffffff where there is none
	Distances string         `json:"distances"`
	Per       int            `json:"per"`
	Order     string         `json:"order"` // uint32 each: the tile; empty where there are no pictures
	Tile      int            `json:"tile"`
	Sheet     int            `json:"sheet"`
	Sources   []string       `json:"sources"`
}

type mapPageLabel struct {
	Name   string `json:"name"`
	Count  int    `json:"count"`
	Colour string `json:"colour"`
	Shape  int    `json:"shape"`
}

// WriteMapPage writes a page that shows a map, by itself and without a net: it pans and zooms, shows the images where there
// is room, tells of an image under the pointer what is known, filters by label and searches by id and source.
func WriteMapPage(ctx context.Context, w io.Writer, page MapPage) error {
	n := len(page.Points)
	if n == 0 {
		return fmt.Errorf("%w: a map of no points", ErrNothing)
	}
	if page.Neighbors != nil && len(page.Neighbors) != n {
		return fmt.Errorf("%w: %d lists for %d points", ErrNeighbors, len(page.Neighbors), n)
	}
	if last := page.Points[n-1].ID; last > math.MaxUint32 {
		return fmt.Errorf("%w: id %d: a page has room for ids below %d", ErrOption, last, uint64(1)<<32)
	}
	setDefault(&page.MaxPictureBytes, 32<<20)
	data := mapPageData{Title: clean(page.Title), Subtitle: clean(page.Subtitle), Count: n, Sheet: spriteSide}
	labels, of := mapLabels(page.Points)
	if len(labels) > math.MaxUint16 {
		return fmt.Errorf("%w: %d labels: a page has room for %d", ErrOption, len(labels), math.MaxUint16)
	}
	for _, l := range labels {
		data.Labels = append(data.Labels, mapPageLabel{clean(string(l.label)), l.count, hex(l.mark.colour), int(l.mark.shape)})
	}
	places := unitSquare(page.Points)
	var ids, label []byte
	coordinates := make([]byte, 0, 8*n)
	for i, p := range page.Points {
		ids = binary.LittleEndian.AppendUint32(ids, uint32(p.ID))
		label = binary.LittleEndian.AppendUint16(label, uint16(of[i]))
		for _, v := range places[2*i : 2*i+2] {
			coordinates = binary.LittleEndian.AppendUint32(coordinates, math.Float32bits(float32(v)))
		}
		data.Sources = append(data.Sources, p.Source)
	}
	base := base64.StdEncoding.EncodeToString
	data.IDs, data.Label, data.Places = base(ids), base(label), base(coordinates)
	data.addNeighbors(page)
	sheets, err := data.addPictures(ctx, page, places)
	if err != nil {
		return err
	}
	encoded, err := json.Marshal(data) // with <, > and & escaped
	if err != nil {
		return err
	}
	b := bufio.NewWriter(w)
	head, tail, _ := strings.Cut(mapPageText, "<!--data-->")
	_, _ = b.WriteString(strings.Replace(head, "<!--title-->", html.EscapeString(data.Title), 1))
	fmt.Fprintf(b, "<script type=\"application/json\" id=\"data\">%s</script>\n", encoded)
	for i, sheet := range sheets {
		fmt.Fprintf(b, "<script type=\"text/plain\" id=\"sheet%d\">%s</script>\n", i, base(sheet))
	}
	_, _ = b.WriteString(tail)
	return b.Flush()
}

func (d *mapPageData) addNeighbors(page MapPage) {
	for _, list := range page.Neighbors {
		d.Per = max(d.Per, len(list))
	}
	places := make(map[dataset.ID]uint32, len(page.Points))
	for i, p := range page.Points {
		places[p.ID] = uint32(i)
	}
	var near, distances []byte
	for _, list := range page.Neighbors {
		have := 0
		for _, other := range list {
			if at, ok := places[other.ID]; ok {
				near = binary.LittleEndian.AppendUint32(near, at)
				distances = binary.LittleEndian.AppendUint32(distances, math.Float32bits(other.Distance))
				have++
			}
		}
		for ; have < d.Per; have++ {
			near = binary.LittleEndian.AppendUint32(near, math.MaxUint32)
			distances = binary.LittleEndian.AppendUint32(distances, 0)
		}
	}
	d.Near, d.Distances = base64.StdEncoding.EncodeToString(near), base64.StdEncoding.EncodeToString(distances)
}

// addPictures makes the sheets of tiles.
func (d *mapPageData) addPictures(ctx context.Context, page MapPage, places []float64) (sheets [][]byte, err error) {
	n := len(page.Points)
	if page.Thumbnail == nil {
		return nil, nil
	}
	curve := make([]int, n)
	for i := range curve {
		curve[i] = i
	}
	code := func(i int) uint32 {
		const side = 1<<mortonBits - 1
		return spread(uint32(places[2*i]*side)) | spread(uint32(places[2*i+1]*side))<<1
	}
	slices.SortFunc(curve, func(a, b int) int { return cmp.Or(cmp.Compare(code(a), code(b)), a-b) })
	tile, longest, err := d.chooseTile(ctx, page, curve)
	if err != nil || longest == 0 {
		return nil, err
	}
	d.Tile = tile
	perSheet := (spriteSide / d.Tile) * (spriteSide / d.Tile)
	order := make([]byte, 4*n)
	for at := 0; at < n; at += perSheet {
		part := curve[at:min(at+perSheet, n)]
		for k, i := range part {
			binary.LittleEndian.PutUint32(order[4*i:], uint32(at+k))
		}
		sheet, err := drawSprites(ctx, page, part, d.Tile)
		if err != nil {
			return nil, err
		}
		sheets = append(sheets, sheet)
	}
	d.Order = base64.StdEncoding.EncodeToString(order)
	return sheets, nil
}

// chooseTile finds the largest tiles that fit into MaxPictureBytes, as a sample of the images tells, not larger than the
// images are. longest is 0 where there are none.
func (d *mapPageData) chooseTile(ctx context.Context, page MapPage, curve []int) (tile, longest int, err error) {
	n := len(curve)
	sample := make([]int, 0, spriteSample)
	for k := range min(n, spriteSample) {
		sample = append(sample, curve[k*n/min(n, spriteSample)])
	}
	for _, i := range sample {
		m, err := page.Thumbnail(i)
		if err != nil {
			return 0, 0, err
		}
		if m != nil {
			longest = max(longest, m.Width, m.Height)
		}
	}
	if longest == 0 {
		return 0, 0, nil
	}
	for _, tile = range spriteTiles {
		if tile > longest && tile > spriteTiles[len(spriteTiles)-1] {
			continue
		}
		sheet, err := drawSprites(ctx, page, sample, tile)
		if err != nil {
			return 0, 0, err
		}
		if float64(len(sheet))/float64(len(sample))*float64(n)*4/3*1.05 <= float64(page.MaxPictureBytes) {
			break
		}
	}
	return tile, longest, nil
}

// drawSprites encodes one sheet.
func drawSprites(ctx context.Context, page MapPage, part []int, tile int) ([]byte, error) {
	across := spriteSide / tile
	img := image.NewRGBA(image.Rect(0, 0, spriteSide, (len(part)+across-1)/across*tile))
	for k, i := range part {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		m, err := page.Thumbnail(i)
		if err != nil {
			return nil, err
		}
		box := image.Rect(0, 0, tile, tile).Add(image.Pt(k%across*tile, k/across*tile))
		fill(img, box, emptyColour)
		if m != nil {
			drawInto(img, box, m)
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: spriteQuality}); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
