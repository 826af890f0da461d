package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"imgsearch/dataset"
	"imgsearch/embedder"
	"imgsearch/index/indextest"
)

// TestRun measures our own engines on vectors that lie in the cache already.
func TestRun(t *testing.T) {
	folder := t.TempDir()
	encoder, err := embedder.Shipped()
	if err != nil {
		t.Fatal(err)
	}
	for name, seed := range map[string]int{"train-600": 600, "test-10000": testImages} {
		path := filepath.Join(folder, encoder.Fingerprint()[:12]+"-"+name+".f32")
		if err := writeFloats(path, indextest.Clustered(uint64(seed), seed, embeddingDim, 7)); err != nil {
			t.Fatal(err)
		}
	}
	out, plot := filepath.Join(folder, "out.json"), filepath.Join(folder, "plot.svg")
	var stdout, stderr bytes.Buffer
	code := run(context.Background(), []string{
		"--cache", folder, "--n", "600", "--queries", "30", "--rounds", "2", "--engines", "imgsearch,exact,hnswlib,coder",
		"--ef", "10,40", "--ef-construction", "40", "--out", out, "--plot", plot,
	}, &stdout, &stderr)
	if code != 0 {
		t.Fatalf("code %d: %s", code, &stderr)
	}
	if !strings.Contains(stderr.String(), "hnswlib is not measured") || !strings.Contains(stdout.String(), "| exact |") {
		t.Errorf("stdout %s\nstderr %s", &stdout, &stderr)
	}
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Engines) != 3 || len(r.Engines[0].Curve) != 2 || r.Engines[0].Curve[1].Recall < .95 || r.Engines[1].Curve[0].Recall != 1 {
		t.Errorf("record %s", data)
	}
	if svg, err := os.ReadFile(plot); err != nil || !bytes.HasSuffix(svg, []byte("</svg>\n")) {
		t.Errorf("plot: %v", err)
	}
}

func TestUsage(t *testing.T) {
	for _, arguments := range [][]string{
		{"--n", "3"}, {"--ef", "10,x"}, {"--ef", "0"}, {"rest"}, {"--rounds", "0"}, {"--no-such-flag"},
	} {
		var stdout, stderr bytes.Buffer
		if code := run(context.Background(), arguments, &stdout, &stderr); code != 2 {
			t.Errorf("%v: code %d: %s", arguments, code, &stderr)
		}
	}
}

func TestFloats(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b.f32")
	if err := writeFloats(path, []float32{1, -2.5}); err != nil {
		t.Fatal(err)
	}
	if got, err := readFloats(path, 2); err != nil || got[0] != 1 || got[1] != -2.5 {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := readFloats(path, 3); err == nil {
		t.Error("a file of another length was read")
	}
}

func TestView(t *testing.T) {
	img := dataset.NewImage(32, 24)
	for i := range img.Pix {
		img.Pix[i] = uint8(i)
	}
	if view(img, 0, 1) != img {
		t.Error("the first round is the image itself")
	}
	a, b := view(img, 1, 5), view(img, 1, 5)
	if !a.Equal(b) || a.Width != a.Height || a.Width < 15 || a.Width > 24 {
		t.Errorf("%d x %d", a.Width, a.Height)
	}
	if a.Equal(view(img, 1, 6)) {
		t.Error("two seeds, one view")
	}
}
