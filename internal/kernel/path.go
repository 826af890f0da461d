package kernel

import (
	"fmt"
	"os"
	"strings"
)

// A path is one implementation of the float32 functions.
type path struct {
	name      string
	available bool
	use       func() // sets the package's function variables
}

var (
	chosen    string
	chosenErr error
)

// Name tells which code path the float32 functions use: "avx512", "avx2" or "go".
func Name() string { return chosen }

// Err returns nil, or, where IMGSEARCH_KERNEL asks for a code path that is unknown or that this processor lacks, an
// error that says so; the program then runs as if the variable were not set.
func Err() error { return chosenErr }

func init() { chosenErr = choose(os.Getenv("IMGSEARCH_KERNEL")) }

// choose makes the path of that name the current one, or the best available where the name is empty or cannot be
// obeyed, which is then an error.
func choose(name string) error {
	var names []string
	best := -1
	for i, p := range paths {
		if !p.available {
			continue
		}
		names = append(names, p.name)
		if best < 0 || p.name == name {
			best = i
		}
	}
	useGo()
	paths[best].use()
	chosen = paths[best].name
	if name == "" || name == chosen {
		return nil
	}
	return fmt.Errorf("IMGSEARCH_KERNEL=%s cannot be obeyed: this processor runs %s; using %s", name, strings.Join(names, ", "), chosen)
}

// useGo makes plain Go the path of every function.
func useGo() {
	dot, squaredL2, dotRows, squaredL2Rows, squaredL2Each = dotGo, squaredL2Go, dotRowsGo, squaredL2RowsGo, squaredL2EachGo
	axpy32, scale32, sum32, gemm32 = nil, nil, nil, nil
}
