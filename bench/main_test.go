package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"imgsearch/embedder"
	"imgsearch/training"
)

// TestMain lets the test binary be a worker, as the program is.
func TestMain(m *testing.M) {
	if threads := os.Getenv(workerVariable); threads != "" {
		if err := runWorker(threads); err != nil {
			panic(err)
		}
		return
	}
	os.Exit(m.Run())
}

// tinyRow is a training step that takes no time to speak of.
func tinyRow(folder string) row {
	p := plan{folder: folder, seed: 3, rounds: 2}
	return p.training("tiny", "tiny", training.BareStepOptions{
		Architecture: embedder.Architecture{InputSize: 4, Layers: []embedder.Layer{
			{Kind: embedder.Conv, Out: 5, Kernel: 3, Pad: 1}, {Kind: embedder.BatchNorm}, {Kind: embedder.ReLU},
			{Kind: embedder.GlobalMean}, {Kind: embedder.Linear, Out: 4, Bias: true}, {Kind: embedder.L2Norm},
		}},
		Loss: training.LossOptions{Loss: training.LossSmoothTriplet, Temperature: 0.1}, Groups: 3, Momentum: 0.9,
	}, 0.1)
}

// TestMeasure sends a tiny row through the whole harness, without a peer.
func TestMeasure(t *testing.T) {
	folder := t.TempDir()
	w, err := newWorkers(folder, "")
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	m := &measurer{workers: w, threads: []int{1, 2}, log: t.Logf}
	about, err := w.about(context.Background(), 2)
	if err != nil {
		t.Fatal(err)
	}
	if about[ourSide]["threads"] != "2" || len(about) != 1 {
		t.Errorf("about %v", about)
	}
	r := tinyRow(folder)
	got, err := m.measure(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Entrants) != 3 || len(got.Losses) != checkedSteps {
		t.Fatalf("%d entrants and losses %v", len(got.Entrants), got.Losses)
	}
	if got.Images != 6 || got.FLOPs != 2*(2*3*5*9*16)+3*(2*5*4) {
		t.Errorf("%d images of %d operations", got.Images, got.FLOPs)
	}
	for _, e := range got.Entrants {
		images := 6
		if e.Variant == apartVariant {
			images *= e.Threads
		}
		if len(e.Samples) != r.rounds || e.Samples[0].Images != e.units*images || !(e.speed() > 0) || !(e.peak() > 0) {
			t.Errorf("%d threads: samples %+v", e.Threads, e.Samples)
		}
	}
	for _, n := range m.threads {
		c, ok := got.compare(n)
		if !ok || !(c.Ours > 0) || !(c.PeakShare > 0) || c.Variant != "" || c.Ratio != 0 {
			t.Errorf("%d threads: %+v", n, c)
		}
	}
	if len(w.byKey) != 2 {
		t.Errorf("%d workers, want one for each number of threads", len(w.byKey))
	}

	data, err := os.ReadFile(r.work.Tensors)
	if err != nil {
		t.Fatal(err)
	}
	tensors, _, err := embedder.UnmarshalTensors(data)
	if err != nil {
		t.Fatal(err)
	}
	if s := tensors["input"].Shape; !slices.Equal(s, []int{6, 3, 4, 4}) {
		t.Errorf("input of shape %v", s)
	}
	if _, ok := tensors["layers.4.bias"]; !ok {
		t.Error("no layers.4.bias in the file of tensors")
	}
}

// TestEmbedding: a job of inference works in one call and one by one, and both tell the same embeddings.
func TestEmbedding(t *testing.T) {
	a := tinyRow("").work.Architecture
	a.InputSize = 32
	p := plan{folder: t.TempDir(), seed: 1, rounds: 1}
	var err error
	if p.pixels, p.source, err = loadPixels(context.Background(), "", 5, 1); err != nil {
		t.Fatal(err)
	}
	rows, err := p.inference(a)
	if err != nil {
		t.Fatal(err)
	}
	s := &ourJobs{threads: 1, jobs: map[string]ourJob{}}
	var first []float64
	for _, r := range rows {
		if _, err := s.answer(request{Do: "prepare", Job: r.name, Work: &r.work}); err != nil {
			t.Fatal(err)
		}
		got, err := s.answer(request{Do: "run", Job: r.name, Count: 3})
		if err != nil || !(got.Seconds > 0) || got.Value == 0 {
			t.Errorf("%s: run %+v, error %v", r.name, got, err)
		}
		e, err := s.answer(request{Do: "embeddings", Job: r.name, Count: 5})
		if err != nil || len(e.Values) != 5*4 {
			t.Fatalf("%s: %d values, error %v", r.name, len(e.Values), err)
		}
		if first == nil {
			first = e.Values
		}
		if err := agree("embed", e.Values, first); err != nil {
			t.Error(err)
		}
	}
}

func TestRefusals(t *testing.T) {
	s := &ourJobs{threads: 1, jobs: map[string]ourJob{}}
	for _, r := range []request{
		{Do: "run", Job: "none"}, {Do: "prepare", Job: "x"}, {Do: "prepare", Job: "x", Work: &work{Kind: "other"}},
		{Do: "prepare", Job: "x", Work: &work{Kind: "train"}},
	} {
		if _, err := s.answer(r); err == nil {
			t.Errorf("%+v is no error", r)
		}
	}
}

// TestProtocol: a worker answers line by line, says what it cannot do and goes on.
func TestProtocol(t *testing.T) {
	w, err := newWorkers(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	p, err := w.get(ourSide, 1, "")
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if _, err := p.ask(ctx, request{Do: "run", Job: "none"}); err == nil {
		t.Error("a run of no job is no error")
	} else if text, ok := refused(err); !ok || !strings.Contains(text, `no job "none"`) {
		t.Errorf("error %v", err)
	}
	if a, err := p.ask(ctx, request{Do: "about"}); err != nil || a.About["kernel"] == "" {
		t.Errorf("about %+v, error %v", a, err)
	}
	if same, err := w.get(ourSide, 1, ""); err != nil || same != p {
		t.Error("asked twice, there are two workers")
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := p.ask(cancelled, request{Do: "about"}); err == nil {
		t.Error("an interrupted request is no error")
	}
}

func TestServe(t *testing.T) {
	var out bytes.Buffer
	err := serve(strings.NewReader(`{"do":"about"}`+"\n"+`{"do":"run","count":7}`), &out, func(r request) (reply, error) {
		return reply{Value: float64(r.Count), About: map[string]string{"did": r.Do}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"about":{"did":"about"}}` + "\n" + `{"value":7,"about":{"did":"run"}}` + "\n"
	if out.String() != want {
		t.Errorf("answers\n%swant\n%s", &out, want)
	}
	if err := serve(strings.NewReader("nonsense"), &out, nil); err == nil {
		t.Error("nonsense is no error")
	}
}

// TestRun: the command itself, from flags to the file.
func TestRun(t *testing.T) {
	ctx := context.Background()
	for _, c := range []struct {
		arguments []string
		code      int
		text      string
	}{
		{[]string{"--rows", "list"}, 0, "n77-512"},
		{[]string{"--rows", "n78"}, 2, "must be some of n77-128,n77-512,"},
		{[]string{"--threads", "1,zwei"}, 2, "--threads 1,zwei"},
		{[]string{"--threads", "1,2", "--processor-time"}, 2, "only with 1"},
		{[]string{"--rounds", "0"}, 2, "--rounds 0"},
		{[]string{"n77"}, 2, "there are only flags"},
		{[]string{"--peers", "nowhere", "--rows", "latency"}, 2, "no virtual environment"},
		{[]string{"--data", "nowhere", "--rows", "latency"}, 1, "nowhere"},
	} {
		var out, errors bytes.Buffer
		if code := run(ctx, c.arguments, &out, &errors); code != c.code || !strings.Contains(out.String()+errors.String(), c.text) {
			t.Errorf("%v: code %d, output\n%s%s", c.arguments, code, &out, &errors)
		}
	}
	path := filepath.Join(t.TempDir(), "out.json")
	var out, errors bytes.Buffer
	if code := run(ctx, []string{"--rows", "latency", "--quick", "--rounds", "1", "--threads", "1", "--out", path}, &out, &errors); code != 0 {
		t.Fatalf("code %d\n%s", code, &errors)
	}
	for _, text := range []string{"embedding of one image, warm", "PyTorch: no --peers"} {
		if !strings.Contains(out.String(), text) {
			t.Errorf("no %q in\n%s", text, &out)
		}
	}
	if !strings.Contains(errors.String(), "VENV/bin/pip install -r bench/peers/requirements.txt") {
		t.Errorf("it does not tell how to get the peer:\n%s", &errors)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	if r.Version != recordVersion || len(r.Rows) != 1 || len(r.Rows[0].Entrants[0].Samples) != 1 || r.Flags["seed"] != "1" || r.Machine.Go == "" {
		t.Errorf("record\n%s", data)
	}
	if _, there := r.Flags["peers"]; there {
		t.Error("the record tells a path of this machine")
	}
}
