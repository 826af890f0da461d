package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestThin(t *testing.T) {
	var b strings.Builder
	b.WriteString("{\"kind\":\"start\"}\n")
	for i := range 100 {
		fmt.Fprintf(&b, "{\"kind\":\"step\",\"step\":%d}\n", i+1)
	}
	b.WriteString("{\"kind\":\"warning\"}\n{\"kind\":\"end\"}\n")
	path := filepath.Join(t.TempDir(), "r.jsonl")
	if err := os.WriteFile(path, []byte(b.String()), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := thin(path); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(got)), "\n")
	if len(lines) != 3+keptSteps || lines[1] != `{"kind":"step","step":4}` || lines[keptSteps] != `{"kind":"step","step":100}` ||
		lines[0] != `{"kind":"start"}` || lines[len(lines)-1] != `{"kind":"end"}` {
		t.Errorf("%d lines: %q", len(lines), lines)
	}
}

// TestRows: names are there once, begin of no use is refused, and every recipe is one that can be trained.
func TestRows(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range rows {
		if seen[r.name] {
			t.Errorf("%s comes twice", r.name)
		}
		seen[r.name] = true
		o, err := r.options(options{seed: 1})
		if err != nil {
			t.Errorf("%s: %v", r.name, err)
			continue
		}
		steps, gflop, err := budget(o, r.cost, options{steps: 1000})
		if err != nil || steps < 1 || gflop <= 0 {
			t.Errorf("%s: %d steps, %v GFLOP, error %v", r.name, steps, gflop, err)
		}
	}
	if got, err := chosen("loss/nt,base"); err != nil || len(got) < 3 || got[0].name != "loss/nt.2" {
		t.Errorf("%d rows, error %v", len(got), err)
	}
	if _, err := chosen("unheard"); err == nil {
		t.Error("no error for a row that there is none of")
	}
}
