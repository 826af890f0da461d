package main

import (
	"context"
	"errors"
	"fmt"

	"imgsearch/index"
	"imgsearch/search"
	"imgsearch/training"
)

// The exit codes of imgsearch; root.go lists them for --help.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitIncomplete  = 3
	exitMissing     = 4
	exitInterrupted = 130
)

// usageError is a mistake in the command line.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// incompleteError says that a command did its work for all but some inputs; each was named on stderr before.
type incompleteError struct {
	skipped int
	what    string
}

func (e incompleteError) Error() string {
	return fmt.Sprintf("done, but %s %s skipped: each is named above", count(e.skipped, e.what), was(e.skipped))
}

// interruptedError says what an interrupted command leaves and how to go on.
type interruptedError struct {
	text string
	err  error
}

func (e interruptedError) Error() string { return "interrupted: " + e.text }
func (e interruptedError) Unwrap() error { return e.err }

// exitCode maps an error to the exit code of the process. It is the only place that does.
func exitCode(err error) int {
	var usage usageError
	var incomplete incompleteError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &usage), isOption(err):
		return exitUsage
	case errors.As(err, &incomplete):
		return exitIncomplete
	case isMissingArtefact(err):
		return exitMissing
	default:
		return exitFailure
	}
}

// isOption tells whether the library refused the value of an option, which came from a flag.
func isOption(err error) bool {
	for _, target := range []error{training.ErrOptions, search.ErrOptions, search.ErrExamples, index.ErrK} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}
