package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"imgsearch/dataset"
	"imgsearch/embedder"
	"imgsearch/index"
	"imgsearch/search"
	"imgsearch/training"
)

func TestExitCode(t *testing.T) {
	wrapped := func(err error) error { return fmt.Errorf("while testing: %w", err) }
	for _, test := range []struct {
		err  error
		want int
	}{
		{nil, exitOK},
		{errors.New("anything"), exitFailure},
		{fs.ErrNotExist, exitFailure},
		{fs.ErrPermission, exitFailure},
		{dataset.ErrNotFound, exitFailure},
		{search.ErrCorrupt, exitFailure},
		{search.ErrLocked, exitFailure},
		{search.ErrNoSpace, exitFailure},
		{embedder.ErrChecksum, exitFailure},
		{training.ErrExists, exitFailure},
		{training.ErrDiverged, exitFailure},
		{context.DeadlineExceeded, exitFailure},
		{usagef("-k 0"), exitUsage},
		{training.ErrOptions, exitUsage},
		{search.ErrOptions, exitUsage},
		{index.ErrK, exitUsage},
		{incompleteError{3, "image"}, exitIncomplete},
		{missingFile{"there is none"}, exitMissing},
		{search.ErrNotExist, exitMissing},
		{search.ErrNotCollection, exitMissing},
		{search.ErrVersion, exitMissing},
		{search.ErrEncoder, exitMissing},
		{embedder.ErrFormat, exitMissing},
		{embedder.ErrVersion, exitMissing},
		{context.Canceled, exitInterrupted},
		{interruptedError{"nothing is lost", context.Canceled}, exitInterrupted},
		{&training.InterruptedError{Err: context.Canceled}, exitInterrupted},
		// An interruption is what the user wanted, whatever else came of it.
		{errors.Join(search.ErrVersion, context.Canceled), exitInterrupted},
	} {
		if got := exitCode(test.err); got != test.want {
			t.Errorf("%v: exit code %d, want %d", test.err, got, test.want)
		}
		if test.err == nil {
			continue
		}
		if got := exitCode(wrapped(test.err)); got != test.want {
			t.Errorf("%v, wrapped: exit code %d, want %d", test.err, got, test.want)
		}
	}
}

// The help lists every exit code.
func TestExitCodesInHelp(t *testing.T) {
	for _, code := range []int{exitOK, exitFailure, exitUsage, exitIncomplete, exitMissing, exitInterrupted} {
		if !strings.Contains(exitHelp, fmt.Sprintf("\n  %-4d ", code)) {
			t.Errorf("%d is not in the help", code)
		}
	}
}

func TestIncompleteError(t *testing.T) {
	for want, err := range map[string]error{
		"done, but 1 query was skipped: each is named above":       incompleteError{1, "query"},
		"done, but 1,200 images were skipped: each is named above": incompleteError{1200, "image"},
	} {
		if err.Error() != want {
			t.Errorf("got  %s\nwant %s", err, want)
		}
	}
}

func TestOneLine(t *testing.T) {
	full := errors.New("disk is full")
	for want, err := range map[string]error{
		"a b":              errors.New("a\tb"),
		"a; b":             errors.New("a\n\nb\n"),
		"disk is full":     errors.Join(full, full),
		"disk is full; no": errors.Join(full, errors.New("no")),
	} {
		if got := oneLine(err); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// fake are streams that a test looks at; stderr is no terminal.
func fake(stdin string) (s *streams, stdout, stderr *bytes.Buffer) {
	stdout, stderr = new(bytes.Buffer), new(bytes.Buffer)
	return &streams{
		in: strings.NewReader(stdin), out: &output{w: stdout}, err: &screen{w: stderr},
		getenv: func(string) string { return "" },
	}, stdout, stderr
}

// brokenWriter takes so many bytes and then fails.
type brokenWriter struct{ room int }

func (b *brokenWriter) Write(p []byte) (int, error) {
	n := min(len(p), b.room)
	b.room -= n
	if n < len(p) {
		return n, errors.New("no room")
	}
	return n, nil
}

// A result that does not come out whole is a failure, wherever it breaks off.
func TestOutputFails(t *testing.T) {
	for _, args := range [][]string{{"version"}, {"--help"}, {"encoder"}, {"encoder", "--json"}} {
		for _, room := range []int{0, 1, 40} {
			s, _, stderr := fake("")
			s.out = &output{w: &brokenWriter{room}}
			if code := execute(t.Context(), s, args); code != exitFailure || !strings.HasPrefix(stderr.String(), "imgsearch: ") ||
				!strings.Contains(stderr.String(), "no room") {
				t.Errorf("%v, %d bytes: exit code %d, stderr %q", args, room, code, stderr)
			}
		}
	}
}
