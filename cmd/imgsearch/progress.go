package main

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/schollz/progressbar/v3"
)

// Progress goes to stderr: a moving line for a person at a terminal, otherwise a plain line every plainInterval.
const plainInterval = 10 * time.Second

// counter shows how much of a known amount is done. The work calls set; a goroutine samples and prints.
type counter struct {
	what    string
	s       *streams
	done    atomic.Int64
	total   atomic.Int64
	started time.Time
	stop    chan struct{}
	stopped sync.WaitGroup
}

// startCounter begins to show progress of what, measured in images unless bytes is true.
func startCounter(s *streams, what string, bytes bool) *counter {
	c := &counter{what: what, s: s, started: time.Now(), stop: make(chan struct{})}
	c.stopped.Go(func() {
		if s.errTerminal {
			c.bar(bytes)
		} else {
			c.lines(bytes)
		}
	})
	return c
}

func (c *counter) set(done, total int) {
	c.total.Store(int64(total))
	c.done.Store(int64(done))
}

func (c *counter) finish() {
	close(c.stop)
	c.stopped.Wait()
}

func (c *counter) bar(bytes bool) {
	options := []progressbar.Option{
		progressbar.OptionSetWriter(c.s.err), progressbar.OptionSetDescription(c.what),
		progressbar.OptionShowCount(), progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish(),
		progressbar.OptionShowIts(), progressbar.OptionSetItsString("images"), progressbar.OptionFullWidth(),
		progressbar.OptionEnableColorCodes(false),
	}
	if bytes {
		options = append(options, progressbar.OptionShowBytes(true))
	}
	bar := progressbar.NewOptions64(1, options...)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-c.stop:
			_ = bar.Clear()
			return
		case <-tick.C:
			if total := c.total.Load(); total > 0 {
				bar.ChangeMax64(total)
				_ = bar.Set64(min(c.done.Load(), total-1))
			}
		}
	}
}

func (c *counter) lines(bytes bool) {
	tick := time.NewTicker(plainInterval)
	defer tick.Stop()
	for {
		select {
		case <-c.stop:
			return
		case <-tick.C:
			done, total := c.done.Load(), c.total.Load()
			if total == 0 {
				continue
			}
			unit, scale := "images", int64(1)
			if bytes {
				unit, scale = "MB", 1_000_000
			}
			fmt.Fprintf(c.s.err, "%s: %s of %s %s, %.0f %s/s\n", c.what, thousands(int(done/scale)),
				thousands(int(total/scale)), unit, float64(done/scale)/time.Since(c.started).Seconds(), unit)
		}
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
		g.name, g.current = name, startCounter(g.s, name, false)
	}
	g.current.set(done, total)
}

func (g *stages) finish() {
	if g.current != nil {
		g.current.finish()
		g.name, g.current = "", nil
	}
}

// statusLine shows a text that changes: rewritten in place on a terminal, otherwise printed every plainInterval.
type statusLine struct {
	w        io.Writer
	terminal bool
	last     time.Time
	drawn    bool
}

func newStatusLine(s *streams) *statusLine {
	return &statusLine{w: s.err, terminal: s.errTerminal}
}

// update shows text. With keep the line stays and the next one goes below it.
func (l *statusLine) update(text string, keep bool) {
	switch {
	case l.terminal && keep:
		fmt.Fprintf(l.w, "\r\x1b[K%s\n", text)
		l.drawn = false
	case l.terminal:
		fmt.Fprintf(l.w, "\r\x1b[K%s", text)
		l.drawn = true
	case keep || time.Since(l.last) >= plainInterval:
		fmt.Fprintln(l.w, text)
		l.last = time.Now()
	}
}

// finish ends a line that is still being rewritten.
func (l *statusLine) finish() {
	if l.drawn {
		fmt.Fprintln(l.w)
		l.drawn = false
	}
}
