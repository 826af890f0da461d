package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"

	"imgsearch/embedder"
	"imgsearch/training"
)

// A worker reads requests from its standard input and answers each with a line on its standard output, all JSON.

// work is what a job does, apart from how often.
type work struct {
	Kind         string                `json:"kind"` // "train" or "embed"
	Architecture embedder.Architecture `json:"architecture"`
	// Tensors is a safetensors file: the weights, and for "train" the input.
	Tensors string `json:"tensors"`

	// For "train"; see training.BareStepOptions.
	Head        []embedder.Layer     `json:"head,omitempty"`
	Loss        training.LossOptions `json:"loss"`
	Groups      int                  `json:"groups"`
	Momentum    float64              `json:"momentum"`
	WeightDecay float64              `json:"weight_decay"`
	Nesterov    bool                 `json:"nesterov"`
	Rate        float64              `json:"rate"`
	// Optimizer is for imgsearch alone; the zero value is SGD, which PyTorch is compared on.
	Optimizer training.OptimizerOptions `json:"optimizer,omitzero"`
	Seed      uint64                    `json:"seed"`

	// Pixels is a file of images, [N, S, S, 3] uint8; for "embed".
	Pixels string `json:"pixels,omitempty"`
	// OneByOne makes a run embed images one after the other, in a call each.
	OneByOne bool `json:"one_by_one,omitempty"`
}

// request is what the harness wants of a worker. Do is one of
//
//	about       tell the versions and settings of the library
//	prepare     make Job of Work, in the way that Variant names
//	write       write the job's weights and input to its file of tensors (imgsearch only)
//	losses      make Count steps at Rate, instead of the work's, and tell the loss of each, before the weights change
//	embeddings  tell the embeddings of the first Count images
//	run         make Count steps or embed Count images, and tell how long it took
//	forget      free Job
type request struct {
	Do      string  `json:"do"`
	Job     string  `json:"job,omitempty"`
	Work    *work   `json:"work,omitempty"`
	Variant string  `json:"variant,omitempty"`
	Count   int     `json:"count,omitempty"`
	Rate    float64 `json:"rate,omitempty"`
}

// reply answers a request.
type reply struct {
	// Error tells why the request was not obeyed; the worker goes on all the same.
	Error string `json:"error,omitempty"`
	// Seconds is how long a run took, on the wall's clock.
	Seconds float64 `json:"seconds,omitempty"`
	// Processor is how many seconds of processors the run took, all threads together; 0 where the system does not tell.
	Processor float64 `json:"processor,omitempty"`
	// Value is the last loss, or a value of the last embedding.
	Value float64 `json:"value,omitempty"`
	// Peak is what the processor can do at most, in float32 operations a second on all threads of the worker, measured
	// around the run; 0 where it was not measured.
	Peak float64 `json:"peak,omitempty"`
	// Bytes is how much a step allocated.
	Bytes int64 `json:"bytes,omitempty"`
	// FLOPs is how many operations a training step takes for one image, told when it is prepared (imgsearch only).
	FLOPs int64 `json:"flops,omitempty"`
	// Values are losses or embeddings.
	Values []float64 `json:"values,omitempty"`
	// About names what the worker runs on.
	About map[string]string `json:"about,omitempty"`
	// IdleSeconds is the processor time that the worker spent since its answer before, when it should have been idle.
	IdleSeconds float64 `json:"idle_seconds,omitempty"`
}

// worker is a started process.
type worker struct {
	name    string
	command *exec.Cmd
	input   io.WriteCloser
	output  *bufio.Reader
	errors  *tail
	idle    float64 // the most that it spent between two answers
}

// answerTime bounds the time for one answer: some code is compiled before it runs.
const answerTime = 10 * time.Minute

// startWorker starts the command as a worker.
func startWorker(name string, command *exec.Cmd) (*worker, error) {
	w := &worker{name: name, command: command, errors: &tail{}}
	command.Stderr = w.errors
	var err error
	if w.input, err = command.StdinPipe(); err != nil {
		return nil, err
	}
	output, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	w.output = bufio.NewReader(output)
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return w, nil
}

// errRefused is wrapped by errors of a worker that goes on nevertheless.
var errRefused = errors.New("refused")

// ask sends a request and waits for the answer. When ctx is done first, the worker is killed.
func (w *worker) ask(ctx context.Context, r request) (reply, error) {
	fail := func(err error) (reply, error) {
		text := w.errors.String()
		if text != "" {
			text = "\n" + text
		}
		return reply{}, fmt.Errorf("%s: %s %s: %w%s", w.name, r.Do, r.Job, err, text)
	}
	if err := ctx.Err(); err != nil {
		return fail(err)
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = w.command.Process.Kill() })
	defer stop()
	line, err := json.Marshal(r)
	if err != nil {
		return fail(err)
	}
	if _, err := w.input.Write(append(line, '\n')); err != nil {
		return fail(err)
	}
	if line, err = w.output.ReadBytes('\n'); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return fail(err)
	}
	var a reply
	if err := json.Unmarshal(line, &a); err != nil {
		return fail(err)
	}
	w.idle = max(w.idle, a.IdleSeconds)
	if a.Error != "" {
		return reply{}, fmt.Errorf("%s: %s %s: %w: %s", w.name, r.Do, r.Job, errRefused, a.Error)
	}
	return a, nil
}

// close lets the worker end.
func (w *worker) close() {
	w.input.Close()
	timer := time.AfterFunc(5*time.Second, func() { _ = w.command.Process.Kill() })
	defer timer.Stop()
	_ = w.command.Wait() // what it has to say it said before
}

// serve is the loop of a worker: it hands each request to answer until there are no more.
func serve(input io.Reader, output io.Writer, answer func(request) (reply, error)) error {
	in, out := json.NewDecoder(input), json.NewEncoder(output)
	for {
		var r request
		if err := in.Decode(&r); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read a request: %w", err)
		}
		a, err := answer(r)
		if err != nil {
			a = reply{Error: err.Error()}
		}
		if err := out.Encode(a); err != nil {
			return fmt.Errorf("write an answer: %w", err)
		}
	}
}

// tail keeps the end of what is written to it.
type tail struct {
	mutex sync.Mutex
	text  []byte
}

const tailBytes = 4096

func (t *tail) Write(p []byte) (int, error) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.text = append(t.text, p...)
	t.text = t.text[max(0, len(t.text)-tailBytes):]
	return len(p), nil
}

func (t *tail) String() string {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return strings.TrimSpace(string(t.text))
}
