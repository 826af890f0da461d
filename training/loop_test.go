package training

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"imgsearch/dataset"
	"imgsearch/embedder"
)

// nets are the steppers that the tests of the loop run with.
var nets = map[string]func(networkConfig) (stepper, error){
	"fake": newFake,
	"real": func(c networkConfig) (stepper, error) { return newNetwork(c) },
}

func eachNet(t *testing.T, test func(t *testing.T, makeNet func(networkConfig) (stepper, error))) {
	for _, name := range slices.Sorted(maps.Keys(nets)) {
		t.Run(name, func(t *testing.T) { test(t, nets[name]) })
	}
}

// lines reads a run record.
func lines(t *testing.T, path string) []map[string]any {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []map[string]any
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		var line map[string]any
		if err := json.Unmarshal(s.Bytes(), &line); err != nil {
			t.Fatalf("line %q: %v", s.Text(), err)
		}
		out = append(out, line)
	}
	return out
}

func kinds(lines []map[string]any) map[string]int {
	out := map[string]int{}
	for _, l := range lines {
		out[l["kind"].(string)]++
	}
	return out
}

func TestRun(t *testing.T) {
	eachNet(t, func(t *testing.T, makeNet func(networkConfig) (stepper, error)) {
		o := miniOptions(t)
		var progress []Progress
		o.OnProgress = func(p Progress) { progress = append(progress, p) }
		r, err := run(t.Context(), o, makeNet)
		if err != nil {
			t.Fatal(err)
		}
		e, err := embedder.Load(o.Out)
		if err != nil {
			t.Fatal(err)
		}
		if e.Fingerprint() != r.Encoder.Fingerprint() || r.Path != o.Out || r.Steps != 40 || r.Batch != 8 || r.Images != 48 {
			t.Errorf("result %+v does not describe the file", r)
		}
		if m := e.Metadata(); m.Steps != 40 || m.Seed != 3 || m.Dataset != "memory" || m.DatasetFingerprint == "" || m.FinalLoss != r.Loss || m.Created == "" {
			t.Errorf("metadata %+v", m)
		}
		if _, err := os.Stat(CheckpointPath(o.Out)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the checkpoint of a finished run is still there: %v", err)
		}
		last := progress[len(progress)-1]
		if last.Phase != Finished || last.Step != 40 || last.Steps != 40 || last.HeldBack == nil || last.HeldBack.Images != 12 || last.HeldBack.Purity == nil || last.Left != 0 {
			t.Errorf("last progress %+v", last)
		}
		record := lines(t, r.Record)
		if k := kinds(record); k["start"] != 1 || k["step"] != 40 || k["held_back"] < 2 || k["end"] != 1 {
			t.Errorf("run record has %v", k)
		}
		end := record[len(record)-1]
		if r.Rows != 2 || record[0]["rows"] != 2.0 || r.ImagesPerSecond <= 0 || end["images_per_second"] != rounded(r.ImagesPerSecond) {
			t.Errorf("result %v images/s of %d rows, record %v and %v", r.ImagesPerSecond, r.Rows, record[0], end)
		}
		spent := 0.0
		for _, name := range []string{"waiting_seconds", "measuring_seconds", "saving_seconds"} {
			spent += end[name].(float64)
		}
		if all := end["seconds"].(float64); spent <= 0 || spent > all+0.01 {
			t.Errorf("%v of %v seconds spent besides steps", spent, all)
		}
		if record[0]["kind"] != "start" || record[len(record)-1]["kind"] != "end" || record[len(record)-1]["encoder_fingerprint"] != e.Fingerprint() {
			t.Errorf("run record begins with %v and ends with %v", record[0], record[len(record)-1])
		}
		if files, _ := os.ReadDir(filepath.Dir(o.Out)); len(files) != 2 {
			t.Errorf("files left: %v", files)
		}
	})
}

// TestDataIsLetGo: once the images are loaded the data set is not asked any more, and nothing refers to it.
func TestDataIsLetGo(t *testing.T) {
	o := miniOptions(t)
	closed, freed := false, make(chan struct{})
	data := &closingSet{Dataset: o.Data, closed: &closed}
	runtime.AddCleanup(data, func(c chan struct{}) { close(c) }, freed)
	o.Data = data
	o.OnLoaded = func() {
		if closed {
			t.Error("loaded twice")
		}
		closed = true
		runtime.GC()
		select {
		case <-freed:
		case <-time.After(10 * time.Second):
			t.Error("the data set is still referred to")
		}
	}
	data = nil
	if _, err := run(t.Context(), o, newFake); err != nil {
		t.Fatal(err)
	}
	if !closed {
		t.Error("not told that the images are loaded")
	}
}

// closingSet fails when it is used after it was closed.
type closingSet struct {
	dataset.Dataset
	closed *bool
}

func (c *closingSet) Read(ctx context.Context, i int) (dataset.Sample, error) {
	if *c.closed {
		panic("read after close")
	}
	return c.Dataset.Read(ctx, i)
}

func (c *closingSet) Name() string {
	if *c.closed {
		panic("named after close")
	}
	return c.Dataset.Name()
}

func TestThreadsDoNotMatter(t *testing.T) {
	eachNet(t, func(t *testing.T, makeNet func(networkConfig) (stepper, error)) {
		var fingerprints []string
		for _, threads := range []int{1, 2, 3, 8} {
			o := miniOptions(t)
			o.Threads, o.Steps = threads, 12
			r, err := run(t.Context(), o, makeNet)
			if err != nil {
				t.Fatal(err)
			}
			fingerprints = append(fingerprints, r.Encoder.Fingerprint())
		}
		if len(slices.Compact(fingerprints)) != 1 {
			t.Errorf("weights differ between 1, 2, 3 and 8 threads: %v", fingerprints)
		}
	})
}

func TestSeedMatters(t *testing.T) {
	var fingerprints []string
	for _, seed := range []uint64{3, 3, 4} {
		o := miniOptions(t)
		o.Seed = seed
		r, err := run(t.Context(), o, newFake)
		if err != nil {
			t.Fatal(err)
		}
		fingerprints = append(fingerprints, r.Encoder.Fingerprint())
	}
	if fingerprints[0] != fingerprints[1] || fingerprints[0] == fingerprints[2] {
		t.Errorf("seeds 3, 3, 4 give %v", fingerprints)
	}
}

// TestInterruptAndResume stops a run after several steps, one after the other, and compares with one that was not.
func TestInterruptAndResume(t *testing.T) {
	eachNet(t, func(t *testing.T, makeNet func(networkConfig) (stepper, error)) {
		o := miniOptions(t)
		whole, err := run(t.Context(), o, makeNet)
		if err != nil {
			t.Fatal(err)
		}
		o.Out = filepath.Join(t.TempDir(), "parts")
		for _, stop := range []int{1, 2, 17, 39, 40} {
			ctx, cancel := context.WithCancel(t.Context())
			o.afterStep = func(step int) {
				if step == stop {
					cancel()
				}
			}
			_, err := run(ctx, o, makeNet)
			var interrupted *InterruptedError
			if !errors.As(err, &interrupted) || !errors.Is(err, context.Canceled) || interrupted.Step != stop || interrupted.Steps != 40 {
				t.Fatalf("stopped at %d: %v", stop, err)
			}
			if !strings.Contains(err.Error(), "--resume") || !strings.Contains(err.Error(), CheckpointPath(o.Out)) {
				t.Errorf("the error does not say how to go on: %v", err)
			}
			if _, err := os.Stat(o.Out); err == nil {
				t.Fatal("an unfinished run wrote an encoder")
			}
			o.Resume = true
		}
		o.afterStep = nil
		parts, err := run(t.Context(), o, makeNet)
		if err != nil {
			t.Fatal(err)
		}
		if parts.Encoder.Fingerprint() != whole.Encoder.Fingerprint() {
			t.Error("weights differ from those of the uninterrupted run")
		}
		if parts.Loss != whole.Loss {
			t.Errorf("loss %v, uninterrupted %v", parts.Loss, whole.Loss)
		}
		k := kinds(lines(t, parts.Record))
		if k["start"] != 1 || k["step"] != 40 || k["interrupted"] != 5 || k["resume"] != 5 || k["end"] != 1 {
			t.Errorf("run record has %v", k)
		}
		if _, err := run(t.Context(), o, makeNet); !errors.Is(err, ErrNoCheckpoint) {
			t.Errorf("resume of a finished run: %v", err)
		}
	})
}

// TestResumeAfterCrash takes the files as they are after some step, as kill -9 would leave them, with record lines beyond
// the checkpoint.
func TestResumeAfterCrash(t *testing.T) {
	o := miniOptions(t)
	whole, err := run(t.Context(), o, newFake)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{1, 5, 23, 40} {
		dir := t.TempDir()
		o := o
		o.Out = filepath.Join(t.TempDir(), "encoder")
		o.CheckpointEvery = 1 // every step
		if at%2 == 1 {
			o.CheckpointEvery = time.Hour // only the first one
		}
		o.afterStep = func(step int) {
			if step == at {
				for _, suffix := range []string{".checkpoint", ".jsonl"} {
					data, err := os.ReadFile(o.Out + suffix)
					if err == nil {
						err = os.WriteFile(filepath.Join(dir, "encoder"+suffix), data, 0o644)
					}
					if err != nil {
						t.Error(err)
					}
				}
			}
		}
		if _, err := run(t.Context(), o, newFake); err != nil {
			t.Fatal(err)
		}
		o.afterStep = nil
		o.Out, o.Resume = filepath.Join(dir, "encoder"), true
		// A torn write of the next checkpoint.
		if err := os.WriteFile(CheckpointPath(o.Out)+".tmp", []byte("torn"), 0o644); err != nil {
			t.Fatal(err)
		}
		r, err := run(t.Context(), o, newFake)
		if err != nil {
			t.Fatalf("crash after step %d: %v", at, err)
		}
		if r.Encoder.Fingerprint() != whole.Encoder.Fingerprint() {
			t.Errorf("crash after step %d: weights differ from those of the uninterrupted run", at)
		}
		var steps []float64
		for _, l := range lines(t, r.Record) {
			if l["kind"] == "step" {
				steps = append(steps, l["step"].(float64))
			}
		}
		if len(steps) != 40 || !slices.IsSorted(steps) || steps[39] != 40 {
			t.Errorf("crash after step %d: run record has steps %v", at, steps)
		}
	}
}

func TestResumeRefusesAnotherRun(t *testing.T) {
	o := miniOptions(t)
	ctx, cancel := context.WithCancel(t.Context())
	o.afterStep = func(int) { cancel() }
	if _, err := run(ctx, o, newFake); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	o.Resume, o.afterStep = true, nil
	before, err := os.ReadFile(CheckpointPath(o.Out))
	if err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Options){
		"batch is 8 in the checkpoint and 9 now":         func(o *Options) { o.Batch = 9 },
		"views.crop_area is 0.25":                        func(o *Options) { o.Views.CropArea = 0.3 },
		"seed is 3 in the checkpoint and 4 now":          func(o *Options) { o.Seed = 4 },
		"steps is 40 in the checkpoint and 50 now":       func(o *Options) { o.Steps = 50 },
		"layers.7.out is 8 in the checkpoint and 16 now": func(o *Options) { o.Architecture.Layers[7].Out = 16 },
		"epochs is nothing in the checkpoint and 3 now":  func(o *Options) { o.Steps, o.Epochs = 0, 3 },
		"the images of memory are not those":             func(o *Options) { o.Data = stripes(61, 16, 3) },
	} {
		changed := o
		changed.Architecture = o.Architecture.Clone()
		change(&changed)
		if _, err := run(t.Context(), changed, newFake); !errors.Is(err, ErrMismatch) || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	after, err := os.ReadFile(CheckpointPath(o.Out))
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("a refused resume changed the checkpoint: %v", err)
	}
	// What has no influence on weights may change.
	o.Threads, o.CheckpointEvery = 2, time.Hour
	if _, err := run(t.Context(), o, newFake); err != nil {
		t.Error(err)
	}
}

func TestNothingIsOverwrittenUnasked(t *testing.T) {
	o := miniOptions(t)
	if err := os.WriteFile(o.Out, []byte("precious"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t.Context(), o, newFake); !errors.Is(err, ErrExists) {
		t.Fatalf("existing encoder: %v", err)
	}
	if data, _ := os.ReadFile(o.Out); string(data) != "precious" {
		t.Fatal("the file was changed")
	}
	o.Overwrite = true
	ctx, cancel := context.WithCancel(t.Context())
	o.afterStep = func(int) { cancel() }
	if _, err := run(ctx, o, newFake); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if data, _ := os.ReadFile(o.Out); string(data) != "precious" {
		t.Error("the old encoder is gone before the new one is there")
	}
	if err := os.Remove(o.Out); err != nil {
		t.Fatal(err)
	}
	o.Overwrite, o.afterStep = false, nil
	if _, err := run(t.Context(), o, newFake); !errors.Is(err, ErrExists) {
		t.Errorf("checkpoint of an unfinished run: %v", err)
	}
	o.Overwrite = true
	if _, err := run(t.Context(), o, newFake); err != nil {
		t.Error(err)
	}
}

func TestUnwritablePlaceIsFoundFirst(t *testing.T) {
	o := miniOptions(t)
	o.Out = filepath.Join(t.TempDir(), "missing", "encoder")
	loads := 0
	o.OnProgress = func(p Progress) { loads++ }
	if _, err := run(t.Context(), o, newFake); !errors.Is(err, fs.ErrNotExist) || loads > 0 {
		t.Errorf("error %v after %d reports", err, loads)
	}
}

func TestFewImages(t *testing.T) {
	o := miniOptions(t)
	o.Out, o.HeldBack, o.Batch = "", 0, 64
	o.Data = stripes(7, 16, 3)
	if _, err := run(t.Context(), o, newFake); !errors.Is(err, ErrTooFew) {
		t.Errorf("7 images: %v", err)
	}
	o.Data = stripes(20, 16, 3)
	r, err := run(t.Context(), o, newFake)
	if err != nil {
		t.Fatal(err)
	}
	if r.Batch != 20 || len(r.Warnings) != 2 || !strings.Contains(r.Warnings[0], "batch is 20") || !strings.Contains(r.Warnings[1], "20 training images are few") {
		t.Errorf("20 images: batch %d, warnings %q", r.Batch, r.Warnings)
	}
	if r.HeldBack != nil {
		t.Error("20 images: some were held back")
	}
}

func TestDamagedImagesAreLeftOut(t *testing.T) {
	o := miniOptions(t)
	m := stripes(60, 16, 3)
	m.damaged = map[int]bool{0: true, 17: true, 59: true}
	o.Data = m
	var sources []string
	o.OnProblem = func(p dataset.Problem) { sources = append(sources, p.Source) }
	r, err := run(t.Context(), o, newFake)
	if err != nil {
		t.Fatal(err)
	}
	if r.Skipped != 3 || r.Images != 45 || !slices.Equal(sources, []string{"memory/0", "memory/17", "memory/59"}) {
		t.Errorf("skipped %d (%v), trained on %d", r.Skipped, sources, r.Images)
	}
}

func TestLabelsChangeNoWeight(t *testing.T) {
	o := miniOptions(t)
	o.Out = ""
	a, err := run(t.Context(), o, newFake)
	if err != nil {
		t.Fatal(err)
	}
	m := stripes(60, 16, 3)
	clear(m.labels)
	o.Data = m
	b, err := run(t.Context(), o, newFake)
	if err != nil {
		t.Fatal(err)
	}
	if a.Encoder.Fingerprint() != b.Encoder.Fingerprint() {
		t.Error("labels have an influence on the weights")
	}
	if a.HeldBack.Purity == nil || b.HeldBack.Purity != nil {
		t.Errorf("purity with labels %v, without %v", a.HeldBack.Purity, b.HeldBack.Purity)
	}
	if a.HeldBack.Match != b.HeldBack.Match {
		t.Errorf("match with labels %v, without %v", a.HeldBack.Match, b.HeldBack.Match)
	}
}

// nanNet diverges after a few steps.
type nanNet struct {
	stepper
	steps int
}

func (n *nanNet) step(input []float32, rate float64) (stepResult, error) {
	r, err := n.stepper.step(input, rate)
	if n.steps++; n.steps == 5 {
		err = ErrDiverged
	}
	return r, err
}

func TestDivergenceIsSaid(t *testing.T) {
	o := miniOptions(t)
	_, err := run(t.Context(), o, func(c networkConfig) (stepper, error) {
		f, err := newFake(c)
		return &nanNet{stepper: f}, err
	})
	if !errors.Is(err, ErrDiverged) || !strings.Contains(err.Error(), "step 5") {
		t.Errorf("got %v", err)
	}
}

// TestMinutesBecomeSteps uses a clock that moves 10 ms with each look at it.
func TestMinutesBecomeSteps(t *testing.T) {
	o := miniOptions(t)
	o.Steps, o.Minutes = 0, 0.1
	clock := time.Unix(1_700_000_000, 0)
	o.now = func() time.Time {
		clock = clock.Add(time.Millisecond)
		return clock
	}
	r, err := run(t.Context(), o, newFake)
	if err != nil {
		t.Fatal(err)
	}
	// A step in the measurement looks at the clock once: 6000 ms less the reserve and what is behind already.
	if r.Steps < 4500 || r.Steps > 6000 {
		t.Errorf("%d steps in 6 s of 1 ms", r.Steps)
	}
	if got := r.Encoder.Metadata().Steps; got != r.Steps {
		t.Errorf("metadata has %d steps, result %d", got, r.Steps)
	}
}

func TestNothingIsLeftRunning(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 5 {
		o := miniOptions(t)
		ctx, cancel := context.WithCancel(t.Context())
		o.afterStep = func(int) { cancel() }
		if _, err := run(ctx, o, newFake); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	for range 100 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines before, %d after", before, runtime.NumGoroutine())
}

// TestEightImagesAreLearned overfits: after seconds, a view of each of eight images lies nearest to its own image.
func TestEightImagesAreLearned(t *testing.T) {
	for _, l := range []LossOptions{
		{Loss: LossSmoothTriplet, Temperature: 0.1}, {Loss: LossNTXent, Temperature: 0.2},
		{Loss: LossTriplet, Miner: MinerSemiHard, Margin: 0.5}, {Loss: LossTriplet, Miner: MinerRandom, Margin: 0.5},
		{Loss: LossDecoupledNTXent, Temperature: 0.2}, {Loss: LossAlignUniform}, {Loss: LossVICReg}, {Loss: LossBarlowTwins},
	} {
		t.Run(string(l.Loss)+" "+string(l.Miner), func(t *testing.T) {
			o := miniOptions(t)
			o.Out, o.HeldBack, o.Loss, o.Data, o.Steps, o.Batch = "", -1, l, stripes(8, 16, 8), 300, 8
			o.Views = ViewOptions{CropArea: 0.7, Brightness: 0.2, Contrast: 0.2}
			o.LearningRate, o.WeightDecay = 0.1, 0
			r, err := Run(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			c := testCorpus(stripes(8, 16, 8), 16)
			o.Threads = 1
			h, err := newHeldBackSet(c, allRows(8), o).measure(t.Context(), trainedNet{r.Encoder.Architecture(), r.Encoder.Weights()}, nil, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			if h.Match != 1 {
				t.Errorf("%v of the views are nearest to their image, loss %v", h.Match, r.Loss)
			}
		})
	}
}

// TestCollapseIsSaid trains with the study's earlier losses, which nothing keeps from making all images one.
func TestCollapseIsSaid(t *testing.T) {
	for _, loss := range []Loss{LossMSE, LossL1} {
		o := miniOptions(t)
		o.Loss, o.Steps, o.LearningRate, o.WeightDecay, o.Schedule = LossOptions{Loss: loss}, 1000, 0.1, 0, Constant
		o.Architecture.Layers = o.Architecture.Layers[:8] // without L2Norm
		for i := range o.Architecture.Layers {            // without BatchNorm, which keeps images apart
			if o.Architecture.Layers[i].Kind == embedder.BatchNorm {
				o.Architecture.Layers[i] = embedder.Layer{Kind: embedder.ReLU}
			}
		}
		var last Progress
		o.OnProgress = func(p Progress) { last = p }
		r, err := Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Warnings) != 2 || !strings.Contains(r.Warnings[1], "collapsed") || !last.Collapsed {
			t.Errorf("%s: collapsed %v, warnings %q", loss, last.Collapsed, r.Warnings)
		}
		if k := kinds(lines(t, r.Record)); k["warning"] != 2 {
			t.Errorf("%s: run record has %v", loss, k)
		}
	}
}
