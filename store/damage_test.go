package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"imgsearch/dataset"
)

// isDamage reports whether an error says that the file is not what was written.
func isDamage(err error) bool {
	return errors.Is(err, ErrCorrupt) || errors.Is(err, ErrVersion) || errors.Is(err, ErrNotCollection)
}

// realFile makes a collection by several commits, with removals and a graph, and returns its bytes and its model. It has
// branch pages, inline buckets and free pages.
func realFile(t testing.TB) ([]byte, *model) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "real.imgsearch")
	s, err := Create(path, testOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	m := newModel()
	rng := rand.New(rand.NewPCG(3, 3))
	for m.next < 3000 {
		if err := m.step(rng)(s); err != nil {
			t.Fatal(err)
		}
	}
	for m.graph != m.generation || len(m.parts) < 3 {
		if err := m.step(rng)(s); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m.stride = 61
	return b, m
}

// damage changes a copy of the file and says how.
func damage(rng *rand.Rand, file []byte) ([]byte, string) {
	b := bytes.Clone(file)
	const page = pageSize
	pages := len(b) / page
	switch rng.IntN(8) {
	case 0: // the end is missing
		n := rng.IntN(len(b))
		return b[:n], fmt.Sprintf("cut off at %d", n)
	case 1: // a page is lost
		n := rng.IntN(pages)
		clear(b[n*page : (n+1)*page])
		return b, fmt.Sprintf("page %d zeroed", n)
	case 2: // a page lands in the place of another
		from, to := rng.IntN(pages), rng.IntN(pages)
		copy(b[to*page:(to+1)*page], file[from*page:])
		return b, fmt.Sprintf("page %d copied over page %d", from, to)
	case 3: // the same, with the right number, so that only what it says is wrong
		from, to := 2+rng.IntN(pages-2), 2+rng.IntN(pages-2)
		copy(b[to*page:(to+1)*page], file[from*page:])
		binary.LittleEndian.PutUint64(b[to*page:], uint64(to))
		return b, fmt.Sprintf("page %d copied over page %d and renumbered", from, to)
	case 4, 5: // bits in what bbolt needs
		s := ""
		for range 1 + rng.IntN(3) {
			at := rng.IntN(pages)*page + rng.IntN(80)
			b[at] ^= 1 << rng.IntN(8)
			s += fmt.Sprintf("bit flipped in byte %d ", at)
		}
		return b, s
	default:
		s := ""
		for range 1 + rng.IntN(3) {
			at := rng.IntN(len(b))
			b[at] = byte(rng.Uint32())
			s += fmt.Sprintf("byte %d set to %d ", at, b[at])
		}
		return b, s
	}
}

// A damaged file gives an error or the right answer, to a reader, to Check and to a writer; a writer leaves a sound file
// or none that it can read.
func TestDamage(t *testing.T) {
	rng := random(t)
	file, m := realFile(t)
	dir := t.TempDir()
	refused := 0
	n := rounds(300)
	for i := range n {
		b, how := damage(rng, file)
		path := filepath.Join(dir, "damaged.imgsearch")
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		watchdog := time.AfterFunc(20*time.Second, func() { panic("hangs after: " + how) })
		bad, err := readAll(path, m)
		if err != nil {
			t.Fatalf("round %d: %s: %v", i, how, err)
		}
		if bad {
			refused++
		}
		if i%2 == 0 {
			if err := changeAll(path, m); err != nil {
				t.Fatalf("round %d: %s: %v", i, how, err)
			}
		}
		watchdog.Stop()
	}
	t.Logf("%d of %d damaged files were refused, the others answered right; the file has %d bytes", refused, n, len(file))
	if refused < n/4 {
		t.Errorf("only %d of %d damaged files were refused", refused, n)
	}
}

// readAll compares a damaged file with its model. It returns whether it was refused, and an error where an answer is
// wrong.
func readAll(path string, m *model) (refused bool, err error) {
	s, err := Open(path, Options{})
	if err != nil {
		if !isDamage(err) {
			err = fmt.Errorf("open: %w", err)
			return true, err
		}
		return true, nil
	}
	defer s.Close()
	if err = m.compare(s); err != nil && !isDamage(err) {
		return true, fmt.Errorf("wrong answer: %w", err)
	}
	refused = err != nil
	sound := true
	err = s.View(context.Background(), func(v *View) error {
		return v.Check(context.Background(), func(err error) {
			sound = false
			if !isDamage(err) {
				panic(fmt.Sprintf("check reports %v", err))
			}
		})
	})
	if err != nil && !isDamage(err) {
		return refused, fmt.Errorf("check: %w", err)
	}
	if refused && sound && err == nil {
		return refused, errors.New("check finds nothing")
	}
	return refused, nil
}

// changeAll adds an image to a damaged file.
func changeAll(path string, m *model) error {
	s, err := Open(path, Options{Write: true})
	if err != nil {
		if !isDamage(err) {
			return fmt.Errorf("open for writing: %w", err)
		}
		return nil
	}
	defer s.Close()
	added := item(rand.New(rand.NewPCG(1, 1)), 1_000_000)
	changed := *m
	changed.items = map[dataset.ID]Item{}
	for id, i := range m.items {
		changed.items[id] = i
	}
	removed := m.ids()[0]
	delete(changed.items, removed)
	changed.items[m.next] = added
	changed.next++
	changed.generation++
	if _, err := s.Apply(context.Background(), Batch{Remove: []dataset.ID{removed}, Add: []Item{added}}); err != nil {
		if !isDamage(err) {
			return fmt.Errorf("apply: %w", err)
		}
		return nil
	}
	if err := changed.compare(s); err != nil && !isDamage(err) {
		return fmt.Errorf("wrong answer after a change: %w", err)
	}
	return nil
}

// fixMeta makes the checksums of both meta pages right.
func fixMeta(b []byte) {
	for _, at := range []int{0, pageSize} {
		if len(b) < at+pageHeaderSize+metaSize {
			return
		}
		m := b[at+pageHeaderSize:]
		h := fnv.New64a()
		h.Write(m[:56])
		binary.LittleEndian.PutUint64(m[56:], h.Sum64())
	}
}

// Pages that name themselves or each other give an error; bbolt would call itself until the stack is gone.
func TestPageCircles(t *testing.T) {
	file, m := realFile(t)
	meta, err := findMeta(file, int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	p := &pages{data: file, meta: meta}
	var branches []uint64
	for id := uint64(2); id < meta.pages; id++ {
		if pg, err := p.at(id); err == nil && !pg.leaf {
			branches = append(branches, id)
		}
	}
	if len(branches) == 0 {
		t.Fatal("the file has no branch pages")
	}
	found := false
	for _, id := range branches {
		b := bytes.Clone(file)
		pg, err := (&pages{data: b, meta: meta}).at(id)
		if err != nil {
			t.Fatal(err)
		}
		for i := range pg.count {
			binary.LittleEndian.PutUint64(pg.body[pageHeaderSize+i*elementSize+8:], id)
		}
		path := filepath.Join(t.TempDir(), "circle.imgsearch")
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		refused, err := readAll(path, m)
		if err != nil {
			t.Error(err)
		}
		found = found || refused
		if err := changeAll(path, m); err != nil {
			t.Error(err)
		}
	}
	if !found {
		t.Error("no circle was found: are all branch pages free ones?")
	}
}

// A meta page that bbolt would overlook, going back by a commit, is an error.
func TestDamagedMeta(t *testing.T) {
	file, _ := realFile(t)
	for _, at := range []int{pageHeaderSize, pageHeaderSize + 40, pageSize + pageHeaderSize + 20, pageSize + pageHeaderSize + 50} {
		b := bytes.Clone(file)
		b[at] ^= 4
		path := filepath.Join(t.TempDir(), "meta.imgsearch")
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path, Options{}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("byte %d: %v", at, err)
		}
	}
}

// A file that is cut off while it is mapped gives an error, not the end of the process.
func TestCutOffWhileOpen(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows cuts no mapped file")
	}
	file, m := realFile(t)
	path := filepath.Join(t.TempDir(), "cut.imgsearch")
	if err := os.WriteFile(path, file, 0o644); err != nil {
		t.Fatal(err)
	}
	s := open(t, path, Options{})
	if err := m.compare(s); err != nil {
		t.Fatal(err)
	}
	err := s.View(context.Background(), func(v *View) error {
		if _, err := v.Encoder(); err != nil {
			return err
		}
		if err := os.Truncate(path, 2*pageSize); err != nil {
			return err
		}
		done := make(chan error)
		go func() {
			done <- v.Guard(func() error {
				sink = s.mapping[len(s.mapping)/2]
				return nil
			})
		}()
		if err := <-done; !errors.Is(err, ErrCorrupt) {
			t.Errorf("in a goroutine: %v", err)
		}
		_, err := v.Embeddings()
		return err
	})
	if !errors.Is(err, ErrCorrupt) {
		t.Errorf("within a view: %v", err)
	}
	if err := m.compare(s); !errors.Is(err, ErrCorrupt) {
		t.Errorf("later: %v", err)
	}
}

var sink byte

// Panics that are no faults pass through.
func TestPanicsPass(t *testing.T) {
	s := create(t, filepath.Join(t.TempDir(), "c.imgsearch"))
	defer func() {
		if r := recover(); r != "mine" {
			t.Errorf("recovered %v", r)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	_ = s.View(context.Background(), func(*View) error { panic("mine") })
}
