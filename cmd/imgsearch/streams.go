package main

import (
	"io"
	"os"

	"golang.org/x/term"
)

// streams are the three standard streams of a command and what is known of the terminals behind them.
type streams struct {
	in io.Reader
	// out takes the result and nothing else. It remembers the first error, so that printing need not look for one.
	out *output
	// err takes everything that a person reads while the command works.
	err *screen
	// outTerminal says whether a person watches stdout.
	outTerminal bool
	// width is the number of columns of the terminal behind stdout; 0 where there is none.
	width  int
	getenv func(string) string
}

func systemStreams() *streams {
	s := &streams{
		in: os.Stdin, out: &output{w: os.Stdout}, err: &screen{w: os.Stderr},
		outTerminal: term.IsTerminal(int(os.Stdout.Fd())),
		getenv:      os.Getenv,
	}
	if s.outTerminal {
		s.width = columns(os.Stdout)
	}
	if term.IsTerminal(int(os.Stderr.Fd())) {
		s.err.columns = func() int { return columns(os.Stderr) }
	}
	return s
}

// columns asks a terminal for its width; 0 where it does not tell.
func columns(f *os.File) int {
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// output passes on what is written until the first error, which it keeps.
type output struct {
	w     io.Writer
	first error
}

func (o *output) Write(p []byte) (int, error) {
	if o.first != nil {
		return 0, o.first
	}
	n, err := o.w.Write(p)
	o.first = err
	return n, err
}
