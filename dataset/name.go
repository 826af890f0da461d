package dataset

import (
	"strconv"
	"strings"
)

// reference is a data set's name taken apart: base, base:part or base:part/position.
type reference struct {
	base     string
	split    string // "train", "test" or "" for all
	position int    // of a single image within its part, or -1
}

// parseName takes a name apart. Only the last colon counts and only before train or test, so that a Windows drive or a
// file name with a colon stays whole.
func parseName(name string) reference {
	whole := reference{base: name, position: -1}
	colon := strings.LastIndexByte(name, ':')
	if colon <= 0 {
		return whole
	}
	split, position, single := strings.Cut(name[colon+1:], "/")
	if split != "train" && split != "test" {
		return whole
	}
	out := reference{base: name[:colon], split: split, position: -1}
	if single {
		n, err := strconv.ParseUint(position, 10, 31)
		if err != nil {
			return whole
		}
		out.position = int(n)
	}
	return out
}
