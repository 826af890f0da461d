//go:build linux || darwin

package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func init() {
	// limited PATH BYTES makes step 5 of the model, or creates the collection where there is none, with a disk that
	// lets no file grow beyond BYTES.
	helpers["limited"] = func(args []string) error {
		limit, err := strconv.ParseUint(args[1], 10, 64)
		if err != nil {
			return err
		}
		signal.Ignore(syscall.SIGXFSZ)
		var old unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
			return err
		}
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: limit, Max: old.Max}); err != nil {
			return err
		}
		if _, err := os.Stat(args[0]); err != nil {
			s, err := Create(args[0], testOptions())
			if err != nil {
				return err
			}
			return s.Close()
		}
		s, err := Open(args[0], Options{Write: true})
		if err != nil {
			return err
		}
		_, step := fiveSteps()
		err = step(s)
		// bbolt keeps the text of a failed truncate only.
		if err != nil && !errors.Is(err, ErrNoSpace) && !strings.Contains(err.Error(), "truncate ") {
			return fmt.Errorf("unexpected: %w", err)
		}
		// The Store goes on to show the last committed state.
		if viewErr := s.View(context.Background(), func(v *View) error { _, err := v.Records(0, 0); return err }); viewErr != nil {
			return fmt.Errorf("unexpected: view after a failed commit: %w", viewErr)
		}
		return errors.Join(err, s.Close())
	}
}

// fiveSteps returns the model after five steps, and the sixth, which adds many images.
func fiveSteps() (*model, func(*Store) error) {
	m := newModel()
	for i := range uint64(5) {
		m.step(rand.New(rand.NewPCG(8, i)))
	}
	return m, func(s *Store) error {
		rng := rand.New(rand.NewPCG(8, 5))
		var b Batch
		for i := range 4000 {
			b.Add = append(b.Add, item(rng, 1_000_000+i))
		}
		_, err := s.Apply(context.Background(), b)
		return err
	}
}

// A disk that is full at any place gives an error that names the cause, and the last committed state stays.
func TestFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "full.imgsearch")
	for _, limit := range []int{0, 1, 4096, 10_000, 16_384, 20_000} {
		_, out, _ := helper(t, "limited", path, fmt.Sprint(limit))
		line, _ := out.ReadString('\n')
		if !strings.Contains(line, syscall.EFBIG.Error()) {
			t.Errorf("create with room for %d bytes: %q", limit, line)
		}
		if left, _ := filepath.Glob(path + "*"); len(left) > 0 {
			t.Errorf("create with room for %d bytes left %v", limit, left)
		}
	}
	s := create(t, path)
	m := newModel()
	for i := range uint64(5) {
		if err := m.step(rand.New(rand.NewPCG(8, i)))(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	failed := 0
	for limit := info.Size() - 8*pageSize; ; limit += (1 << 20) / int64(rounds(12)) / pageSize * pageSize {
		_, out, _ := helper(t, "limited", path, fmt.Sprint(limit))
		line, _ := out.ReadString('\n')
		if line == "" {
			break
		}
		failed++
		if !strings.Contains(line, syscall.EFBIG.Error()) || strings.Contains(line, "unexpected") {
			t.Fatalf("with room for %d bytes: %s", limit, line)
		}
		s := open(t, path, Options{})
		if err := m.compare(s); err != nil {
			t.Fatalf("with room for %d bytes: %v", limit, err)
		}
		mustBeSound(t, s)
		s.Close()
	}
	t.Logf("%d commits failed before one had the room", failed)
	if failed == 0 {
		t.Error("no commit failed")
	}
	mustBeSound(t, open(t, path, Options{}))
}

// A pipe is not waited for.
func TestOpenPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(path, 0o644); err != nil {
		t.Skip(err)
	}
	if _, err := Open(path, Options{}); !errors.Is(err, ErrNotCollection) {
		t.Error(err)
	}
}
