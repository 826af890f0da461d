package atlas

import (
	"image"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/image/font/gofont/goregular"
)

func TestFit(t *testing.T) {
	l := newLettering(regularFont(), nil, 12, inkColour)
	for _, test := range []struct{ text, width, want string }{
		{"short", "a very wide place", "short"},
		{"  two\n words ", "a very wide place", "two words"},
		{"cafe\u0301", "a very wide place", "café"},
		{"a\x1b[31mb\u200bc", "a very wide place", "a[31mbc"},
		{"a label that is too long", "a label that", "a label t…"},
		{"folder/IMG_20190803_114502.jpg", "folder/IMG_201908", "folder/I…14502.jpg"},
		{"IMG_20190803_114502.jpg", "IMG_201908", "IMG…02.jpg"},
		{"anything", "x", ""},
		{"", "x", ""},
	} {
		room := l.width(test.width)
		got := l.fit(test.text, room)
		if got != test.want {
			t.Errorf("%q in %d pixels: %q, want %q", test.text, room, got, test.want)
		}
		if l.width(got) > room {
			t.Errorf("%q takes %d of %d pixels", got, l.width(got), room)
		}
	}
	// What people see as one letter is not cut in two.
	family := "👩\u200d👩\u200d👧"
	for room := range 200 {
		got := strings.TrimSuffix(l.fit("e\u0323\u0301e\u0323\u0301e\u0323\u0301e\u0323\u0301", room), "…")
		if n := len([]rune(got)); n%2 != 0 {
			t.Errorf("%q in %d pixels", got, room)
		}
	}
	if got := clean(family); got == "" {
		t.Errorf("%q became empty", family)
	}
}

func TestVisualOrder(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"plain text", "plain text"},
		{"שלום", "םולש"},
		{"abc שלום def", "abc םולש def"},
		{"日本語", "日本語"},
	} {
		if got := string(visualOrder(test.text)); got != test.want {
			t.Errorf("%q: %q, want %q", test.text, got, test.want)
		}
	}
}

func TestFallbackFonts(t *testing.T) {
	dir := t.TempDir()
	sub := filepath.Join(dir, "truetype", "some")
	if err := os.MkdirAll(sub, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"DejaVuSans.ttf": goregular.TTF, "wqy-zenhei.ttc": []byte("not a font"), "other.ttf": goregular.TTF} {
		if err := os.WriteFile(filepath.Join(sub, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	fonts := findFonts([]string{filepath.Join(dir, "missing"), dir})
	if len(fonts) != 2 || filepath.Base(fonts[0]) != "wqy-zenhei.ttc" || filepath.Base(fonts[1]) != "DejaVuSans.ttf" {
		t.Fatalf("found %v", fonts)
	}
	l := newLettering(regularFont(), append(fonts, filepath.Join(dir, "gone.ttf")), 12, inkColour)
	if l.faceFor('本') != nil || len(l.more) != 0 || len(l.faces) != 2 {
		t.Errorf("a damaged and a missing font should be done without: %d faces", len(l.faces))
	}
	if l.faceFor('a') == nil || l.width("本") != codeBoxWidth('本')+1 {
		t.Error("letters of the main typeface and code boxes should still be there")
	}
}

func TestCodeBoxesShowEveryDigit(t *testing.T) {
	for i, d := range tinyDigits {
		if len(d) != 15 || strings.Trim(d, "#.") != "" {
			t.Errorf("digit %X is %q", i, d)
		}
		for j := range i {
			if tinyDigits[j] == d {
				t.Errorf("digits %X and %X look alike", i, j)
			}
		}
	}
	seen := map[string]rune{}
	for _, r := range []rune{0x65e5, 0x672c, 0x8a9e, 0x1f984, 0x1f985} {
		img := image.NewRGBA(image.Rect(0, 0, 20, 20))
		drawCodeBox(img, 0, 14, r, image.NewUniform(inkColour))
		if other, ok := seen[string(img.Pix)]; ok {
			t.Errorf("%U and %U look alike", r, other)
		}
		seen[string(img.Pix)] = r
	}
}
