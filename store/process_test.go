package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// The test binary serves as the other process: TestMain runs the named part instead of the tests.
const helperVariable = "IMGSEARCH_STORE_HELPER"

var helpers = map[string]func(args []string) error{}

func TestMain(m *testing.M) {
	if name := os.Getenv(helperVariable); name != "" {
		if err := helpers[name](os.Args[1:]); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// helper starts another process.
func helper(t *testing.T, name string, args ...string) (*exec.Cmd, *bufio.Reader, io.WriteCloser) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), helperVariable+"="+name)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd, bufio.NewReader(out), in
}

func init() {
	// steps PATH SEED FROM makes the model's steps FROM, FROM+1, … for ever, and says so before and after each.
	helpers["steps"] = func(args []string) error {
		seed, err := strconv.ParseUint(args[1], 10, 64)
		if err != nil {
			return err
		}
		from, err := strconv.Atoi(args[2])
		if err != nil {
			return err
		}
		m, next := newModel(), 0
		for ; next < from; next++ {
			m.step(rand.New(rand.NewPCG(seed, uint64(next))))
		}
		s, err := Open(args[0], Options{Write: true})
		if errors.Is(err, ErrNotExist) {
			s, err = Create(args[0], testOptions())
		}
		if err != nil {
			return err
		}
		for ; ; next++ {
			step := m.step(rand.New(rand.NewPCG(seed, uint64(next))))
			fmt.Println("start", next)
			if err := step(s); err != nil {
				return err
			}
			fmt.Println("done", next)
		}
	}
	// hold PATH opens for writing, says "ready", and ends with its input.
	helpers["hold"] = func(args []string) error {
		s, err := Open(args[0], Options{Write: true})
		if err != nil {
			return err
		}
		fmt.Println("ready")
		_, _ = io.Copy(io.Discard, os.Stdin)
		return s.Close()
	}
	// view PATH stays in a View until its input ends.
	helpers["view"] = func(args []string) error {
		s, err := Open(args[0], Options{})
		if err != nil {
			return err
		}
		return s.View(context.Background(), func(*View) error {
			fmt.Println("ready")
			_, err := io.Copy(io.Discard, os.Stdin)
			return err
		})
	}
	// once PATH adds one image.
	helpers["once"] = func(args []string) error {
		s, err := Open(args[0], Options{Write: true})
		if err != nil {
			return err
		}
		_, err = s.Apply(context.Background(), Batch{Add: []Item{item(rand.New(rand.NewPCG(1, 1)), 1)}})
		return errors.Join(err, s.Close())
	}
}

// A process killed at any moment of a series of commits leaves what it committed: all that it said was done, and nothing
// of what it had not begun.
func TestKill(t *testing.T) {
	rng := random(t)
	seed := rng.Uint64()
	path := filepath.Join(t.TempDir(), "killed.imgsearch")
	m, steps := newModel(), 0 // what the file holds
	m.stride = 17
	within := 0
	n := rounds(40)
	for round := range n {
		cmd, out, _ := helper(t, "steps", path, fmt.Sprint(seed), fmt.Sprint(steps))
		started, done := -1, steps-1
		read := func() bool {
			line, err := out.ReadString('\n')
			if err != nil {
				return false
			}
			word, number, _ := strings.Cut(strings.TrimSpace(line), " ")
			i, err := strconv.Atoi(number)
			if err != nil {
				t.Fatalf("round %d: the other process says %q", round, line)
			}
			if word == "start" {
				started = i
			} else {
				done = i
			}
			return true
		}
		if !read() {
			if round > 0 {
				t.Fatalf("round %d: the other process said nothing", round)
			}
		}
		time.Sleep(time.Duration(rng.IntN(60_000)) * time.Microsecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for read() {
		}
		_ = cmd.Wait()

		s, err := Open(path, Options{})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		for ; steps <= done; steps++ {
			m.step(rand.New(rand.NewPCG(seed, uint64(steps))))
		}
		if started > done {
			within++
		}
		err = m.compare(s)
		if err != nil && started > done { // the last one may have been committed before the kill
			m.step(rand.New(rand.NewPCG(seed, uint64(steps))))
			steps++
			err = m.compare(s)
		}
		if err != nil {
			t.Fatalf("round %d, %d steps done, %d started: %v", round, done+1, started+1, err)
		}
		mustBeSound(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("killed %d times, %d of them within a commit, after %d commits in all", n, within, steps)
}

// A process killed while it creates leaves a whole collection or none, and nothing that stays in the way.
func TestKillDuringCreate(t *testing.T) {
	rng := random(t)
	path := filepath.Join(t.TempDir(), "new.imgsearch")
	made := 0
	for range rounds(10) {
		cmd, _, _ := helper(t, "steps", path, "1", "0")
		time.Sleep(time.Duration(rng.IntN(25_000)) * time.Microsecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		s, err := Open(path, Options{Write: true})
		if err == nil {
			made++
			mustBeSound(t, s)
			err = errors.Join(s.Close(), os.Remove(path))
		} else if errors.Is(err, ErrNotExist) {
			err = nil
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	s := create(t, path)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(path + "*"); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
	t.Logf("%d of them had created it", made)
}

func ready(t *testing.T, out *bufio.Reader) {
	t.Helper()
	if line, err := out.ReadString('\n'); line != "ready\n" {
		t.Fatalf("the other process says %q, %v", line, err)
	}
}

// A second writer is refused at once and told who writes; readers go on; when the writer is killed the next one gets in.
func TestSecondWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.imgsearch")
	s := create(t, path)
	m := newModel()
	if err := m.step(rand.New(rand.NewPCG(1, 1)))(s); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	other, out, _ := helper(t, "hold", path)
	ready(t, out)

	start := time.Now()
	_, err := Open(path, Options{Write: true})
	if took := time.Since(start); !errors.Is(err, ErrLocked) || took > time.Second {
		t.Errorf("second writer: %v after %v", err, took)
	}
	if want := fmt.Sprintf("process %d on ", other.Process.Pid); err != nil && !strings.Contains(err.Error(), want) {
		t.Errorf("%q does not name the holder, %q", err, want)
	}
	if _, err := Create(path, testOptions()); !errors.Is(err, ErrExists) {
		t.Errorf("create: %v", err)
	}
	if err := m.compare(open(t, path, Options{Wait: -1})); err != nil {
		t.Errorf("reader beside a writer: %v", err)
	}
	if err := other.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = other.Wait()
	next := open(t, path, Options{Write: true})
	if err := m.step(rand.New(rand.NewPCG(1, 2)))(next); err != nil {
		t.Error(err)
	}
	// Within one process it is the same.
	if _, err := Open(path, Options{Write: true}); !errors.Is(err, ErrLocked) {
		t.Errorf("second writer in the same process: %v", err)
	}
}

// A commit waits for another process's view; a view waits for a commit; neither waits longer than it is told.
func TestReaderAndCommit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.imgsearch")
	s := create(t, path)
	m := newModel()
	_, out, in := helper(t, "view", path)
	ready(t, out)

	s.options.Wait = -1
	before := *m
	if _, err := s.Apply(context.Background(), Batch{Add: []Item{item(rand.New(rand.NewPCG(1, 1)), 1)}}); !errors.Is(err, ErrLocked) {
		t.Errorf("commit during a view: %v", err)
	}
	if err := before.compare(s); err != nil {
		t.Error(err)
	}
	s.options.Wait = time.Minute
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	if _, err := s.Apply(ctx, Batch{Add: []Item{item(rand.New(rand.NewPCG(1, 1)), 1)}}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("cancelled commit during a view: %v", err)
	}
	if err := m.compare(open(t, path, Options{Wait: -1})); err != nil {
		t.Errorf("readers share: %v", err)
	}
	time.AfterFunc(50*time.Millisecond, func() { in.Close() })
	if err := m.step(rand.New(rand.NewPCG(1, 1)))(s); err != nil {
		t.Errorf("commit after a view: %v", err)
	}

	// A commit that lasts: this is the lock that it takes.
	reader := open(t, path, Options{Wait: 50 * time.Millisecond})
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if free, err := tryLock(file, true); !free || err != nil {
		t.Fatal(free, err)
	}
	start := time.Now()
	err = reader.View(context.Background(), func(*View) error { return nil })
	if took := time.Since(start); !errors.Is(err, ErrLocked) || took > 5*time.Second {
		t.Errorf("view during a commit: %v after %v", err, took)
	}
	if err != nil && !strings.Contains(err.Error(), fmt.Sprintf("process %d on ", os.Getpid())) {
		t.Errorf("%q does not name the writer", err)
	}
	reader.options.Wait = time.Minute
	ctx, cancel = context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	if err := reader.View(ctx, func(*View) error { return nil }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("cancelled view during a commit: %v", err)
	}
	var unlocking sync.WaitGroup
	unlocking.Go(func() {
		time.Sleep(20 * time.Millisecond)
		if err := unlock(file); err != nil {
			t.Error(err)
		}
	})
	if err := m.compare(reader); err != nil {
		t.Errorf("view after a commit: %v", err)
	}
	unlocking.Wait()
}

// Views that overlap without end do not keep a commit from its turn.
func TestCommitGetsItsTurn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.imgsearch")
	s := create(t, path)
	reader := open(t, path, Options{})
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() {
			for ctx.Err() == nil {
				err := reader.View(context.Background(), func(*View) error {
					time.Sleep(2 * time.Millisecond)
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	m := newModel()
	start := time.Now()
	for i := range uint64(5) {
		if err := m.step(rand.New(rand.NewPCG(4, i)))(s); err != nil {
			t.Error(err)
		}
	}
	took := time.Since(start)
	cancel()
	group.Wait()
	if took > 10*time.Second {
		t.Errorf("five commits took %v", took)
	}
	if err := m.compare(reader); err != nil {
		t.Error(err)
	}
}

// A reader in the middle of another process's commits sees whole states, each later than the one before.
func TestReaderBesideWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.imgsearch")
	s := create(t, path)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// The steps of the other process begin with step 1, as if step 0 had been made: it is, here.
	m := newModel()
	const seed = 11
	if s, err := Open(path, Options{Write: true}); err != nil {
		t.Fatal(err)
	} else if err := errors.Join(m.step(rand.New(rand.NewPCG(seed, 0)))(s), s.Close()); err != nil {
		t.Fatal(err)
	}
	_, out, _ := helper(t, "steps", path, fmt.Sprint(seed), "1")
	if _, err := out.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	reader := open(t, path, Options{Wait: 20 * time.Second})
	seen := 0
	for step := uint64(1); seen < rounds(20); {
		var h Header
		if err := reader.View(context.Background(), func(v *View) error { h = v.Header(); return nil }); err != nil {
			t.Fatal(err)
		}
		// The writer goes on meanwhile, so the state that compare sees may be a later one: catch up with it.
		var err error
		for range 1000 {
			if err = m.compare(reader); err == nil {
				break
			}
			if isDamage(err) {
				t.Fatalf("step %d: %v", step, err)
			}
			m.step(rand.New(rand.NewPCG(seed, step)))
			step++
			if m.next > h.NextID+10_000 {
				break
			}
		}
		if err != nil {
			t.Fatalf("no step gives the state of the file: %v", err)
		}
		seen++
	}
}

// Another name of the same file has another lock file: what one writer committed the other does not undo.
func TestTwoNames(t *testing.T) {
	dir := t.TempDir()
	path, name := filepath.Join(dir, "c.imgsearch"), filepath.Join(dir, "d.imgsearch")
	s := create(t, path)
	if err := os.Link(path, name); err != nil {
		t.Skip(err)
	}
	other := open(t, name, Options{Write: true})
	m := newModel()
	if err := m.step(rand.New(rand.NewPCG(1, 3)))(other); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Apply(context.Background(), Batch{Add: []Item{item(rand.New(rand.NewPCG(1, 1)), 1)}}); !errors.Is(err, ErrLocked) {
		t.Errorf("apply: %v", err)
	}
	if err := m.compare(other); err != nil {
		t.Error(err)
	}
	// A symbolic link leads to the same lock file.
	link := filepath.Join(dir, "e.imgsearch")
	if err := os.Symlink(path, link); err != nil {
		t.Skip(err)
	}
	if _, err := Open(link, Options{Write: true}); !errors.Is(err, ErrLocked) {
		t.Errorf("open through a symbolic link: %v", err)
	}
}
