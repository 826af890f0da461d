package atlas

import (
	"fmt"
	"image"
	"image/color"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/rivo/uniseg"
	"golang.org/x/image/draw"
	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gomedium"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/font/sfnt"
	"golang.org/x/image/math/fixed"
	"golang.org/x/text/unicode/bidi"
	"golang.org/x/text/unicode/norm"
)

// The built-in typefaces: Go Regular and Go Medium, which have Latin, Greek and Cyrillic letters.
var (
	regularFont = sync.OnceValue(func() *sfnt.Font { return builtIn(goregular.TTF) })
	mediumFont  = sync.OnceValue(func() *sfnt.Font { return builtIn(gomedium.TTF) })
)

func builtIn(data []byte) *sfnt.Font {
	f, err := opentype.Parse(data)
	if err != nil {
		panic(fmt.Sprintf("atlas: built-in typeface: %v", err))
	}
	return f
}

// lettering draws text of one typeface, size and colour. Letters that the typeface lacks are taken from the fallback
// fonts, in their order; one that none of them has is drawn as a box with its code point. Text is drawn letter by
// letter: right-to-left runs are put in order, but letters are not joined.
type lettering struct {
	faces []glyphs
	// more are the files of fallback fonts that no letter needed yet.
	more   []string
	size   float64
	colour image.Image
}

// glyphs is a font at a size.
type glyphs struct {
	font *sfnt.Font
	face font.Face
}

func newLettering(main *sfnt.Font, fallback []string, size float64, c color.Color) *lettering {
	l := &lettering{more: fallback, size: size, colour: image.NewUniform(c)}
	l.add(main)
	return l
}

func (l *lettering) add(f *sfnt.Font) {
	face, err := opentype.NewFace(f, &opentype.FaceOptions{Size: l.size, DPI: 72, Hinting: font.HintingNone})
	if err != nil {
		return // a fallback that cannot be used is done without
	}
	l.faces = append(l.faces, glyphs{f, face})
}

// faceFor returns the first font that has the letter, nil where none has.
func (l *lettering) faceFor(r rune) font.Face {
	var b sfnt.Buffer
	for i := 0; ; i++ {
		for i >= len(l.faces) {
			if len(l.more) == 0 {
				return nil
			}
			name := l.more[0]
			l.more = l.more[1:]
			if f := loadFont(name); f != nil {
				l.add(f)
			}
		}
		if g, err := l.faces[i].font.GlyphIndex(&b, r); err == nil && g != 0 {
			return l.faces[i].face
		}
	}
}

var loadedFonts sync.Map // file name -> *sfnt.Font, nil where it cannot be used

func loadFont(name string) *sfnt.Font {
	if f, ok := loadedFonts.Load(name); ok {
		return f.(*sfnt.Font)
	}
	var loaded *sfnt.Font
	if data, err := os.ReadFile(name); err == nil {
		if strings.EqualFold(path.Ext(name), ".ttc") {
			if c, err := opentype.ParseCollection(data); err == nil {
				loaded, _ = c.Font(0)
			}
		} else {
			loaded, _ = opentype.Parse(data)
		}
	}
	loadedFonts.Store(name, loaded)
	return loaded
}

// clean composes letters with their accents (file systems may keep them apart) and makes one line of the text; letters
// that cannot be seen are left out.
func clean(s string) string {
	s = strings.Join(strings.Fields(norm.NFC.String(s)), " ")
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) || r == ' ' {
			return r
		}
		return -1
	}, s)
}

// width is the advance of the text in pixels, rounded up.
func (l *lettering) width(s string) int {
	var x fixed.Int26_6
	for _, r := range s {
		x += l.advance(r)
	}
	return x.Ceil()
}

func (l *lettering) advance(r rune) fixed.Int26_6 {
	if face := l.faceFor(r); face != nil {
		a, _ := face.GlyphAdvance(r)
		return a
	}
	return fixed.I(codeBoxWidth(r) + 1)
}

// ascent and lineHeight are those of the main typeface, whole pixels.
func (l *lettering) ascent() int { return l.faces[0].face.Metrics().Ascent.Ceil() }
func (l *lettering) lineHeight() int {
	m := l.faces[0].face.Metrics()
	return (m.Ascent + m.Descent).Ceil()
}

// draw writes the text with its baseline at y, beginning at x.
func (l *lettering) draw(dst draw.Image, x, y int, s string) {
	dot := fixed.P(x, y)
	for _, r := range visualOrder(s) {
		face := l.faceFor(r)
		if face == nil {
			drawCodeBox(dst, dot.X.Ceil(), y, r, l.colour)
		} else if box, mask, at, _, ok := face.Glyph(dot, r); ok {
			draw.DrawMask(dst, box, l.colour, image.Point{}, mask, at, draw.Over)
		}
		dot.X += l.advance(r)
	}
}

// visualOrder returns the letters from left to right.
func visualOrder(s string) []rune {
	plain := true
	for _, r := range s {
		p, _ := bidi.LookupRune(r)
		if c := p.Class(); c == bidi.R || c == bidi.AL || c == bidi.AN {
			plain = false
			break
		}
	}
	if plain {
		return []rune(s)
	}
	var p bidi.Paragraph
	if _, err := p.SetString(s); err != nil {
		return []rune(s)
	}
	order, err := p.Order()
	if err != nil {
		return []rune(s)
	}
	var out []rune
	for i := range order.NumRuns() {
		run := order.Run(i)
		text := run.String()
		if run.Direction() == bidi.RightToLeft {
			text = bidi.ReverseString(text)
		}
		out = append(out, []rune(text)...)
	}
	return out
}

// fit shortens the text to at most width pixels: an ellipsis takes the place of its end, or of its middle where it is a
// file's name, whose end tells files apart. What people see as one letter stays whole.
func (l *lettering) fit(s string, width int) string {
	s = clean(s)
	if l.width(s) <= width {
		return s
	}
	var letters []string
	for g := uniseg.NewGraphemes(s); g.Next(); {
		letters = append(letters, g.Str())
	}
	tail := 0 // letters kept at the end
	if isFileName(s) {
		for tail = min(len(letters)-1, 24); tail > 0; tail-- {
			if l.width("…"+strings.Join(letters[len(letters)-tail:], "")) <= width*2/3 {
				break
			}
		}
	}
	end := "…" + strings.Join(letters[len(letters)-tail:], "")
	for head := len(letters) - tail - 1; head >= 0; head-- {
		start := strings.TrimRight(strings.Join(letters[:head], ""), " ")
		if l.width(start+end) <= width {
			return start + end
		}
	}
	if l.width("…") <= width {
		return "…"
	}
	return ""
}

// lines breaks the text at spaces into at most two lines, the first of at most first pixels, the second of at most second.
// What does not fit is shortened. The names of files, and what fits, make one line.
func (l *lettering) lines(s string, first, second int) []string {
	s = clean(s)
	if l.width(s) <= first || isFileName(s) || !strings.Contains(s, " ") {
		return []string{l.fit(s, first)}
	}
	words := strings.Split(s, " ")
	n := 1
	for n < len(words) && l.width(strings.Join(words[:n+1], " ")) <= first {
		n++
	}
	start := strings.Join(words[:n], " ")
	if l.width(start) > first {
		return []string{l.fit(s, first)} // the first word alone is too long
	}
	return []string{start, l.fit(strings.Join(words[n:], " "), second)}
}

// isFileName tells a path or a name with an extension from other text.
func isFileName(s string) bool {
	if strings.ContainsAny(s, `/\`) {
		return true
	}
	ext := path.Ext(s)
	return len(ext) >= 3 && len(ext) <= 5 && !strings.ContainsFunc(ext[1:], func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

// A code box shows the code point of a letter that no font has: its hexadecimal digits in two lines, as some browsers
// do. The digits are 3 x 5 pixels each, whatever the size of the text.
var tinyDigits = [16]string{
	"####.##.##.####", "##..#..#..#.###", "###..#####..###", "###..#.##..####", "#.##.####..#..#", "####..###..####", "####..####.####", "###..#..#..#..#",
	"####.#####.####", "####.####..####", "####.#####.##.#", "##.#.###.#.###.", "####..#..#..###", "##.#.##.##.###.", "####..##.#..###", "####..##.#..#..",
}

func codeDigits(r rune) string {
	if r > 0xffff {
		return fmt.Sprintf("%06X", r)
	}
	return fmt.Sprintf("%04X", r)
}

func codeBoxWidth(r rune) int { return len(codeDigits(r))/2*4 + 3 }

func drawCodeBox(dst draw.Image, x, baseline int, r rune, colour image.Image) {
	const height = 15
	digits := codeDigits(r)
	box := image.Rect(x, baseline-12, x+codeBoxWidth(r), baseline-12+height)
	fill := func(r image.Rectangle) { draw.Draw(dst, r, colour, image.Point{}, draw.Over) }
	for _, edge := range edges(box, 1) {
		fill(edge)
	}
	per := len(digits) / 2
	for i, d := range digits {
		at := image.Pt(box.Min.X+2+i%per*4, box.Min.Y+2+i/per*6)
		for p, dot := range tinyDigits[strings.IndexRune("0123456789ABCDEF", d)] {
			if dot == '#' {
				fill(image.Rect(0, 0, 1, 1).Add(at).Add(image.Pt(p%3, p/3)))
			}
		}
	}
}

// edges are the four sides of a rectangle, inside it and without overlap.
func edges(r image.Rectangle, thickness int) []image.Rectangle {
	return slices.Clip([]image.Rectangle{
		image.Rect(r.Min.X, r.Min.Y, r.Max.X, r.Min.Y+thickness),
		image.Rect(r.Min.X, r.Max.Y-thickness, r.Max.X, r.Max.Y),
		image.Rect(r.Min.X, r.Min.Y+thickness, r.Min.X+thickness, r.Max.Y-thickness),
		image.Rect(r.Max.X-thickness, r.Min.Y+thickness, r.Max.X, r.Max.Y-thickness),
	})
}
