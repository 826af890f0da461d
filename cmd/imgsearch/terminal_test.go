package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// onTerminal runs a command line in dir with a pseudo terminal of 80 columns behind all three streams, and returns what
// was sent to it.
func onTerminal(t *testing.T, dir, line string, env ...string) string {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("script(1) takes other flags here")
	}
	if _, err := exec.LookPath("script"); err != nil {
		t.Skip("there is no script(1) to make a pseudo terminal with")
	}
	cmd := exec.CommandContext(t.Context(), "script", "-qec", "stty cols 80; "+line, os.DevNull)
	cmd.Dir = dir
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "NO_COLOR=") || strings.HasPrefix(v, "TERM") || strings.HasPrefix(v, "COLORTERM=")
	}), append([]string{"TERM=xterm-256color", "SHELL=/bin/sh"}, env...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return strings.ReplaceAll(string(out), "\r\n", "\n")
}

// On a terminal progress moves on one line, which is gone in the end.
func TestTerminalProgress(t *testing.T) {
	if testing.Short() {
		t.Skip("indexes thousands of images: not run with -short")
	}
	t.Parallel()
	f, dir := fixtures(t), t.TempDir()
	sent := onTerminal(t, dir, "imgsearch index sample --index i.imgsearch --encoder "+f.encoder)
	if !regexp.MustCompile(`\rembedding  \[#*\.*\]  [0-9,]+ of 5,000 images  [0-9]+ %`).MatchString(sent) {
		t.Errorf("no progress in %q", sent)
	}
	lines := shown(sent)
	if len(lines) != 2 || !regexp.MustCompile(`^i\.imgsearch: 5,000 images \(5,000 added\) in [0-9.]+ s$`).MatchString(lines[0]) {
		t.Errorf("what stays: %q", lines)
	}
	for _, piece := range strings.FieldsFunc(sent, func(r rune) bool { return r == '\r' || r == '\n' }) {
		if len(piece) > 80 {
			t.Errorf("%q is longer than 80 columns", piece)
		}
	}
}

// On a terminal training shows a line that moves and lines that stay.
func TestTerminalTraining(t *testing.T) {
	t.Parallel()
	f, dir := fixtures(t), t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "photos"), os.DirFS(f.photos)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "photos", "broken.jpg"), []byte("no picture"), 0o666); err != nil {
		t.Fatal(err)
	}
	sent := onTerminal(t, dir, "imgsearch train --data photos --preset tiny --steps 60 --batch 16 --held-back 8 --out t.encoder || [ $? = 3 ]")
	if !regexp.MustCompile(`\rstep [0-9]+/60 .*loss [0-9.]+ .*left`).MatchString(sent) {
		t.Errorf("no progress in %q", sent)
	}
	lines := strings.Join(shown(sent), "\n")
	for _, want := range []string{
		`(?m)^skipped photos/broken\.jpg: not an image: `, `(?m)^8 images held back to measure on; chance is `,
		`(?m)^step  0/60  purity@1 [01]\.`, `(?m)^step 60/60  purity@1 [01]\..*  epoch .*  loss .*  active .* %$`, `(?m)^encoder: `,
	} {
		if !regexp.MustCompile(want).MatchString(lines) {
			t.Errorf("%s is not in what stays:\n%s", want, lines)
		}
	}
}

// Pictures are shown on a terminal that can, and nowhere else.
func TestTerminalPictures(t *testing.T) {
	t.Parallel()
	f, dir := fixtures(t), t.TempDir()
	line := "imgsearch query --id 3 -k 3 --index " + f.sample
	for _, test := range []struct {
		line string
		env  []string
		want bool
	}{
		{line, nil, true},
		{line, []string{"COLORTERM=truecolor"}, true},
		{line, []string{"NO_COLOR=1"}, false},
		{line, []string{"TERM=dumb"}, false},
		{line + " --picture never", nil, false},
		{line + " --json", nil, false},
		{line + " --paths", nil, false},
	} {
		sent := onTerminal(t, dir, test.line, test.env...)
		if got := strings.Contains(sent, "\x1b["); got != test.want {
			t.Errorf("%s with %q: pictures %v", test.line, test.env, got)
		}
		if !strings.Contains(sent, "sample:test/") {
			t.Errorf("%s with %q: no answer in %q", test.line, test.env, sent)
		}
	}
}
