package atlas

import (
	"bytes"
	"encoding/base64"
	"errors"
	"image/png"
	"regexp"
	"strings"
	"testing"

	"imgsearch/dataset"
)

func TestDetect(t *testing.T) {
	for _, test := range []struct {
		env  string
		want TerminalMode
	}{
		{"", TerminalNone},
		{"TERM=dumb COLORTERM=truecolor", TerminalNone},
		{"TERM=xterm", TerminalNone},
		{"TERM=linux", TerminalNone},
		{"TERM=xterm-256color", Terminal256},
		{"TERM=xterm-256color TERM_PROGRAM=Apple_Terminal", Terminal256},
		{"TERM=xterm-256color COLORTERM=truecolor", TerminalTrueColour},
		{"TERM=xterm-256color COLORTERM=24bit", TerminalTrueColour},
		{"TERM=xterm-256color COLORTERM=truecolor NO_COLOR=1", TerminalNone},
		{"TERM=xterm-kitty KITTY_WINDOW_ID=1", TerminalKitty},
		{"TERM=xterm-kitty NO_COLOR=1", TerminalNone},
		{"TERM=xterm-ghostty TERM_PROGRAM=ghostty", TerminalKitty},
		{"TERM=tmux-256color TMUX=/tmp/x KITTY_WINDOW_ID=1 COLORTERM=truecolor", TerminalTrueColour},
		{"TERM=screen-256color STY=1 TERM_PROGRAM=iTerm.app", Terminal256},
		{"TERM=xterm-256color TERM_PROGRAM=iTerm.app COLORTERM=truecolor", TerminalITerm},
		{"TERM=xterm-256color TERM_PROGRAM=WezTerm", TerminalITerm},
		{"WT_SESSION=abc", TerminalTrueColour},
		{"TERM=xterm-256color TERM_PROGRAM=vscode", TerminalTrueColour},
	} {
		env := map[string]string{}
		for _, pair := range strings.Fields(test.env) {
			name, value, _ := strings.Cut(pair, "=")
			env[name] = value
		}
		if got := Detect(func(name string) string { return env[name] }); got != test.want {
			t.Errorf("%q: mode %d, want %d", test.env, got, test.want)
		}
	}
}

func TestTerminalBlocks(t *testing.T) {
	img := &dataset.Image{Width: 2, Height: 3, Pix: []uint8{
		255, 0, 0, 255, 0, 0,
		0, 0, 255, 0, 255, 0,
		9, 9, 9, 255, 255, 255,
	}}
	var b bytes.Buffer
	if err := Terminal(&b, img, 10, TerminalTrueColour); err != nil {
		t.Fatal(err)
	}
	want := "\x1b[38;2;255;0;0m\x1b[48;2;0;0;255m▀\x1b[48;2;0;255;0m▀\x1b[0m\n\x1b[38;2;9;9;9m▀\x1b[38;2;255;255;255m▀\x1b[0m\n"
	if b.String() != want {
		t.Errorf("got  %q\nwant %q", b.String(), want)
	}
	b.Reset()
	if err := Terminal(&b, img, 10, Terminal256); err != nil {
		t.Fatal(err)
	}
	want = "\x1b[38;5;196m\x1b[48;5;21m▀\x1b[48;5;46m▀\x1b[0m\n\x1b[38;5;232m▀\x1b[38;5;231m▀\x1b[0m\n"
	if b.String() != want {
		t.Errorf("got  %q\nwant %q", b.String(), want)
	}
	b.Reset()
	if err := Terminal(&b, ramp(320, 160), 40, TerminalTrueColour); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Split(b.String(), "\n"); len(lines) != 11 || strings.Count(lines[0], "▀") != 40 {
		t.Errorf("a picture of 2 to 1 in 40 columns has %d lines, %d columns", len(lines)-1, strings.Count(lines[0], "▀"))
	}
}

func TestPalette256IsTheNearest(t *testing.T) {
	var palette [256][3]int
	levels := []int{0, 95, 135, 175, 215, 255}
	for i := range 216 {
		palette[16+i] = [3]int{levels[i/36], levels[i/6%6], levels[i%6]}
	}
	for i := range 24 {
		palette[232+i] = [3]int{8 + 10*i, 8 + 10*i, 8 + 10*i}
	}
	for r := 0; r < 256; r += 3 {
		for g := 0; g < 256; g += 5 {
			for b := 0; b < 256; b += 7 {
				distance := func(i int) int {
					x, y, z := palette[i][0]-r, palette[i][1]-g, palette[i][2]-b
					return x*x + y*y + z*z
				}
				best := 16
				for i := 16; i < 256; i++ {
					if distance(i) < distance(best) {
						best = i
					}
				}
				if got := palette256(uint8(r), uint8(g), uint8(b)); distance(got) > distance(best) {
					t.Fatalf("%d %d %d is %d, nearer is %d", r, g, b, got, best)
				}
			}
		}
	}
}

func TestTerminalPictures(t *testing.T) {
	img := ramp(130, 90)
	decode := func(mode TerminalMode, data string) {
		t.Helper()
		raw, err := base64.StdEncoding.DecodeString(data)
		if err != nil {
			t.Fatal(err)
		}
		back, err := png.Decode(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		if !dataset.FromImage(back).Equal(img) {
			t.Errorf("mode %d: another picture came out", mode)
		}
	}
	var b bytes.Buffer
	if err := Terminal(&b, img, 20, TerminalKitty); err != nil {
		t.Fatal(err)
	}
	data := ""
	chunks := regexp.MustCompile(`\x1b_G([^;]*);([^\x1b]*)\x1b\\`).FindAllStringSubmatch(b.String(), -1)
	for i, c := range chunks {
		last := i == len(chunks)-1
		if len(c[2]) > 4096 || strings.HasSuffix(c[1], "m=1") == last || strings.Contains(c[1], "c=20") != (i == 0) {
			t.Errorf("chunk %d of %d: %s, %d letters", i, len(chunks), c[1], len(c[2]))
		}
		data += c[2]
	}
	decode(TerminalKitty, data)
	b.Reset()
	if err := Terminal(&b, img, 20, TerminalITerm); err != nil {
		t.Fatal(err)
	}
	match := regexp.MustCompile(`^\x1b\]1337;File=inline=1;size=\d+;width=20;preserveAspectRatio=1:([^\a]*)\a\n$`).FindStringSubmatch(b.String())
	if match == nil {
		t.Fatalf("%q", b.String()[:60])
	}
	decode(TerminalITerm, match[1])
}

func TestTerminalRefuses(t *testing.T) {
	var b bytes.Buffer
	if err := Terminal(&b, nil, 10, TerminalTrueColour); !errors.Is(err, ErrNothing) {
		t.Errorf("no picture: %v", err)
	}
	if err := Terminal(&b, ramp(2, 2), 0, TerminalTrueColour); !errors.Is(err, ErrOption) {
		t.Errorf("no columns: %v", err)
	}
	if err := Terminal(&b, ramp(2, 2), 5, 99); !errors.Is(err, ErrOption) {
		t.Errorf("unknown mode: %v", err)
	}
	if err := Terminal(&b, ramp(2, 2), 5, TerminalNone); err != nil || b.Len() > 0 {
		t.Errorf("mode none wrote %q, %v", b.String(), err)
	}
}

func TestStrip(t *testing.T) {
	a, b := ramp(4, 4), ramp(8, 4)
	s := Strip([]*dataset.Image{a, nil, b}, 4, 1)
	if s.Width != 14 || s.Height != 4 {
		t.Fatalf("%d x %d", s.Width, s.Height)
	}
	for y := range 4 {
		if !bytes.Equal(s.Pix[3*y*14:3*y*14+12], a.Pix[12*y:12*y+12]) {
			t.Errorf("row %d is not the first picture's", y)
		}
		for x := 4; x < 10; x++ {
			if s.Pix[3*(y*14+x)] != 0 {
				t.Errorf("(%d, %d) is not black", x, y)
			}
		}
	}
	if Strip(nil, 4, 1) != nil {
		t.Error("a strip of nothing")
	}
}
