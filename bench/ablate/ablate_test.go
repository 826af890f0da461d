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

func TestTable(t *testing.T) {
	folder := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write("a.json", `{"row":"gone","about":"was there","seed":1,"budget":9,"gflop":1000,"steps":7,"passes":1.25,"knn_accuracy":1}`)
	write("b.json", `{"row":"base","about":"all","seed":2,"budget":9,"gflop":1000,"steps":9,"passes":0.5,"knn_accuracy":0.6254,"purity_1":0.5,"purity_10":0.4,"processor_seconds":90}`)
	const want = `
The arithmetic of 9 steps of the reference, 1 TFLOP:

| row | what it is | seed | steps | passes | kNN accuracy | purity@1 | purity@10 | CPU-minutes |
|---|---|---|---|---|---|---|---|---|
| ` + "`base`" + ` | all | 2 | 9 | 0.5 | .625 | .500 | .400 | 1.5 |
| ` + "`gone`" + ` | was there | 1 | 7 | 1.2 | 1.000 | .000 | .000 | 0.0 |
`
	var b strings.Builder
	if err := writeTable(&b, folder); err != nil || b.String() != want {
		t.Errorf("error %v, got\n%s\nwant\n%s", err, b.String(), want)
	}
	write("c.json", "{")
	if err := writeTable(&b, folder); err == nil {
		t.Error("no error for a damaged file")
	}
}
