package main

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// Progress goes to stderr: a line that changes for a person at a terminal, otherwise a plain line every plainInterval.
const (
	plainInterval = 10 * time.Second
	drawInterval  = 100 * time.Millisecond
)

// unit is what a counter counts.
type unit struct {
	name  string
	scale float64
	// render writes an amount, in the unit.
	render func(float64) string
}

var (
	imageUnit = unit{"images", 1, func(x float64) string { return thousands(int(x)) }}
	byteUnit  = unit{"MB", 1e6, func(x float64) string { return fmt.Sprintf("%.1f", x) }}
)

func (u unit) text(n int64) string { return u.render(float64(n) / u.scale) }

// counter shows how much of an amount is done. The work calls set; a goroutine samples and prints.
type counter struct {
	what    string
	unit    unit
	screen  *screen
	stop    chan struct{}
	stopped sync.WaitGroup

	mu          sync.Mutex
	done, total int64
	// first was done since: work that goes on where it was interrupted begins with some done, which tells nothing of its
	// speed.
	first int64
	since time.Time
}

// startCounter begins to show progress of what.
func startCounter(s *streams, what string, u unit) *counter {
	c := &counter{what: what, unit: u, screen: s.err, stop: make(chan struct{})}
	c.stopped.Go(c.show)
	return c
}

// set tells how much is done; a total of 0 or less is unknown.
func (c *counter) set(done, total int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.since.IsZero() {
		c.first, c.since = done, time.Now()
	}
	c.done, c.total = done, total
}

// finish ends the progress and takes its line away.
func (c *counter) finish() {
	close(c.stop)
	c.stopped.Wait()
}

func (c *counter) show() {
	interval := plainInterval
	if c.screen.terminal() {
		interval = drawInterval
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-c.stop:
			c.screen.show("")
			return
		case now := <-tick.C:
			text := c.text(now)
			switch {
			case text == "":
			case c.screen.terminal():
				c.screen.show(text)
			default:
				fmt.Fprintln(c.screen, text)
			}
		}
	}
}

// text is the progress at a moment; "" before there is any.
func (c *counter) text(now time.Time) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.since.IsZero() {
		return ""
	}
	if c.total <= 0 {
		return fmt.Sprintf("%s  %s %s%s", c.what, c.unit.text(c.done), c.unit.name, c.speed(now))
	}
	share := min(float64(c.done)/float64(c.total), 1)
	bar := ""
	if c.screen.terminal() {
		bar = gauge(share, 20) + "  "
	}
	return fmt.Sprintf("%s  %s%s of %s %s  %.0f %%%s", c.what, bar, c.unit.text(c.done), c.unit.text(c.total), c.unit.name,
		100*share, c.speed(now))
}

// speed renders how fast it goes and, where the total is known, for how long.
func (c *counter) speed(now time.Time) string {
	seconds := now.Sub(c.since).Seconds()
	if seconds < 1 || c.done <= c.first || c.done == c.total {
		return "" // too early to tell, or something else goes on meanwhile
	}
	each := seconds / float64(c.done-c.first)
	text := fmt.Sprintf("  %s %s/s", c.unit.render(1/each/c.unit.scale), c.unit.name)
	if c.total > 0 {
		text += fmt.Sprintf("  %s left", duration(time.Duration(float64(c.total-c.done)*each*float64(time.Second))))
	}
	return text
}

// gauge draws a share of 0 to 1 with so many letters.
func gauge(share float64, letters int) string {
	full := int(share * float64(letters))
	return "[" + strings.Repeat("#", full) + strings.Repeat(".", letters-full) + "]"
}

// duration renders a time to the precision that a person wants: "0.4 s", "12 s", "3 min 20 s", "2 h 5 min".
func duration(d time.Duration) string {
	whole := int(d.Round(time.Second).Seconds())
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case whole < 60:
		return fmt.Sprintf("%d s", whole)
	case whole < 3600:
		return fmt.Sprintf("%d min %d s", whole/60, whole%60)
	default:
		return fmt.Sprintf("%d h %d min", whole/3600, whole%3600/60)
	}
}

// shortDuration is duration where there is little room: "12s", "3m", "2h05m".
func shortDuration(d time.Duration) string {
	whole := int(d.Round(time.Second).Seconds())
	switch {
	case whole < 60:
		return fmt.Sprintf("%ds", whole)
	case whole < 3600:
		return fmt.Sprintf("%dm", (whole+30)/60)
	default:
		return fmt.Sprintf("%dh%02dm", whole/3600, whole%3600/60)
	}
}

// stages shows one counter after the other, for work in several parts.
type stages struct {
	s       *streams
	name    string
	current *counter
}

func newStages(s *streams) *stages { return &stages{s: s} }

// show says how far the named stage is; it must be called from one goroutine at a time.
func (g *stages) show(name string, done, total int) {
	if name != g.name {
		g.finish()
		g.name, g.current = name, startCounter(g.s, name, imageUnit)
	}
	g.current.set(int64(done), int64(total))
}

func (g *stages) finish() {
	if g.current != nil {
		g.current.finish()
		g.name, g.current = "", nil
	}
}

// statusLine shows a text that changes: in place on a terminal, otherwise as a plain line every plainInterval.
type statusLine struct {
	screen *screen
	last   time.Time // of the last plain line
}

func newStatusLine(s *streams) *statusLine { return &statusLine{screen: s.err, last: time.Now()} }

// update shows what is true now. Text renders it for so many letters, 0 standing for any number.
func (l *statusLine) update(text func(letters int) string) {
	switch {
	case l.screen.terminal():
		l.screen.show(text(l.screen.room()))
	case time.Since(l.last) >= plainInterval:
		l.keep(text(0))
	}
}

// keep prints a line that stays.
func (l *statusLine) keep(text string) {
	fmt.Fprintln(l.screen, text)
	l.last = time.Now()
}

// finish takes the changing line away.
func (l *statusLine) finish() { l.screen.show("") }
