package main

import (
	"math"
	"strings"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{{[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 9, 2}, 3}} {
		if got := median(c.values); got != c.want {
			t.Errorf("%v: %v, want %v", c.values, got, c.want)
		}
	}
	if !math.IsNaN(median(nil)) {
		t.Error("the median of nothing is a number")
	}
	v := []float64{2, 1}
	if median(v); v[0] != 2 {
		t.Error("the values are sorted in place")
	}
}

// of makes an entrant whose turns in rounds 1, 2, ... did 100 images in so many seconds; 0 for a round without it.
func of(side, variant string, threads int, seconds ...float64) *entrant {
	e := &entrant{Side: side, Variant: variant, Threads: threads, Counted: variant != "channels_last+bf16"}
	for i, s := range seconds {
		if s > 0 {
			e.Samples = append(e.Samples, sample{Round: i + 1, Images: 100, Seconds: s, Processor: s / 2, Peak: 1e9})
		}
	}
	return e
}

func TestRatio(t *testing.T) {
	ours := of(ourSide, "", 1, 1, 1, 2, 4)
	peer := of(peerSide, "contiguous", 1, 2, 0, 4, 20)
	// Rounds 1, 3 and 4: 2, 2 and 5 times as fast.
	if got := ratio(ours, peer); got != 2 {
		t.Errorf("ratio %v, want 2", got)
	}
	if got := processorRatio(ours, peer); got != 2 {
		t.Errorf("by processor time %v, want 2", got)
	}
	if !math.IsNaN(ratio(ours, of(peerSide, "contiguous", 1))) {
		t.Error("without a common round there is a ratio")
	}
}

func TestLeaveOut(t *testing.T) {
	all := []*entrant{
		of(ourSide, "", 1, 9), of(peerSide, "contiguous", 1, 1.2), of(peerSide, "channels_last", 1, 1.05),
		of(peerSide, "channels_last+compile", 1, 1), of(peerSide, "channels_last+bf16", 1, 0.1), of(peerSide, "contiguous", 2, 3),
	}
	leaveOut(all, 3)
	want := []int{0, 4, 0, 0, 4, 0}
	for i, e := range all {
		if e.Out != want[i] {
			t.Errorf("%s %s on %d: left out from round %d on, want %d", e.Side, e.Variant, e.Threads, e.Out, want[i])
		}
	}
	if best := fastest(all, 1); best != all[3] {
		t.Errorf("the fastest is %s: what does not count must not be it", best.Variant)
	}
	if best := fastest(all, 4); best != nil {
		t.Errorf("the fastest of none is %s", best.Variant)
	}
}

func TestPreselect(t *testing.T) {
	all := []*entrant{of(ourSide, "", 1), of(peerSide, "a", 1), of(peerSide, "b", 1), of(peerSide, "c", 1), of(peerSide, "channels_last+bf16", 1)}
	for i, e := range all {
		e.Trial = []float64{1, 5, 7, 6, 2}[i]
	}
	preselect(all, 1, 2)
	for i, want := range []int{0, 1, 0, 0, 0} {
		if all[i].Out != want {
			t.Errorf("%s: %d, want %d", all[i].Variant, all[i].Out, want)
		}
	}
}

func TestAgree(t *testing.T) {
	for _, c := range []struct {
		kind      string
		got, want []float64
		ok        bool
	}{
		{"train", []float64{1.0005, 2.02}, []float64{1, 2}, true},
		{"train", []float64{1.002, 2}, []float64{1, 2}, false},
		{"train", []float64{1, 2.1}, []float64{1, 2}, false},
		{"train", []float64{1, math.NaN()}, []float64{1, 2}, false},
		{"train", []float64{1}, []float64{1, 2}, false},
		{"train", nil, nil, false},
		{"embed", []float64{0.0005, 1}, []float64{0, 1}, true},
		{"embed", []float64{0.002, 1}, []float64{0, 1}, false},
	} {
		if err := agree(c.kind, c.got, c.want); (err == nil) != c.ok {
			t.Errorf("%s %v against %v: %v", c.kind, c.got, c.want, err)
		}
	}
}

// sampleRecord has one training step on two numbers of threads, and a whole program.
func sampleRecord() *record {
	row := &result{Row: "n77-128", Net: "N77", Title: "training step of N77, 128 images", Kind: "train", Images: 128, FLOPs: 1e6, Entrants: []*entrant{
		of(ourSide, "", 1, 1, 1, 1), of(peerSide, "contiguous", 1, 2, 2, 2), of(peerSide, "channels_last", 1, 1.5, 1.5, 1.5),
		of(peerSide, "channels_last+compile", 1, 1.6, 1.6, 1.6), of(peerSide, "channels_last+bf16", 1, 0.5),
		of(ourSide, "", 2, 0.5, 0.5, 0.5), of(ourSide, apartVariant, 2, 0.8, 0.8, 0.8), of(peerSide, "contiguous", 2, 0.5, 0.5, 0.5),
	}, Notes: []string{"no compiler"}}
	r := &record{
		Commit: "abc", Machine: machine{CPU: "a processor", CPUs: 2, Kernel: "avx512", Go: "go1"},
		Workers: map[string]map[string]string{peerSide: {"torch": "9.9"}}, Rows: []*result{row},
		Programs: []wholeRun{{Threads: 1, Steps: 5, Batch: 256, Program: []float64{95, 90, 99}, Bare: []float64{100, 100, 100}, Memory: 500e6}},
		Skipped:  []string{"cold"},
	}
	for _, n := range []int{1, 2} {
		c, _ := row.compare(n)
		r.Comparisons = append(r.Comparisons, c)
	}
	r.Undisturbed = r.undisturbed()
	return r
}

func TestTables(t *testing.T) {
	const want = `abc; a processor, 2 processors, kernels avx512; go1; PyTorch 9.9. Images a second.

| training step | images | threads | imgsearch | contiguous | channels_last | torch.compile | ratio  | share of peak | bf16 autocast* |
|---------------|--------|---------|-----------|------------|---------------|---------------|--------|---------------|----------------|
| N77           | 128    | 1       | 100       | 50         | 67            | 62            | 1.50 × | 10 %          | 200            |
| N77           | 128    | 2       | 200       | 200        | –             | –             | 1.00 × | 20 %          | –              |

*PyTorch with bfloat16 products, which are less exact: shown, not compared with.

| ` + "`imgsearch train`" + `                  | threads | program | bare step | share | peak memory |
|------------------------------------|---------|---------|-----------|-------|-------------|
| preset default, batch 256, 5 steps | 1       | 95      | 100       | 95 %  | 500 MB      |

| scaling                          | threads | times as fast as 1 thread | steps of 1 thread each, at a time |
|----------------------------------|---------|---------------------------|-----------------------------------|
| training step of N77, 128 images | 2       | 2.00 ×                    | 1.25 ×                            |

| goal                                                    | measured       | at least | aim    |             |
|---------------------------------------------------------|----------------|----------|--------|-------------|
| training step, N77, 128 and 512 images, against PyTorch | 1.50 ×, 1.00 × | 1.20 ×   | 2.00 × | missed      |
| from 1 to 2 threads, training step                      | 2.00 ×         | 1.80 ×   | 1.95 × | aim reached |
| ` + "`imgsearch train`" + ` against the bare step                 | 95 %           | 90 %     | 97 %   | reached     |
| peak memory of training at batch 256                    | 500 MB         | 1000 MB  | 400 MB | reached     |

Other programs ran at the same time: turns on one thread had a processor for 50 % of their time.
Not measured: training step of N77, 128 images: no compiler
Not measured: cold
`
	var b strings.Builder
	sampleRecord().writeTables(&b)
	if got := b.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestStepsPerSecond(t *testing.T) {
	got, err := stepsPerSecond([]byte(`{"kind":"start","steps":9}
{"kind":"held_back","step":0,"seconds":1}
{"kind":"step","step":1,"seconds":2.5}
{"kind":"step","step":5,"seconds":3}
{"kind":"step","step":9,"seconds":4.5}
{"kind":"end","step":9,"seconds":6}
`), 0)
	if err != nil || got != 4 {
		t.Errorf("%v steps a second, want 4; error %v", got, err)
	}
	got, err = stepsPerSecond([]byte(`{"kind":"step","step":4,"seconds":1}
{"kind":"step","step":5,"seconds":2}
{"kind":"step","step":9,"seconds":4}
`), 4)
	if err != nil || got != 2 {
		t.Errorf("%v steps a second behind the fourth, want 2; error %v", got, err)
	}
	for _, record := range []string{"", "{", `{"kind":"step","step":1,"seconds":2}`} {
		if _, err := stepsPerSecond([]byte(record), 0); err == nil {
			t.Errorf("%q is no error", record)
		}
	}
}

func TestModelName(t *testing.T) {
	const cpuinfo = "processor\t: 0\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: A B\n\nprocessor\t: 1\nmodel name\t: C\n"
	if got := modelName([]byte(cpuinfo)); got != "A B family 25 model 17" {
		t.Errorf("%q", got)
	}
}

func TestPeerEnvironment(t *testing.T) {
	got := strings.Join(peerEnvironment([]string{"PATH=p", "OPENBLAS_CORETYPE=x", "OMP_NUM_THREADS=9", "PYTHONPATH=q"}, "2", isaAVX2), " ")
	for _, want := range []string{"PATH=p", "OMP_NUM_THREADS=2", "ONEDNN_MAX_CPU_ISA=AVX2", "ATEN_CPU_CAPABILITY=avx2"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
	for _, out := range []string{"CORETYPE", "=9", "PYTHONPATH"} {
		if strings.Contains(got, out) {
			t.Errorf("%s is left in %s", out, got)
		}
	}
}
