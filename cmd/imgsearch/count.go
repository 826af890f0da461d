package main

import (
	"fmt"
	"strconv"
)

// count renders a number with thousands separators and its noun: "1 image", "60,000 images".
func count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%s %s", thousands(n), noun)
}

func was(n int) string {
	if n == 1 {
		return "was"
	}
	return "were"
}

// thousands renders a number with commas between groups of three digits.
func thousands(n int) string {
	s := strconv.Itoa(n)
	start := 0
	if n < 0 {
		start = 1
	}
	for i := len(s) - 3; i > start; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
