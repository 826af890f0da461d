package main

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"imgsearch/training"
)

// terminal is a screen of some width, and what was sent to it.
func terminal(width int) (*screen, *bytes.Buffer) {
	var sent bytes.Buffer
	return &screen{w: &sent, columns: func() int { return width }}, &sent
}

// shown renders what a terminal shows after it was sent text: carriage returns overwrite.
func shown(sent string) []string {
	var lines []string
	var line []rune
	at := 0
	for _, r := range sent {
		switch r {
		case '\r':
			at = 0
		case '\n':
			lines, line, at = append(lines, strings.TrimRight(string(line), " ")), nil, 0
		default:
			if at < len(line) {
				line[at] = r
			} else {
				line = append(line, r)
			}
			at++
		}
	}
	return append(lines, strings.TrimRight(string(line), " "))
}

func TestScreen(t *testing.T) {
	c, sent := terminal(20)
	c.show("one of three")
	fmt.Fprintln(c, "a line that stays, longer than the screen is wide")
	c.show("two")
	fmt.Fprintln(c, "x")
	c.show("this is too long for so narrow a screen")
	c.show("three")
	want := []string{"a line that stays, longer than the screen is wide", "x", "three"}
	if got := shown(sent.String()); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	c.show("")
	fmt.Fprintln(c, "done")
	want = []string{"a line that stays, longer than the screen is wide", "x", "done", ""}
	if got := shown(sent.String()); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if strings.Contains(sent.String(), "\x1b") {
		t.Error("escape sequences")
	}
	// No piece between two carriage returns is wider than the screen, or it would wrap.
	for _, piece := range strings.FieldsFunc(sent.String(), func(r rune) bool { return r == '\r' || r == '\n' }) {
		if len(piece) > 19 && !strings.HasPrefix(piece, "a line") {
			t.Errorf("%q is drawn on 20 columns", piece)
		}
	}
}

func TestScreenWithoutTerminal(t *testing.T) {
	var sent bytes.Buffer
	c := &screen{w: &sent}
	c.show("one of three")
	fmt.Fprintln(c, "a line")
	c.show("")
	if sent.String() != "a line\n" {
		t.Errorf("%q", sent.String())
	}
}

func TestCounterText(t *testing.T) {
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	screen, _ := terminal(100)
	for _, test := range []struct {
		c     *counter
		after time.Duration
		want  string
	}{
		{&counter{what: "embedding", unit: imageUnit, screen: screen}, 0, ""},
		{&counter{what: "embedding", unit: imageUnit, screen: screen, done: 500, total: 2000, since: begin}, 2 * time.Second,
			"embedding  [#####...............]  500 of 2,000 images  25 %  250 images/s  6.0 s left"},
		{&counter{what: "embedding", unit: imageUnit, screen: screen, done: 2000, total: 2000, since: begin}, 4 * time.Second,
			"embedding  [####################]  2,000 of 2,000 images  100 %"},
		{&counter{what: "embedding", unit: imageUnit, screen: &screenWithout, total: 2000, since: begin}, 4 * time.Second,
			"embedding  0 of 2,000 images  0 %"},
		// 100 MB were there when the download went on.
		{&counter{what: "fetching", unit: byteUnit, screen: &screenWithout, first: 100e6, done: 130e6, total: 160e6, since: begin}, 10 * time.Second,
			"fetching  130.0 of 160.0 MB  81 %  3.0 MB/s  10 s left"},
		{&counter{what: "fetching", unit: byteUnit, screen: screen, done: 12e6, total: -1, since: begin}, 4 * time.Second,
			"fetching  12.0 MB  3.0 MB/s"},
	} {
		if got := test.c.text(begin.Add(test.after)); got != test.want {
			t.Errorf("got  %q\nwant %q", got, test.want)
		}
	}
}

var screenWithout screen

// A counter on a terminal leaves nothing behind, and what is printed meanwhile stays.
func TestCounter(t *testing.T) {
	screen, sent := terminal(80)
	s := &streams{err: screen}
	c := startCounter(s, "embedding", imageUnit)
	for i := range 4 {
		c.set(int64(i), 4)
		time.Sleep(drawInterval)
		if i == 2 {
			fmt.Fprintln(s.err, "skipped a.jpg: not an image")
		}
	}
	c.finish()
	if !strings.Contains(sent.String(), "of 4 images") {
		t.Errorf("no progress: %q", sent.String())
	}
	if got := shown(sent.String()); fmt.Sprint(got) != "[skipped a.jpg: not an image ]" {
		t.Errorf("%q", got)
	}
}

func TestStepText(t *testing.T) {
	p := training.Progress{
		Phase: training.Training, Step: 1234, Steps: 12000, Epoch: 1.25, Loss: 0.4321, Active: 0.123, ImagesPerSecond: 874,
		Left: 185 * time.Second, HeldBack: &training.HeldBack{Step: 1000, Images: 400, Purity: &training.Purity{At1: 0.25, At10: 0.2, Chance: 0.1}},
	}
	whole := "step 1,234/12,000  epoch 1.25  loss 0.4321  active 12.3 %  874 images/s  3 min 5 s left  purity@1 0.25"
	for letters, want := range map[int]string{
		0:   whole,
		102: whole,
		101: "step 1,234/12,000 epoch 1.25 loss 0.4321 active 12% 874/s 3m left purity@1 0.25",
		79:  "step 1,234/12,000 epoch 1.25 loss 0.4321 active 12% 874/s 3m left purity@1 0.25",
		75:  "step 1,234/12,000 loss 0.4321 active 12% 874/s 3m left purity@1 0.25",
		65:  "step 1,234/12,000 loss 0.4321 active 12% 3m left purity@1 0.25",
		60:  "step 1,234/12,000 loss 0.4321 3m left purity@1 0.25",
		20:  "step 1,234/12,000 loss 0.4321",
	} {
		if got := stepText(p, letters); got != want {
			t.Errorf("%d letters: got  %q\nwant %q", letters, got, want)
		}
	}
	p.Collapsed, p.Active, p.HeldBack, p.Left, p.Loss = true, math.NaN(), nil, 0, 0.0000123
	if got, want := stepText(p, 0), "COLLAPSED  step 1,234/12,000  epoch 1.25  loss 1.2e-05  874 images/s"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	p.Loss, p.ImagesPerSecond, p.Collapsed = math.NaN(), math.NaN(), false
	if got, want := stepText(p, 0), "step 1,234/12,000  epoch 1.25"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// The line of training shows each measurement and each warning once; without a terminal nothing else within seconds.
func TestTrainLine(t *testing.T) {
	s, _, stderr := fake("")
	line := newTrainLine(s)
	line.show(training.Progress{Phase: training.Loading, Loaded: 1, Images: 500})
	purity := func(at1 float64) *training.Purity { return &training.Purity{At1: at1, At10: 0.15, Chance: 0.1} }
	p := training.Progress{Phase: training.Training, Steps: 1200, Loss: math.NaN(), Active: math.NaN(), ImagesPerSecond: math.NaN()}
	p.HeldBack = &training.HeldBack{Images: 50, Purity: purity(0.2)}
	line.show(p)
	line.show(p)
	p.Step, p.Epoch, p.Loss, p.Active = 40, 0.5, 1.5, 0.25
	line.show(p)
	p.HeldBack = &training.HeldBack{Step: 40, Images: 50, Purity: purity(0.3)}
	p.Warnings, p.Collapsed = []string{"it has collapsed"}, true
	line.show(p)
	line.show(p)
	p.Phase = training.Finished
	line.show(p)
	want := `50 images held back to measure on; chance is 0.100
step     0/1,200  purity@1 0.200  @10 0.150
warning: it has collapsed
COLLAPSED  step    40/1,200  purity@1 0.300  @10 0.150  epoch 0.50  loss 1.5000  active 25.0 %
`
	if stderr.String() != want {
		t.Errorf("got\n%s\nwant\n%s", stderr, want)
	}
}
