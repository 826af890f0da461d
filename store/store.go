package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"
	"unsafe"
)

// Options say how a collection is opened.
type Options struct {
	// Write opens for changes. Default: for reading.
	Write bool
	// Wait is how long a View waits for another process's commit to end, and a commit for other processes' Views.
	// 0 means 5 seconds for a View and 30 for a commit; a negative value means not at all.
	Wait time.Duration
}

const (
	viewWait   = 5 * time.Second
	commitWait = 30 * time.Second
	lockPoll   = 2 * time.Millisecond
	// yieldAfter is how long Views that overlap may keep the shared lock before new ones let a commit pass.
	yieldAfter = 50 * time.Millisecond
)

// Store is an open collection. Its methods may be called from several goroutines at once.
type Store struct {
	path    string
	options Options
	session *session // writers

	// changes is held for reading by Views and for writing by commits of this Store.
	changes sync.RWMutex

	mu      sync.Mutex // guards what follows
	views   int
	idle    sync.Cond // views became 0
	yielded time.Time // when the shared lock was taken, or a look showed that no commit waits
	closed  bool
	file    *os.File
	mapping []byte
	state   *state
}

// Open opens the collection at path.
//
// The errors to test for: ErrNotExist, ErrNotCollection, ErrVersion, ErrCorrupt, ErrLocked (for a second writer at
// once, for a reader where a commit takes longer than [Options.Wait]), ErrReadOnly (for a writer that may not write).
func Open(path string, options Options) (*Store, error) {
	path, err := resolve(path)
	if err != nil {
		return nil, fmt.Errorf("open collection: %w", err)
	}
	s := newStore(path, options)
	if err := s.open(); err != nil {
		return nil, fmt.Errorf("open %s: %w", path, errors.Join(err, s.Close()))
	}
	return s, nil
}

func newStore(path string, options Options) *Store {
	s := &Store{path: path, options: options}
	s.idle.L = &s.mu
	return s
}

func resolve(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real, nil
	}
	return path, nil
}

func (s *Store) open() error {
	info, err := os.Stat(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrNotExist, err)
	}
	if err != nil {
		return err
	}
	switch {
	case info.IsDir():
		return fmt.Errorf("%w: it is a folder", ErrNotCollection)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%w: it is no regular file", ErrNotCollection)
	}
	if s.file, err = os.Open(s.path); err != nil {
		return err
	}
	if s.options.Write {
		if s.session == nil {
			// Whether it is a collection at all comes first: a stranger's file gets no lock file beside it.
			if _, _, err := s.readMeta(); err != nil {
				return err
			}
			if err := s.checkWritable(); err != nil {
				return err
			}
			if s.session, err = startSession(s.path); err != nil {
				return err
			}
			removeLeftovers(s.path)
		}
		return s.recoverFaults(func() error {
			if err := s.refresh(); err != nil {
				return err
			}
			return s.checkPages()
		})
	}
	if _, err := s.begin(context.Background()); err != nil {
		return err
	}
	s.end()
	return nil
}

// checkWritable reports whether the file may be written.
func (s *Store) checkWritable() error {
	f, err := os.OpenFile(s.path, os.O_RDWR, 0)
	if err != nil {
		return writeError(err)
	}
	return f.Close()
}

// checkPages walks through the pages before bbolt is let near them.
func (s *Store) checkPages() error {
	var first error
	s.state.pages.walk(func(err error) {
		if first == nil {
			first = err
		}
	})
	return first
}

// Path returns the file's place, absolute and without symbolic links.
func (s *Store) Path() string { return s.path }

// Writable reports whether the Store was opened for changes.
func (s *Store) Writable() bool { return s.options.Write }

// Close waits until the Views have ended and gives everything back. Closing again does nothing.
func (s *Store) Close() error {
	s.changes.Lock()
	defer s.changes.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	err := s.unmap()
	if s.file != nil {
		err = errors.Join(err, s.file.Close())
	}
	s.state = nil
	return errors.Join(err, s.session.end())
}

func (s *Store) unmap() error {
	if s.mapping == nil {
		return nil
	}
	b := s.mapping
	s.mapping = nil
	return unmapFile(b)
}

// View calls fn with the last committed state. While fn runs no other process commits, so it should not take long. What
// v hands out lies in the mapped file: it is valid until fn returns, and must not be changed.
//
// fn must not call View, Apply, PutGraph or Close of the same Store. Goroutines that fn starts must end before it does,
// and read within [View.Guard].
//
// View returns fn's error, ErrLocked where another process's commit takes longer than [Options.Wait], ErrClosed, or
// ErrCorrupt or ErrVersion where the file's head cannot be read.
func (s *Store) View(ctx context.Context, fn func(v *View) error) error {
	s.changes.RLock()
	defer s.changes.RUnlock()
	st, err := s.begin(ctx)
	if err != nil {
		return fmt.Errorf("read %s: %w", s.path, err)
	}
	defer s.end()
	return s.recoverFaults(func() error { return fn(&View{st}) })
}

// begin takes the shared lock for the first View of several and brings the state up to date.
func (s *Store) begin(ctx context.Context) (*state, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.views > 0 && !s.options.Write && time.Since(s.yielded) > yieldAfter {
		if !commitWaits(s.path) {
			s.yielded = time.Now()
			break
		}
		s.idle.Wait()
	}
	if s.closed {
		return nil, ErrClosed
	}
	if s.views == 0 {
		if !s.options.Write {
			if err := s.lockShared(ctx); err != nil {
				return nil, err
			}
			s.yielded = time.Now()
		}
		if !s.options.Write || s.state == nil {
			if err := s.recoverFaults(s.refresh); err != nil {
				s.unlockShared()
				return nil, err
			}
		}
	}
	s.views++
	return s.state, nil
}

func (s *Store) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.views--; s.views == 0 {
		s.unlockShared()
		s.idle.Broadcast()
	}
}

func (s *Store) unlockShared() {
	if !s.options.Write {
		_ = unlock(s.file) // where locks are not supported there was none
	}
}

// lockShared keeps other processes from committing, and lets one that waits for it go first.
func (s *Store) lockShared(ctx context.Context) error {
	return s.waitFor(ctx, viewWait, func() (bool, error) {
		if commitWaits(s.path) {
			return false, nil
		}
		free, err := tryLock(s.file, false)
		if err != nil && locksUnsupported(err) {
			return true, nil // a file system without locks, mostly a remote one: checksums still guard what is read
		}
		return free, err
	}, func() error {
		return fmt.Errorf("%w: a commit is going on, %s", ErrLocked, holderOf(s.path))
	})
}

// waitFor tries until it succeeds, the time is over, or ctx is done.
func (s *Store) waitFor(ctx context.Context, wait time.Duration, try func() (bool, error), late func() error) error {
	if s.options.Wait != 0 {
		wait = s.options.Wait
	}
	deadline := time.Now().Add(wait)
	for {
		done, err := try()
		if err != nil || done {
			return err
		}
		if wait < 0 || time.Now().After(deadline) {
			return late()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lockPoll):
		}
	}
}

// readMeta reads the file's length and its newest meta page.
func (s *Store) readMeta() (boltMeta, int64, error) {
	info, err := s.file.Stat()
	if err != nil {
		return boltMeta{}, 0, err
	}
	size := info.Size()
	if size == 0 {
		return boltMeta{}, 0, fmt.Errorf("%w: it is empty", ErrNotCollection)
	}
	head := make([]byte, min(size, 2*pageSize))
	if _, err := s.file.ReadAt(head, 0); err != nil && err != io.EOF {
		return boltMeta{}, 0, err
	}
	meta, err := findMeta(head, size)
	if err != nil && size > int64(len(head)) {
		// Another machine's page size, or no collection: look at all that may matter.
		head = make([]byte, min(size, 2*maxPageSize))
		if _, err := s.file.ReadAt(head, 0); err != nil && err != io.EOF {
			return boltMeta{}, 0, err
		}
		meta, err = findMeta(head, size)
	}
	return meta, size, err
}

// refresh brings state up to the last commit. No View may be open.
func (s *Store) refresh() error {
	meta, size, err := s.readMeta()
	if err != nil {
		return err
	}
	if s.state != nil && s.state.pages.meta == meta {
		return nil
	}
	s.state = nil
	if need := meta.pages * uint64(meta.pageSize); need > uint64(len(s.mapping)) {
		if err := s.unmap(); err != nil {
			return err
		}
		if uint64(size) != uint64(int(size)) {
			return fmt.Errorf("map %d bytes: more than this machine can address", size)
		}
		if s.mapping, err = mapFile(s.file, int(size)); err != nil {
			return err
		}
	}
	st, err := loadState(&pages{data: s.mapping, meta: meta})
	if err != nil {
		return err
	}
	s.state = st
	return nil
}

// recoverFaults runs fn and turns a fault within the mapping, which the system raises where the file was cut off or its
// disk fails, into an error.
func (s *Store) recoverFaults(fn func() error) (err error) {
	defer catchFaults(func() []byte { return s.mapping }, &err)()
	return fn()
}

// catchFaults prepares for faults and returns what must be deferred.

func catchFaults(data func() []byte, err *error) func() {
	before := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(before)
		r := recover()
		if r == nil {
			return
		}
		if fault, ok := r.(interface{ Addr() uintptr }); ok {
			b := data()
			start := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
			if at := fault.Addr(); at >= start && at < start+uintptr(len(b)) {
				*err = fmt.Errorf("%w: byte %d cannot be read: the file was cut off, or its disk fails", ErrCorrupt, at-start)
				return
			}
		}
		panic(r)
	}
}
