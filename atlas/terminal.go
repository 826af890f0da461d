package atlas

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"image"
	"io"
	"strings"

	"golang.org/x/image/draw"

	"imgsearch/dataset"
)

// TerminalMode is a way to show a picture in a terminal.
type TerminalMode int

const (
	// TerminalNone is a terminal that shows no pictures, or a person who wants none.
	TerminalNone TerminalMode = iota
	// TerminalTrueColour shows two pixels in the place of a letter (▀), in 24-bit colours.
	TerminalTrueColour
	// Terminal256 does the same with the palette of 256 colours.
	Terminal256
	// TerminalKitty sends the picture by kitty's graphics protocol.
	TerminalKitty
	// TerminalITerm sends the picture by iTerm2's inline images protocol.
	TerminalITerm
)

// Detect tells from environment variables which mode the terminal understands. It cannot tell whether the output goes
// to a terminal at all: the caller must know. NO_COLOR, set to anything, and TERM=dumb or none mean TerminalNone. Within
// tmux or screen, which do not pass pictures on, blocks are used.
func Detect(getenv func(string) string) TerminalMode {
	term, program := getenv("TERM"), getenv("TERM_PROGRAM")
	colour := strings.ToLower(getenv("COLORTERM"))
	windows := getenv("WT_SESSION") != ""
	multiplexed := getenv("TMUX") != "" || getenv("STY") != "" || strings.HasPrefix(term, "tmux") || strings.HasPrefix(term, "screen")
	switch {
	case getenv("NO_COLOR") != "" || term == "dumb" || term == "" && program == "" && !windows:
		return TerminalNone
	case multiplexed:
	case getenv("KITTY_WINDOW_ID") != "" || term == "xterm-kitty" || term == "xterm-ghostty" || program == "ghostty":
		return TerminalKitty
	case program == "iTerm.app" || program == "WezTerm" || getenv("LC_TERMINAL") == "iTerm2":
		return TerminalITerm
	}
	switch {
	case colour == "truecolor" || colour == "24bit" || strings.HasSuffix(term, "-direct") || windows || program == "vscode":
		return TerminalTrueColour
	case strings.Contains(term, "256color"):
		return Terminal256
	}
	return TerminalNone
}

// Terminal writes a picture that takes up at most cols columns of a terminal, its proportions kept, a letter taken as
// twice as high as wide; a picture with fewer pixels than columns is not enlarged by the block modes. Lines end in a
// line feed and leave colours as they were. TerminalNone writes nothing.
func Terminal(w io.Writer, img *dataset.Image, cols int, mode TerminalMode) error {
	if img == nil || img.Width < 1 || img.Height < 1 {
		return fmt.Errorf("%w: an empty picture", ErrNothing)
	}
	if cols < 1 {
		return fmt.Errorf("%w: cols is %d, at least 1 is needed", ErrOption, cols)
	}
	var b bytes.Buffer
	switch mode {
	case TerminalNone:
		return nil
	case TerminalTrueColour, Terminal256:
		writeBlocks(&b, shrink(img, cols), mode)
	case TerminalKitty, TerminalITerm:
		var picture bytes.Buffer
		if err := WritePNG(&picture, img.RGBA()); err != nil {
			return err
		}
		if mode == TerminalKitty {
			writeKitty(&b, picture.Bytes(), cols)
		} else {
			writeITerm(&b, picture.Bytes(), cols)
		}
	default:
		return fmt.Errorf("%w: mode is %d", ErrOption, mode)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// Strip lays pictures side by side, each squared to size pixels, with gap black pixels between them: a query and its
// neighbours for one call of Terminal. A nil picture leaves its place black.
func Strip(images []*dataset.Image, size, gap int) *dataset.Image {
	if len(images) == 0 || size < 1 || gap < 0 {
		return nil
	}
	out := dataset.NewImage(len(images)*(size+gap)-gap, size)
	for i, img := range images {
		if img == nil || img.Width < 1 || img.Height < 1 {
			continue
		}
		square := img.Square(size)
		for y := range size {
			copy(out.Pix[3*(y*out.Width+i*(size+gap)):], square.Pix[3*y*size:3*(y+1)*size])
		}
	}
	return out
}

// shrink scales a picture to at most cols pixels wide.
func shrink(img *dataset.Image, cols int) *dataset.Image {
	if img.Width <= cols {
		return img
	}
	height := max(1, (img.Height*cols+img.Width/2)/img.Width)
	scaled := image.NewRGBA(image.Rect(0, 0, cols, height))
	draw.CatmullRom.Scale(scaled, scaled.Rect, img.RGBA(), image.Rect(0, 0, img.Width, img.Height), draw.Src, nil)
	return dataset.FromImage(scaled)
}

// writeBlocks writes two rows of pixels a line: the upper as the colour of an upper half block, the lower as the colour
// behind it. A colour that stays is not written again.
func writeBlocks(b *bytes.Buffer, img *dataset.Image, mode TerminalMode) {
	colour := func(kind int, p []uint8) string {
		if mode == Terminal256 {
			return fmt.Sprintf("\x1b[%d;5;%dm", kind, palette256(p[0], p[1], p[2]))
		}
		return fmt.Sprintf("\x1b[%d;2;%d;%d;%dm", kind, p[0], p[1], p[2])
	}
	const foreground, background = 38, 48
	for y := 0; y < img.Height; y += 2 {
		var upper, lower string
		for x := range img.Width {
			if c := colour(foreground, img.Pix[3*(y*img.Width+x):]); c != upper {
				b.WriteString(c)
				upper = c
			}
			if y+1 < img.Height {
				if c := colour(background, img.Pix[3*((y+1)*img.Width+x):]); c != lower {
					b.WriteString(c)
					lower = c
				}
			}
			b.WriteString("▀")
		}
		b.WriteString("\x1b[0m\n")
	}
}

// palette256 is the entry of xterm's palette of 256 colours that is nearest: of the 6 x 6 x 6 cube or of the greys.
func palette256(r, g, b uint8) int {
	step := func(v uint8) int { // the levels are 0, 95, 135, 175, 215, 255
		if v < 48 {
			return 0
		}
		if v < 115 {
			return 1
		}
		return (int(v) - 35) / 40
	}
	level := func(s int) int {
		if s == 0 {
			return 0
		}
		return 55 + 40*s
	}
	distance := func(x, y, z int) int {
		x, y, z = x-int(r), y-int(g), z-int(b)
		return x*x + y*y + z*z
	}
	cr, cg, cb := step(r), step(g), step(b)
	grey := min(max((int(r)+int(g)+int(b)-24+15)/30, 0), 23) // entries 232 to 255 are 8, 18, …, 238
	if v := 8 + 10*grey; distance(v, v, v) < distance(level(cr), level(cg), level(cb)) {
		return 232 + grey
	}
	return 16 + 36*cr + 6*cg + cb
}

// writeKitty sends a PNG in chunks of at most 4,096 letters (kitty's documentation, "Terminal graphics protocol").
func writeKitty(b *bytes.Buffer, png []byte, cols int) {
	data := base64.StdEncoding.EncodeToString(png)
	control := fmt.Sprintf("a=T,f=100,q=2,c=%d,", cols)
	for {
		chunk := data[:min(4096, len(data))]
		data = data[len(chunk):]
		more := 0
		if len(data) > 0 {
			more = 1
		}
		fmt.Fprintf(b, "\x1b_G%sm=%d;%s\x1b\\", control, more, chunk)
		control = ""
		if more == 0 {
			break
		}
	}
	b.WriteByte('\n')
}

// writeITerm sends a PNG (iTerm2's documentation, "Inline images protocol").
func writeITerm(b *bytes.Buffer, png []byte, cols int) {
	fmt.Fprintf(b, "\x1b]1337;File=inline=1;size=%d;width=%d;preserveAspectRatio=1:%s\a\n", len(png), cols,
		base64.StdEncoding.EncodeToString(png))
}
