package main

import (
	"errors"
	"strconv"
	"strings"
)

// sizeUnits are what a number of bytes may be given in; the longest that fits counts.
var sizeUnits = []struct {
	name  string
	bytes float64
}{
	{"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30}, {"tib", 1 << 40},
	{"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9}, {"tb", 1e12},
	{"k", 1e3}, {"m", 1e6}, {"g", 1e9}, {"t", 1e12}, {"b", 1}, {"", 1},
}

// parseSize reads a number of bytes above 0: "500MB", "2 GiB", "1.5g", "4000000".
func parseSize(text string) (int64, error) {
	lower := strings.ToLower(strings.TrimSpace(text))
	for _, unit := range sizeUnits {
		digits, ok := strings.CutSuffix(lower, unit.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
		if err != nil || !(n*unit.bytes >= 1 && n*unit.bytes < 1<<62) {
			break
		}
		return int64(n * unit.bytes), nil
	}
	return 0, errors.New("must be a number of bytes such as 500MB or 4GiB")
}
