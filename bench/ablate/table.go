package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// writeTable writes the measures in a folder as a table, in the order of the rows; those of rows that are not there any more
// come last.
func writeTable(w io.Writer, folder string) error {
	paths, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil {
		return err
	}
	var all []measures
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var m measures
		if err := json.Unmarshal(data, &m); err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		all = append(all, m)
	}
	place := func(m measures) int {
		if i := slices.IndexFunc(rows, func(r row) bool { return r.name == m.Row }); i >= 0 {
			return i
		}
		return len(rows)
	}
	slices.SortFunc(all, func(a, b measures) int {
		return cmp.Or(cmp.Compare(a.Budget, b.Budget), cmp.Compare(place(a), place(b)), strings.Compare(a.Row, b.Row),
			cmp.Compare(a.Seed, b.Seed))
	})
	budget := 0
	for _, m := range all {
		if m.Budget != budget {
			budget = m.Budget
			fmt.Fprintf(w, "\nThe arithmetic of %d steps of the reference, %.0f TFLOP:\n\n", budget, m.GFLOP/1e3)
			fmt.Fprint(w, "| row | what it is | seed | steps | passes | kNN accuracy | purity@1 | purity@10 | CPU-minutes |\n")
			fmt.Fprint(w, "|---|---|---|---|---|---|---|---|---|\n")
		}
		fmt.Fprintf(w, "| `%s` | %s | %d | %d | %.1f | %s | %s | %s | %.1f |\n", m.Row, m.About, m.Seed, m.Steps, m.Passes,
			share(m.KNNAccuracy), share(m.Purity1), share(m.Purity10), m.ProcessorSeconds/60)
	}
	return nil
}

// share writes a share as tables have it, without the zero before the point.
func share(x float64) string { return strings.TrimPrefix(fmt.Sprintf("%.3f", x), "0") }
