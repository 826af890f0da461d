package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"time"

	"imgsearch/dataset"
	"imgsearch/embedder"
	"imgsearch/internal/kernel"
	"imgsearch/internal/usage"
	"imgsearch/training"
)

// workerVariable in the environment makes this program a worker; its value is the number of threads.
const workerVariable = "IMGSEARCH_BENCH_WORKER"

// runWorker is imgsearch's side of the comparison.
func runWorker(threads string) error {
	n, err := strconv.Atoi(threads)
	if err != nil || n < 1 {
		return fmt.Errorf("%s=%s: must be a number of threads", workerVariable, threads)
	}
	if err := kernel.Err(); err != nil {
		return err
	}
	runtime.GOMAXPROCS(n)
	s := &ourJobs{threads: n, jobs: map[string]ourJob{}}
	defer s.close()
	return serve(os.Stdin, os.Stdout, s.answer)
}

// ourJobs answers requests.
type ourJobs struct {
	threads int
	jobs    map[string]ourJob
}

// ourJob is a job of imgsearch.
type ourJob interface {
	run(count int) (reply, error)
	close()
}

func (s *ourJobs) answer(r request) (reply, error) {
	switch r.Do {
	case "about":
		return reply{About: map[string]string{
			"go": runtime.Version(), "kernel": kernel.Name(), "threads": strconv.Itoa(s.threads),
		}}, nil
	case "prepare":
		j, err := s.prepare(r.Work, r.Variant)
		if err != nil {
			return reply{}, err
		}
		s.jobs[r.Job] = j
		var a reply
		if j, ok := j.(*trainJob); ok {
			a.FLOPs = j.step.FLOPs()
		}
		return a, nil
	}
	j := s.jobs[r.Job]
	if j == nil {
		return reply{}, fmt.Errorf("no job %q", r.Job)
	}
	switch r.Do {
	case "run":
		before := s.peak()
		spent := usage.ProcessorTime()
		a, err := j.run(r.Count)
		a.Processor = (usage.ProcessorTime() - spent).Seconds()
		a.Peak = (before + s.peak()) / 2
		return a, err
	case "forget":
		j.close()
		delete(s.jobs, r.Job)
		runtime.GC() // here, so that it does not happen during another job
		return reply{}, nil
	}
	switch j := j.(type) {
	case *trainJob:
		switch r.Do {
		case "write":
			return reply{}, writeTensors(j.tensors, j.step.Tensors())
		case "losses":
			losses, err := j.step.Losses(r.Count, r.Rate)
			return reply{Values: losses}, err
		}
	case *embedJob:
		if r.Do == "embeddings" {
			e, err := j.encoder.Embed(context.Background(), j.images[:min(r.Count, len(j.images))], 0)
			values := make([]float64, len(e))
			for i, v := range e {
				values[i] = float64(v)
			}
			return reply{Values: values}, err
		}
	}
	return reply{}, fmt.Errorf("request %q is not for this job", r.Do)
}

func (s *ourJobs) prepare(w *work, variant string) (ourJob, error) {
	switch {
	case w == nil:
		return nil, errors.New("no work")
	case w.Kind == "train" && variant == apartVariant:
		return newTrainJob(w, 1, s.threads)
	case w.Kind == "train":
		return newTrainJob(w, s.threads, 1)
	case w.Kind == "embed":
		return newEmbedJob(w)
	}
	return nil, fmt.Errorf("work of kind %q", w.Kind)
}

func (s *ourJobs) close() {
	for _, j := range s.jobs {
		j.close()
	}
}

// peakTime is how long the peak is measured for before and after a run.
const peakTime = 15 * time.Millisecond

// peak returns what the threads can do at most, together, while each has a processor: what other programs take away
// does not count.
func (s *ourJobs) peak() float64 {
	each := make([]float64, s.threads)
	begun, spent := time.Now(), usage.ProcessorTime()
	var group sync.WaitGroup
	for i := range each {
		group.Go(func() { each[i] = kernel.Peak(peakTime) })
	}
	group.Wait()
	elapsed := time.Since(begun)
	spent = usage.ProcessorTime() - spent
	var total float64
	for _, p := range each {
		total += p
	}
	if wanted := elapsed * time.Duration(s.threads); spent > 0 && spent < wanted {
		total *= float64(wanted) / float64(spent)
	}
	return total
}

// trainJob repeats a training step.
type trainJob struct {
	step    *training.BareStep
	others  []*training.BareStep // run at the same time
	tensors string
}

// newTrainJob makes so many steps that run at the same time, each on so many threads.
func newTrainJob(w *work, threads, steps int) (*trainJob, error) {
	j := &trainJob{tensors: w.Tensors}
	for range steps {
		step, err := training.NewBareStep(training.BareStepOptions{
			Architecture: w.Architecture, Head: w.Head, Loss: w.Loss, Groups: w.Groups, Threads: threads, LearningRate: w.Rate,
			Momentum: w.Momentum, Nesterov: w.Nesterov, WeightDecay: w.WeightDecay, Optimizer: w.Optimizer, Seed: w.Seed,
		})
		if err != nil {
			j.close()
			return nil, err
		}
		if j.step == nil {
			j.step = step
		} else {
			j.others = append(j.others, step)
		}
	}
	return j, nil
}

func (j *trainJob) run(count int) (reply, error) {
	errs := make([]error, len(j.others))
	var group sync.WaitGroup
	begun := time.Now()
	for i, o := range j.others {
		group.Go(func() { _, errs[i] = o.Run(count, 0) })
	}
	times, err := j.step.Run(count, 0)
	group.Wait()
	a := reply{Bytes: times.BytesPerStep}
	for _, d := range times.Durations {
		a.Seconds += d.Seconds()
	}
	if len(j.others) > 0 {
		a.Seconds = time.Since(begun).Seconds()
	}
	return a, errors.Join(append(errs, err)...)
}

func (j *trainJob) close() {
	for _, step := range append(j.others, j.step) {
		if step != nil {
			_ = step.Close()
		}
	}
}

// embedJob makes embeddings of images in memory.
type embedJob struct {
	encoder  *embedder.Encoder
	images   []*dataset.Image
	oneByOne bool
}

func newEmbedJob(w *work) (*embedJob, error) {
	tensors, err := os.ReadFile(w.Tensors)
	if err != nil {
		return nil, err
	}
	weights, _, err := embedder.UnmarshalTensors(tensors)
	if err != nil {
		return nil, err
	}
	e, err := embedder.New(w.Architecture, weights, embedder.Metadata{})
	if err != nil {
		return nil, err
	}
	pixels, err := os.ReadFile(w.Pixels)
	if err != nil {
		return nil, err
	}
	j := &embedJob{encoder: e, oneByOne: w.OneByOne}
	side := w.Architecture.InputSize
	for size := 3 * side * side; len(pixels) >= size; pixels = pixels[size:] {
		j.images = append(j.images, &dataset.Image{Width: side, Height: side, Pix: pixels[:size:size]})
	}
	if len(j.images) == 0 {
		return nil, fmt.Errorf("%s: no image", w.Pixels)
	}
	return j, nil
}

func (j *embedJob) run(count int) (reply, error) {
	images := j.images[:min(count, len(j.images))]
	part := len(images)
	if j.oneByOne {
		part = 1
	}
	var a reply
	begun := time.Now()
	for i := 0; i < len(images); i += part {
		e, err := j.encoder.Embed(context.Background(), images[i:i+part], 0)
		if err != nil {
			return reply{}, err
		}
		a.Value = float64(e[0])
	}
	a.Seconds = time.Since(begun).Seconds()
	return a, nil
}

func (j *embedJob) close() {}

// writeTensors writes a safetensors file.
func writeTensors(path string, tensors embedder.Weights) error {
	data, err := embedder.MarshalTensors(tensors, nil)
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}
