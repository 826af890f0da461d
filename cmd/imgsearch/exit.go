package main

import (
	"context"
	"errors"
	"fmt"
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

// exitCode maps an error to the exit code of the process. It is the only place that does.
func exitCode(err error) int {
	var usage usageError
	var incomplete incompleteError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &incomplete):
		return exitIncomplete
	case isMissingArtefact(err):
		return exitMissing
	default:
		return exitFailure
	}
}
