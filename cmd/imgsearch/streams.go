package main

import (
	"io"
	"os"

	"golang.org/x/term"
)

// streams are the three standard streams of a command and what is known of the terminal behind them.
type streams struct {
	in       io.Reader
	out, err io.Writer
	// outTerminal and errTerminal say whether a person watches stdout and stderr.
	outTerminal, errTerminal bool
	// width is the number of columns of the terminal behind stdout; 0 where there is none.
	width  int
	getenv func(string) string
}

func systemStreams() *streams {
	s := &streams{
		in: os.Stdin, out: os.Stdout, err: os.Stderr,
		outTerminal: term.IsTerminal(int(os.Stdout.Fd())),
		errTerminal: term.IsTerminal(int(os.Stderr.Fd())),
		getenv:      os.Getenv,
	}
	if s.outTerminal {
		if width, _, err := term.GetSize(int(os.Stdout.Fd())); err == nil {
			s.width = width
		}
	}
	return s
}
