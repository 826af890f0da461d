package kernel

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// The code paths, from the best to the plain one.
const (
	vector512 = iota
	vector256
	vectorNone
)

var pathNames = [...]string{vector512: "avx512", vector256: "avx2", vectorNone: "go"}

var (
	vector    int // the path in use; set once, when the program starts, and by tests
	chosenErr error
)

// Name tells which code path the float32 functions use: "avx512", "avx2" or "go".
func Name() string { return pathNames[vector] }

// Err returns nil, or, where IMGSEARCH_KERNEL asks for a code path that is unknown or that this processor lacks, an
// error that says so; the program then runs as if the variable were not set.
func Err() error { return chosenErr }

func init() { chosenErr = choose(os.Getenv("IMGSEARCH_KERNEL")) }

// choose makes the path of that name the current one, or the best available where the name is empty or cannot be
// obeyed, which is then an error.
func choose(name string) error {
	vector = slices.Index(available[:], true)
	if name == "" {
		return nil
	}
	if i := slices.Index(pathNames[:], name); i >= 0 && available[i] {
		vector = i
		return nil
	}
	var names []string
	for i, ok := range available {
		if ok {
			names = append(names, pathNames[i])
		}
	}
	return fmt.Errorf("IMGSEARCH_KERNEL=%s cannot be obeyed: this processor runs %s; using %s", name, strings.Join(names, ", "), Name())
}
