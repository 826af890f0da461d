package main

import (
	"io"
	"strings"
	"sync"
	"unicode/utf8"
)

// screen is stderr: lines that stay and, at a terminal, one line below them that changes while work goes on. Lines that
// are written in between push the changing one down, so neither destroys the other. It may be used from several
// goroutines.
type screen struct {
	w io.Writer
	// columns tells the terminal's present width, 0 where that is unknown; nil where stderr is no terminal.
	columns func() int

	mu    sync.Mutex
	live  string // the changing line
	drawn int    // letters of it that stand on the terminal
}

// terminal tells whether a person watches.
func (c *screen) terminal() bool { return c.columns != nil }

// Write prints whole lines above the changing one.
func (c *screen) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.drawn == 0 {
		return c.w.Write(p)
	}
	c.wipe()
	n, err := c.w.Write(p)
	c.draw()
	return n, err
}

// show changes the changing line; "" takes it away. Without a terminal it does nothing.
func (c *screen) show(text string) {
	if !c.terminal() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if text == "" {
		c.wipe()
	}
	c.live = text
	c.draw()
}

// room is the number of letters that the changing line has room for, one column being left for the cursor.
func (c *screen) room() int {
	if width := c.columns(); width > 0 {
		return width - 1
	}
	return 79
}

// draw writes the changing line over the one that stands there. It uses no escape sequences, which some terminals lack.
func (c *screen) draw() {
	if c.live == "" {
		return
	}
	text, room := c.live, max(c.room(), 1)
	if utf8.RuneCountInString(text) > room {
		text = string([]rune(text)[:room])
	}
	length := utf8.RuneCountInString(text)
	_, _ = io.WriteString(c.w, "\r"+text+strings.Repeat(" ", max(min(c.drawn, room)-length, 0)))
	c.drawn = length
}

// wipe clears what stands of the changing line and puts the cursor at its beginning.
func (c *screen) wipe() {
	if c.drawn > 0 {
		_, _ = io.WriteString(c.w, "\r"+strings.Repeat(" ", min(c.drawn, max(c.room(), 1)))+"\r")
	}
	c.drawn = 0
}
