package training

import (
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"imgsearch/embedder"
)

// killedOut names, in a child process, the encoder file to train.
const killedOut = "IMGSEARCH_TEST_KILLED_OUT"

// killedMany tells the child that it has many views and sizes.
const killedMany = killedOut + "_MANY"

func killedOptions(t *testing.T, out string, steps int, many bool) Options {
	o := miniOptions(t)
	o.Out, o.Steps, o.CheckpointEvery = out, steps, time.Millisecond
	if many {
		o.MultiView, o.Sizes = MultiViewOptions{Views: 3, Crops: 2}, growing
	}
	return o
}

// TestKilledChild is no test of its own: it is what TestKillAndResume starts and kills.
func TestKilledChild(t *testing.T) {
	out := os.Getenv(killedOut)
	if out == "" {
		t.Skip("runs as the child of TestKillAndResume")
	}
	steps, err := strconv.Atoi(os.Getenv(killedOut + "_STEPS"))
	if err != nil {
		t.Fatal(err)
	}
	o := killedOptions(t, out, steps, os.Getenv(killedMany) != "")
	o.Threads = 2
	o.Corpus.Memory = 1                                          // from a file, and the whole run's images in memory
	o.afterStep = func(int) { time.Sleep(3 * time.Millisecond) } // so that no run is over before it is killed
	if _, err := os.Stat(CheckpointPath(out)); err == nil {
		o.Resume = true
	}
	if _, err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}

// TestKillAndResume kills a training process at random moments and starts it again until it gets through.
func TestKillAndResume(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes for some seconds")
	}
	t.Run("two views", func(t *testing.T) { testKillAndResume(t, false) })
	t.Run("many views and sizes", func(t *testing.T) { testKillAndResume(t, true) })
}

func testKillAndResume(t *testing.T, many bool) {
	const steps = 600
	whole, err := Run(t.Context(), killedOptions(t, filepath.Join(t.TempDir(), "whole"), steps, many))
	if err != nil {
		t.Fatal(err)
	}
	seed := rand.Uint64()
	t.Logf("seed of the moments: %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	out := filepath.Join(t.TempDir(), "killed")
	kills := 0
	for attempt := 0; ; attempt++ {
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledChild$", "-test.count=1")
		child.Env = append(os.Environ(), killedOut+"="+out, killedOut+"_STEPS="+strconv.Itoa(steps))
		if many {
			child.Env = append(child.Env, killedMany+"=1")
		}
		var text []byte
		done := make(chan error, 1)
		go func() {
			var err error
			text, err = child.CombinedOutput()
			done <- err
		}()
		moment := time.Duration(rng.Float64() * float64(300*time.Millisecond))
		if kills == 5 {
			moment = 10 * time.Minute // even where others use the processors
		}
		var err error
		select {
		case err = <-done:
		case <-time.After(moment):
			if child.Process != nil {
				_ = child.Process.Kill()
			}
			err = <-done
		}
		var exit *exec.ExitError
		if err == nil {
			break
		}
		if !errors.As(err, &exit) || exit.Exited() {
			t.Fatalf("attempt %d: %v\n%s", attempt, err, text)
		}
		kills++
	}
	t.Logf("killed %d times", kills)
	if kills != 5 {
		t.Error("want 5")
	}
	e, err := embedder.Load(out)
	if err != nil {
		t.Fatal(err)
	}
	if e.Fingerprint() != whole.Encoder.Fingerprint() {
		t.Error("weights differ from those of the uninterrupted run")
	}
	k := kinds(lines(t, RecordPath(out)))
	t.Logf("lines of the run record: %v", k)
	if k["start"] != 1 || k["step"] != steps || k["end"] != 1 {
		t.Errorf("run record has %v", k)
	}
}
