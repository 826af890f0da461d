package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// namesFrom returns the command line's names with each "-" replaced by the non-empty lines of stdin.
func namesFrom(args []string, stdin io.Reader) ([]string, error) {
	var names []string
	for _, arg := range args {
		if arg != "-" {
			names = append(names, arg)
			continue
		}
		lines := bufio.NewScanner(stdin)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			if name := strings.TrimRight(lines.Text(), "\r"); name != "" {
				names = append(names, name)
			}
		}
		if err := lines.Err(); err != nil {
			return nil, fmt.Errorf("read names from stdin: %w", err)
		}
	}
	return names, nil
}
