package main

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func collectNames(ctx context.Context, args []string, stdin io.Reader) (names []string, err error) {
	for name, err := range namesFrom(ctx, args, stdin) {
		if err != nil {
			return names, err
		}
		names = append(names, name)
	}
	return names, nil
}

func TestNamesFrom(t *testing.T) {
	for _, test := range []struct {
		args  []string
		stdin string
		want  []string
	}{
		{nil, "x\n", nil},
		{[]string{"a", "b"}, "x\n", []string{"a", "b"}},
		{[]string{"a", "-", "b"}, "x\r\n\n y z\nlast", []string{"a", "x", " y z", "last", "b"}},
		{[]string{"-", "-"}, "x\ny\n", []string{"x", "y"}},
		{[]string{"-"}, "", nil},
	} {
		got, err := collectNames(t.Context(), test.args, strings.NewReader(test.stdin))
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%q: got %q, %v, want %q", test.args, got, err, test.want)
		}
	}
	broken := errors.New("broken")
	got, err := collectNames(t.Context(), []string{"-", "b"}, io.MultiReader(strings.NewReader("x\n"), iotest.ErrReader(broken)))
	if !errors.Is(err, broken) || !slices.Equal(got, []string{"x"}) {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := collectNames(t.Context(), []string{"-"}, strings.NewReader(strings.Repeat("x", 2<<20))); err == nil {
		t.Error("a line without end is taken")
	}
	// Who stops asking is not asked again.
	for name := range namesFrom(t.Context(), []string{"-", "b"}, strings.NewReader("x\ny\n")) {
		if name != "x" {
			t.Errorf("%q after the end", name)
		}
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	waiting, _ := io.Pipe()
	if _, err := collectNames(ctx, []string{"-"}, waiting); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}
