package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"iter"
	"strings"
)

// namesFrom yields the command line's names, for each "-" the lines of stdin that are not empty, as they come. When ctx
// ends it does not wait for the next line but yields ctx's error.
func namesFrom(ctx context.Context, args []string, stdin io.Reader) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, arg := range args {
			if arg == "-" && !yieldLines(ctx, stdin, yield) || arg != "-" && !yield(arg, nil) {
				return
			}
		}
	}
}

// yieldLines yields the lines of stdin and reports whether more is wanted.
func yieldLines(ctx context.Context, stdin io.Reader, yield func(string, error) bool) bool {
	lines, stop := make(chan string), make(chan struct{})
	defer close(stop)
	var failed error // written before lines is closed
	go func() {
		defer close(lines)
		scanner := bufio.NewScanner(stdin)
		scanner.Buffer(nil, 1<<20)
		for scanner.Scan() {
			select {
			case lines <- scanner.Text():
			case <-stop:
				return
			}
		}
		failed = scanner.Err()
	}()
	for {
		select {
		case <-ctx.Done():
			yield("", ctx.Err())
			return false
		case line, ok := <-lines:
			if !ok && failed != nil {
				yield("", fmt.Errorf("read names from stdin: %w", failed))
				return false
			}
			if !ok {
				return true
			}
			if line = strings.TrimRight(line, "\r"); line != "" && !yield(line, nil) {
				return false
			}
		}
	}
}
