package main

import (
	"fmt"

	"imgsearch/dataset"
)

// reportProblems names on stderr what listing a data set could not take in, and returns how many there were.
func reportProblems(s *streams, ds dataset.Dataset) int {
	problems := dataset.Problems(ds)
	for _, p := range problems {
		fmt.Fprintf(s.err, "skipped %s\n", oneLine(p))
	}
	return len(problems)
}
