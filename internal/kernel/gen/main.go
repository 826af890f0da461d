// Command gen writes the assembly files of internal/kernel. Run it by `go generate ./internal/kernel`; it writes into
// the current directory. The same text comes out every time, and a test of package kernel holds it against the files.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	dir := "."
	if len(os.Args) > 1 {
		dir = os.Args[1]
	}
	for name, text := range files() {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// files returns the text of every generated file by its name.
func files() map[string][]byte {
	return map[string][]byte{
		"gemm_amd64.s":               gemmFile(),
		"gemmstubs_amd64.go":         gemmStubs(),
		"distance_amd64.s":           distanceFile(),
		"codes_amd64.s":              codesFile(),
		"gather_amd64.s":             gatherFile(),
		"vector_amd64.s":             vectorFile(),
		"conv_amd64.s":               convFile(),
		"convstubs_amd64.go":         convStubs(),
		"peak_amd64.s":               peakFile(),
		"winograd_amd64.s":           winogradFile(),
		"winogradstubs_amd64.go":     winogradStubs(),
		"norm_amd64.s":               normFile(),
		"elementwise_amd64.s":        elementwiseFile(),
		"pool_amd64.s":               poolFile(),
		"view_amd64.s":               viewFile(),
		"rows_amd64.s":               rowsFile(),
		"solver_amd64.s":             solverFile(),
		"plane_amd64.s":              planeFile(),
		"convbf16_amd64.s":           convBF16File(),
		"convbf16stubs_amd64.go":     convBF16Stubs(),
		"winogradbf16_amd64.s":       winogradBF16File(),
		"winogradbf16stubs_amd64.go": winogradBF16Stubs(),
	}
}
