package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"imgsearch/internal/usage"
	"imgsearch/training"
)

// program is the built binary.
type program struct {
	path, folder string
}

// build builds imgsearch with the go command.
func build(ctx context.Context, module, folder string) (*program, error) {
	p := &program{path: filepath.Join(folder, "imgsearch.exe"), folder: folder} // Windows wants an ending, others take any
	c := exec.CommandContext(ctx, "go", "build", "-o", p.path, "./cmd/imgsearch")
	c.Dir = module
	if text, err := c.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build imgsearch: %w\n%s", err, text)
	}
	return p, nil
}

// run runs the program on so many threads, 0 for all, and returns how long it lived and the most memory that it held.
func (p *program) run(ctx context.Context, threads int, arguments ...string) (time.Duration, int64, error) {
	c := exec.CommandContext(ctx, p.path, arguments...)
	if threads > 0 {
		c.Env = append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(threads))
	}
	var errors tail
	c.Stderr = &errors
	begun := time.Now()
	if err := c.Run(); err != nil {
		return 0, 0, fmt.Errorf("imgsearch %s: %w\n%s", strings.Join(arguments, " "), err, &errors)
	}
	return time.Since(begun), usage.LargestMemory(c.ProcessState), nil
}

// cold is the time of whole processes, in seconds from start to end.
type cold struct {
	// Version only prints the version: what a process costs at least. Query embeds a picture file and searches with it.
	Version []float64 `json:"imgsearch_version"`
	Query   []float64 `json:"imgsearch_query"`
	// Gallery is the number of images that are searched.
	Gallery string `json:"gallery"`
	// Peer starts Python, builds the net, loads weights and embeds one image.
	Peer []float64 `json:"pytorch_embedding,omitempty"`
}

// measureCold times whole processes.
func (m *measurer) measureCold(ctx context.Context, p *program, r row, rounds int) (*cold, error) {
	collection, picture := filepath.Join(p.folder, "cold.imgsearch"), filepath.Join(p.folder, "cold.png")
	out := &cold{Gallery: "sample:train"}
	if _, _, err := p.run(ctx, 0, "index", out.Gallery, "--index", collection); err != nil {
		return nil, err
	}
	if err := writePicture(picture); err != nil {
		return nil, err
	}
	for i := range 2*rounds + 1 {
		version, _, err := p.run(ctx, 0, "version")
		if err != nil {
			return nil, err
		}
		query, _, err := p.run(ctx, 0, "query", picture, "--index", collection)
		if err != nil {
			return nil, err
		}
		if i > 0 { // the first ones read files from the disk
			out.Version = append(out.Version, version.Seconds())
			out.Query = append(out.Query, query.Seconds())
		}
	}
	if m.workers.python == "" {
		return out, nil
	}
	for i := range 4 {
		begun := time.Now()
		w, err := startWorker("pytorch-cold", m.workers.peerCommand(m.threads[len(m.threads)-1], ""))
		if err != nil {
			return nil, err
		}
		_, err = w.ask(ctx, request{Do: "prepare", Job: "cold", Work: &r.work, Variant: "contiguous/1"})
		if err == nil {
			_, err = w.ask(ctx, request{Do: "run", Job: "cold", Count: 1})
		}
		elapsed := time.Since(begun)
		w.close()
		if err != nil {
			return nil, err
		}
		if i > 0 {
			out.Peer = append(out.Peer, elapsed.Seconds())
		}
	}
	return out, nil
}

// writePicture writes a picture of 32x32 pixels.
func writePicture(path string) error {
	m := image.NewNRGBA(image.Rect(0, 0, 32, 32))
	rng := rand.New(rand.NewPCG(1, 3))
	for i := range m.Pix {
		m.Pix[i] = byte(rng.Uint32()) | byte(255*(i%4/3)) // opaque
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o600)
}

// wholeRun compares `imgsearch train` with the bare step.
type wholeRun struct {
	Threads int `json:"threads"`
	Steps   int `json:"steps"`
	Batch   int `json:"batch"`
	// Program and Bare are images a second of each pair of turns: of the whole program in the second half of its steps,
	// which are those at the encoder's size, with views, progress, measurements on held-back images and checkpoints; and
	// of the step alone.
	Program []float64 `json:"program_images_per_second"`
	Bare    []float64 `json:"bare_images_per_second"`
	// Memory is the most that the process held, in bytes; 0 where the system does not tell.
	Memory int64 `json:"max_resident_bytes"`
}

// share is the median over the pairs of turns of how fast the program is against the bare step.
func (w wholeRun) share() float64 {
	var shares []float64
	for i, p := range w.Program {
		shares = append(shares, p/w.Bare[i])
	}
	return median(shares)
}

// measureProgram trains with the preset default, in turns with its bare step.
func (m *measurer) measureProgram(ctx context.Context, p *program, r row, data string, quick bool) ([]wholeRun, error) {
	seconds, pairs := 10.0, 3
	if quick {
		seconds, pairs = 2, 1
	}
	var out []wholeRun
	for _, threads := range m.threads {
		w, err := m.workers.get(ourSide, threads, "")
		if err != nil {
			return nil, err
		}
		job, bare := "program", r.work
		preset, err := training.PresetByName("default")
		if err != nil {
			return nil, err
		}
		bare.Optimizer = preset.Optimizer
		if _, err := w.ask(ctx, request{Do: "prepare", Job: job, Work: &bare}); err != nil {
			return nil, err
		}
		warm, err := w.ask(ctx, request{Do: "run", Job: job, Count: 3})
		if err != nil {
			return nil, err
		}
		steps := max(4, int(seconds/(warm.Seconds/3)))
		run := wholeRun{Threads: threads, Steps: steps, Batch: r.work.Groups}
		for range pairs {
			before, err := w.ask(ctx, request{Do: "run", Job: job, Count: max(1, steps/4)})
			if err != nil {
				return nil, err
			}
			perSecond, memory, err := p.train(ctx, data, threads, steps, run.Batch)
			if err != nil {
				return nil, err
			}
			after, err := w.ask(ctx, request{Do: "run", Job: job, Count: max(1, steps/4)})
			if err != nil {
				return nil, err
			}
			images := float64(max(1, steps/4) * r.images)
			run.Bare = append(run.Bare, 2*images/(before.Seconds+after.Seconds))
			run.Program = append(run.Program, perSecond*float64(r.images))
			run.Memory = max(run.Memory, memory)
		}
		m.log("  %s: %.0f %% of the bare step", threadsText(threads), 100*run.share())
		if _, err := w.ask(ctx, request{Do: "forget", Job: job}); err != nil {
			return nil, err
		}
		out = append(out, run)
	}
	return out, nil
}

// train runs `imgsearch train` and returns how many steps a second it made in the second half.
func (p *program) train(ctx context.Context, data string, threads, steps, batch int) (float64, int64, error) {
	encoder := filepath.Join(p.folder, "run.encoder")
	_, memory, err := p.run(ctx, threads, "train", "--data", part(data, "train"), "--preset", "default", "--force",
		"--steps", strconv.Itoa(steps), "--batch", strconv.Itoa(batch), "--threads", strconv.Itoa(threads), "--out", encoder)
	if err != nil {
		return 0, 0, err
	}
	record, err := os.ReadFile(training.RecordPath(encoder))
	if err != nil {
		return 0, 0, err
	}
	perSecond, err := stepsPerSecond(record, steps/2)
	return perSecond, memory, err
}

// stepsPerSecond reads a run record: the steps after those of the first line behind so many, over the time that passed since.
func stepsPerSecond(record []byte, behind int) (float64, error) {
	type line struct {
		Kind    string
		Step    int
		Seconds float64
	}
	var first, last line
	lines := bufio.NewScanner(bytes.NewReader(record))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var l line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return 0, fmt.Errorf("run record: %w", err)
		}
		if l.Kind != "step" || l.Step <= behind {
			continue
		}
		if first.Kind == "" {
			first = l
		}
		last = l
	}
	if err := lines.Err(); err != nil {
		return 0, fmt.Errorf("run record: %w", err)
	}
	if last.Step <= first.Step || last.Seconds <= first.Seconds {
		return 0, errors.New("run record: fewer than two lines of steps")
	}
	return float64(last.Step-first.Step) / (last.Seconds - first.Seconds), nil
}
