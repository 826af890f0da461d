package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"imgsearch/embedder"
)

// child is the program as a process of its own.
type child struct {
	cmd            *exec.Cmd
	stdout, stderr watched
}

// watched is output that can be waited for.
type watched struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// start begins imgsearch in dir.
func start(t *testing.T, dir string, args ...string) *child {
	t.Helper()
	// The context only ends children of a test that failed.
	c := &child{cmd: exec.CommandContext(t.Context(), "imgsearch", args...)}
	c.cmd.Dir, c.cmd.Stdout, c.cmd.Stderr = dir, &c.stdout, &c.stderr
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}

// until waits for a file or for output, whatever done looks at.
func (c *child) until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %s within a minute\n%s", what, c.stderr.String())
		}
	}
}

// code waits for the end and returns the exit code, -1 after a kill.
func (c *child) code(t *testing.T) int {
	t.Helper()
	err := c.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return c.cmd.ProcessState.ExitCode()
}

// mustRun runs imgsearch to its end and wants exit code 0.
func mustRun(t *testing.T, dir string, args ...string) string {
	t.Helper()
	c := start(t, dir, args...)
	if code := c.code(t); code != 0 {
		t.Fatalf("imgsearch %s: exit code %d\n%s", strings.Join(args, " "), code, c.stderr.String())
	}
	return c.stdout.String()
}

func skipWithoutSignals(t *testing.T) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot be interrupted from outside on Windows")
	}
}

// weights returns the fingerprint of an encoder file.
func weights(t *testing.T, path string) string {
	t.Helper()
	e, err := embedder.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return e.Fingerprint()
}

// trainArgs is a training of about a second.
func trainArgs(t *testing.T, more ...string) []string {
	return append([]string{"train", "--data", fixtures(t).photos, "--preset", "tiny", "--steps", "60", "--batch", "16", "--out", "t.encoder"}, more...)
}

// An interrupted training says how to go on, and going on ends where an uninterrupted run ends.
func TestInterruptTraining(t *testing.T) {
	skipWithoutSignals(t)
	t.Parallel()
	dir := t.TempDir()
	c := start(t, dir, trainArgs(t, "--memory", "1kB")...)
	record := filepath.Join(dir, "t.encoder.jsonl")
	c.until(t, "step", func() bool { return bytes.Contains(contents(record), []byte(`"kind":"step"`)) })
	if err := c.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if code := c.code(t); code != exitInterrupted {
		t.Fatalf("exit code %d\n%s", code, c.stderr.String())
	}
	said := regexp.MustCompile(`(?m)^imgsearch: interrupted: [0-9]+ steps? of 60 are done and saved in t\.encoder\.checkpoint: ` +
		`the same command with --resume goes on from there\n\z`)
	if !said.MatchString(c.stderr.String()) || c.stdout.String() != "" {
		t.Errorf("stdout %q, stderr\n%s", c.stdout.String(), c.stderr.String())
	}
	for _, name := range []string{"t.encoder", "t.encoder.images"} {
		if exists(filepath.Join(dir, name)) {
			t.Errorf("%s is there", name)
		}
	}

	c = start(t, dir, trainArgs(t)...)
	if code := c.code(t); code != exitFailure || !strings.Contains(c.stderr.String(), "add --resume to go on with it, or --force") {
		t.Errorf("without --resume: exit code %d\n%s", code, c.stderr.String())
	}
	c = start(t, dir, trainArgs(t, "--resume", "--lr", "0.01")...)
	if code := c.code(t); code != exitFailure || !regexp.MustCompile(`(?m)^imgsearch: .*another run: learning_rate .*: give the options and `+
		`images of that run, or replace --resume by --force to begin anew\n\z`).MatchString(c.stderr.String()) {
		t.Errorf("with another option: exit code %d\n%s", code, c.stderr.String())
	}
	checkpoint := filepath.Join(dir, "t.encoder.checkpoint")
	saved := contents(checkpoint)
	for _, damaged := range [][]byte{nil, []byte("no checkpoint"), saved[:len(saved)/2]} {
		if err := os.WriteFile(checkpoint, damaged, 0o666); err != nil {
			t.Fatal(err)
		}
		c = start(t, dir, trainArgs(t, "--resume")...)
		if code := c.code(t); code != exitFailure || !regexp.MustCompile(`(?m)^imgsearch: .*damaged checkpoint.*: replace --resume by --force `+
			`to begin anew\n\z`).MatchString(c.stderr.String()) {
			t.Errorf("checkpoint of %d bytes: exit code %d\n%s", len(damaged), code, c.stderr.String())
		}
	}
	if err := os.WriteFile(checkpoint, saved, 0o666); err != nil {
		t.Fatal(err)
	}
	mustRun(t, dir, trainArgs(t, "--resume")...)
	whole := t.TempDir()
	mustRun(t, whole, trainArgs(t)...)
	if a, b := weights(t, filepath.Join(dir, "t.encoder")), weights(t, filepath.Join(whole, "t.encoder")); a != b {
		t.Errorf("resumed %s, uninterrupted %s", a, b)
	}
	if exists(filepath.Join(dir, "t.encoder.checkpoint")) {
		t.Error("the checkpoint is still there")
	}
}

// An interrupted index run keeps what it committed, and the next one goes on.
func TestInterruptIndex(t *testing.T) {
	skipWithoutSignals(t)
	if testing.Short() {
		t.Skip("indexes thousands of images: not run with -short")
	}
	t.Parallel()
	f, dir := fixtures(t), t.TempDir()
	args := []string{"index", "sample", "--index", "i.imgsearch", "--encoder", f.encoder}
	c := start(t, dir, args...)
	index := filepath.Join(dir, "i.imgsearch")
	c.until(t, "commit", func() bool { return committed(index) })
	// Meanwhile others may read, and no other may write.
	second := start(t, dir, "remove", "--id", "4999", "--index", "i.imgsearch")
	locked := second.code(t)
	mustRun(t, dir, "query", "--id", "3", "-k", "1", "--index", "i.imgsearch")
	if err := c.cmd.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	code := c.code(t)
	if code == exitOK {
		t.Skip("the machine indexed everything between two looks at the file")
	}
	if code != exitInterrupted {
		t.Fatalf("exit code %d\n%s", code, c.stderr.String())
	}
	if want := "collection is in use by another process (wait until it has ended, then try again)"; locked != exitFailure ||
		!strings.Contains(second.stderr.String(), want) {
		t.Errorf("a second writer: exit code %d\n%s", locked, second.stderr.String())
	}
	said := regexp.MustCompile(`^imgsearch: interrupted: [0-9,]+ images came in and are kept: the same command goes on with the rest\n\z`)
	if !said.MatchString(c.stderr.String()) || c.stdout.String() != "" {
		t.Errorf("stdout %q, stderr\n%s", c.stdout.String(), c.stderr.String())
	}
	mustRun(t, dir, "check", "i.imgsearch")
	out := mustRun(t, dir, args...)
	if !strings.Contains(out, "5,000 images") || !strings.Contains(out, "unchanged") {
		t.Errorf("the next run: %s", out)
	}
	mustRun(t, dir, "check", "i.imgsearch")
}

// A training that is killed at any moment resumes and ends with the same weights.
func TestKillTraining(t *testing.T) {
	skipWithoutSignals(t)
	if testing.Short() {
		t.Skip("kills processes: not run with -short")
	}
	t.Parallel()
	whole, dir := t.TempDir(), t.TempDir()
	mustRun(t, whole, trainArgs(t)...)
	rng := rand.New(rand.NewPCG(1, 2))
	killed := 0
	for round := range 5 {
		args := trainArgs(t)
		if exists(filepath.Join(dir, "t.encoder.checkpoint")) {
			args = append(args, "--resume")
		}
		c := start(t, dir, args...)
		time.Sleep(time.Duration(100+rng.IntN(700)) * time.Millisecond)
		if err := c.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Fatal(err)
		}
		if code := c.code(t); code == exitOK {
			break
		} else if code != -1 {
			t.Fatalf("round %d: exit code %d\n%s", round, code, c.stderr.String())
		}
		killed++
	}
	t.Logf("killed %d times", killed)
	if !exists(filepath.Join(dir, "t.encoder")) {
		args := trainArgs(t)
		if exists(filepath.Join(dir, "t.encoder.checkpoint")) {
			args = append(args, "--resume")
		}
		mustRun(t, dir, args...)
	}
	if a, b := weights(t, filepath.Join(dir, "t.encoder")), weights(t, filepath.Join(whole, "t.encoder")); a != b {
		t.Errorf("killed and resumed %s, uninterrupted %s", a, b)
	}
}

// An index run that is killed at any moment leaves a sound collection, to which the next run adds the rest.
func TestKillIndex(t *testing.T) {
	skipWithoutSignals(t)
	if testing.Short() {
		t.Skip("kills processes: not run with -short")
	}
	t.Parallel()
	f, dir := fixtures(t), t.TempDir()
	args := []string{"index", "sample", "--index", "i.imgsearch", "--encoder", f.encoder}
	index := filepath.Join(dir, "i.imgsearch")
	rng := rand.New(rand.NewPCG(3, 4))
	for round := range 3 {
		c := start(t, dir, args...)
		if round == 0 {
			c.until(t, "commit", func() bool { return committed(index) })
		} else {
			time.Sleep(time.Duration(300+rng.IntN(700)) * time.Millisecond)
		}
		if err := c.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Fatal(err)
		}
		if code := c.code(t); code != -1 && code != exitOK {
			t.Fatalf("round %d: exit code %d\n%s", round, code, c.stderr.String())
		}
		mustRun(t, dir, "check", "i.imgsearch")
		mustRun(t, dir, "query", "--id", "1", "-k", "1", "--index", "i.imgsearch")
	}
	if out := mustRun(t, dir, args...); !strings.Contains(out, "5,000 images") {
		t.Errorf("the last run: %s", out)
	}
	mustRun(t, dir, "check", "i.imgsearch")
	var names []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	if fmt.Sprint(names) != "[i.imgsearch]" {
		t.Errorf("left behind: %q", names)
	}
}

// Ctrl-C ends a query that waits for names.
func TestInterruptWaiting(t *testing.T) {
	skipWithoutSignals(t)
	t.Parallel()
	f := fixtures(t)
	c := &child{cmd: exec.CommandContext(t.Context(), "imgsearch", "query", "-", "-k", "1", "--paths", "--index", f.sample)}
	c.cmd.Stdout, c.cmd.Stderr = &c.stdout, &c.stderr
	names, err := c.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := names.Write([]byte("sample:test/3\n")); err != nil {
		t.Fatal(err)
	}
	// The answer comes before the next name.
	c.until(t, "answer", func() bool { return strings.HasSuffix(c.stdout.String(), "\n") })
	if err := c.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if code := c.code(t); code != exitInterrupted || c.stderr.String() != "imgsearch: interrupted\n" {
		t.Errorf("exit code %d, stderr %q", code, c.stderr.String())
	}
}

// contents is what a file holds, nothing where there is none.
func contents(path string) []byte {
	data, _ := os.ReadFile(path)
	return data
}

// committed tells whether images lie in a collection that another process may be writing.
func committed(path string) bool {
	if !exists(path) {
		return false
	}
	c, err := openCollection(path, "")
	if err != nil {
		return false
	}
	defer c.Close()
	info, err := c.Info(context.Background())
	return err == nil && info.Images > 0
}

// An interrupted map shows the layout as it was then, and the collection does not keep it.
func TestInterruptMap(t *testing.T) {
	skipWithoutSignals(t)
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "m.imgsearch"), contents(fixtures(t).sample), 0o666); err != nil {
		t.Fatal(err)
	}
	c := start(t, dir, "map", "--index", "m.imgsearch", "--out", "m.svg", "--iterations", "1000000")
	began := time.Now()
	c.until(t, "layout", func() bool {
		return strings.Contains(c.stderr.String(), "divergence") || time.Since(began) > 15*time.Second
	})
	if err := c.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if code := c.code(t); code != exitInterrupted {
		t.Fatalf("exit code %d\n%s", code, c.stderr.String())
	}
	said := regexp.MustCompile(`(?m)^imgsearch: interrupted: m\.svg shows the layout after [0-9,]+ steps?; the collection does not keep it, ` +
		`and the same command with --force begins anew\n\z`)
	if !said.MatchString(c.stderr.String()) || c.stdout.String() != "" {
		t.Errorf("stdout %q, stderr\n%s", c.stdout.String(), c.stderr.String())
	}
	if !bytes.HasSuffix(contents(filepath.Join(dir, "m.svg")), []byte("</svg>\n")) {
		t.Error("the map is not whole")
	}
	if info := mustRun(t, dir, "info", "m.imgsearch"); !strings.Contains(info, "none (make one: imgsearch map)") {
		t.Errorf("info says\n%s", info)
	}
	mustRun(t, dir, "check", "m.imgsearch")
}
