package training

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"time"
)

// The run record is a file of JSON lines beside the encoder. Each line has a "kind": "start", "step", "held_back",
// "warning", "interrupted", "resume", "stop" and "end".

// startLine is the first line of a run record.
type startLine struct {
	Kind     string     `json:"kind"` // "start"
	Time     time.Time  `json:"time"`
	Program  string     `json:"program"`
	Go       string     `json:"go"`
	System   string     `json:"system"`
	CPUs     int        `json:"cpus"`
	Threads  int        `json:"threads"`
	Kernel   string     `json:"kernel"`
	Options  recorded   `json:"options"`
	Dataset  string     `json:"dataset"`
	Finger   string     `json:"dataset_fingerprint"`
	Images   int        `json:"images"`
	InFile   bool       `json:"images_in_file,omitempty"` // rather than in memory
	Skipped  int        `json:"skipped"`
	Train    int        `json:"train_images"`
	HeldBack int        `json:"held_back_images"`
	Batch    int        `json:"batch"`
	Rows     int        `json:"rows"` // full-size images that go through the net for each of the batch
	Peak     float64    `json:"peak_learning_rate"`
	Steps    int        `json:"steps"`
	Weights  int64      `json:"parameters"`
	FLOPs    int64      `json:"flops"`
	Mean     [3]float32 `json:"mean"`
	Std      [3]float32 `json:"std"`
}

// stepLine holds means over the steps since the line before.
type stepLine struct {
	Kind         string   `json:"kind"` // "step"
	Step         int      `json:"step"`
	Epoch        float64  `json:"epoch"`
	Loss         *float64 `json:"loss"`
	Active       *float64 `json:"active,omitempty"`
	Positive     *float64 `json:"anchor_positive_distance,omitempty"`
	Negative     *float64 `json:"anchor_negative_distance,omitempty"`
	Spread       *float64 `json:"spread,omitempty"`
	LearningRate float64  `json:"learning_rate"`
	Seconds      float64  `json:"seconds"`
}

// heldBackLine is a measurement.
type heldBackLine struct {
	Kind string `json:"kind"` // "held_back"
	HeldBack
	Seconds float64 `json:"seconds"`
}

// eventLine is a warning, an interruption, a resume, or the moment when the run has stalled.
type eventLine struct {
	Kind    string    `json:"kind"`
	Time    time.Time `json:"time"`
	Step    int       `json:"step"`
	Text    string    `json:"text,omitempty"`
	Seconds float64   `json:"seconds"`
}

// endLine is the last line of a finished run.
type endLine struct {
	Kind     string      `json:"kind"` // "end"
	Time     time.Time   `json:"time"`
	Step     int         `json:"step"`
	Epoch    float64     `json:"epoch"`
	Loss     float64     `json:"loss"`
	HeldBack *HeldBack   `json:"held_back,omitempty"`
	Compared *Comparison `json:"comparison,omitempty"`
	Seconds  float64     `json:"seconds"`
	// ImagesPerSecond counts anchors, over all Seconds.
	ImagesPerSecond float64 `json:"images_per_second"`
	// Where time went since the start or the last resume. The first two were before Seconds, the others are part of them.
	Loading     float64  `json:"loading_seconds"`
	Preparing   float64  `json:"preparing_seconds"`
	Waiting     float64  `json:"waiting_seconds"` // of steps for their batch
	Measuring   float64  `json:"measuring_seconds"`
	Saving      float64  `json:"saving_seconds"`
	Finishing   float64  `json:"finishing_seconds"` // see FinishOptions
	Fingerprint string   `json:"encoder_fingerprint"`
	Stopped     *Stopped `json:"stopped,omitempty"`
	Warnings    []string `json:"warnings,omitempty"`
}

// record appends lines to the run record. With no file it does nothing.
type record struct {
	file   *os.File
	length int64
}

// createRecord starts an empty record.
func createRecord(path string) (*record, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return nil, fmt.Errorf("create run record: %w", err)
	}
	return &record{file: f}, nil
}

// continueRecord opens a record and cuts off what was written after its first length bytes: lines of steps that are
// about to be done again. A record that was lost or shortened starts where it ends.
func continueRecord(path string, length int64) (*record, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("continue run record: %w", err)
	}
	info, err := f.Stat()
	if err == nil {
		length = min(length, info.Size())
		err = f.Truncate(length)
	}
	if err == nil {
		_, err = f.Seek(length, 0)
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("continue run record: %w", err)
	}
	return &record{file: f, length: length}, nil
}

// add writes one line.
func (r *record) add(line any) error {
	if r.file == nil {
		return nil
	}
	data, err := json.Marshal(line)
	if err != nil {
		return fmt.Errorf("write run record: %w", err)
	}
	n, err := r.file.Write(append(data, '\n'))
	r.length += int64(n)
	if err != nil {
		return fmt.Errorf("write run record: %w", err)
	}
	return nil
}

// sync makes the lines so far last and returns their length in bytes.
func (r *record) sync() (int64, error) {
	if r.file == nil {
		return 0, nil
	}
	if err := r.file.Sync(); err != nil {
		return 0, fmt.Errorf("write run record: %w", err)
	}
	return r.length, nil
}

func (r *record) close() {
	if r.file != nil {
		_ = r.file.Close()
	}
}

// openRecord starts or continues the run record, and saves the first checkpoint.
func (t *trainer) openRecord(from *checkpoint) (err error) {
	now := t.now()
	t.started, t.saved, t.measured = now, now, now
	if t.Out == "" {
		return nil
	}
	if from != nil {
		if t.record, err = continueRecord(RecordPath(t.Out), from.RecordBytes); err != nil {
			return err
		}
		return t.record.add(eventLine{Kind: "resume", Time: now, Step: t.at.Step, Seconds: rounded(t.seconds())})
	}
	if t.record, err = createRecord(RecordPath(t.Out)); err != nil {
		return err
	}
	if err := t.record.add(startLine{
		Kind: "start", Time: now, Program: t.Program, Go: runtime.Version(), System: systemName(), CPUs: runtime.NumCPU(),
		Threads: t.Threads, Kernel: t.at.Kernel, Options: t.at.Options, Dataset: t.dataset, Finger: t.fingerprint,
		Images: t.corpus.len(), InFile: t.corpus.file != nil, Skipped: t.skipped, Train: len(t.train), HeldBack: len(t.back), Batch: t.batch, Rows: t.perGroup, Peak: t.peakRate,
		Steps: t.at.Steps, Weights: t.Architecture.ParameterCount(), FLOPs: t.Architecture.FLOPs(),
		Mean: t.Architecture.Mean, Std: t.Architecture.Std,
	}); err != nil {
		return err
	}
	for _, text := range t.at.Watch.Warnings {
		if err := t.warned(text); err != nil {
			return err
		}
	}
	return t.save()
}

func systemName() string { return runtime.GOOS + "/" + runtime.GOARCH }
