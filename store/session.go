package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// lockSuffix is added to a collection's name to make that of its lock file.
const lockSuffix = ".lock"

// session is a writer's hold on a collection: a locked file beside it, which names the holder. The system drops the lock
// when the process ends, however it ends; the file that a killed process leaves is taken over by the next writer.
type session struct{ file *os.File }

// startSession takes the lock of the collection at path, or returns an error that wraps ErrLocked and names the holder.
func startSession(path string) (*session, error) {
	name := path + lockSuffix
	for range 100 {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o666)
		if err != nil {
			return nil, writeError(fmt.Errorf("lock %s: %w", path, err))
		}
		free, err := tryLock(f, true)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
		}
		if !free {
			holder := readHolder(f)
			return nil, errors.Join(fmt.Errorf("write %s: %w: %s", path, ErrLocked, holder), f.Close())
		}
		// The file may have been removed by its holder between the two steps: then the lock is on no file at all.
		ours, err := f.Stat()
		if err == nil {
			var now fs.FileInfo
			if now, err = os.Stat(name); err == nil && os.SameFile(ours, now) {
				writeHolder(f)
				return &session{f}, nil
			}
		}
		_ = f.Close()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
	}
	return nil, fmt.Errorf("write %s: %w: its lock file comes and goes", path, ErrLocked)
}

func (s *session) end() error {
	if s == nil || s.file == nil {
		return nil
	}
	f := s.file
	s.file = nil
	return removeLocked(f)
}

// A lock file's first byte says whether its holder wants to commit, for the readers that would else keep it waiting; the
// rest names the holder.
const (
	idleMark   = ' '
	commitMark = '!'
)

// committing tells readers to let a commit pass, or that it has. Without it they would only be less polite, so errors do
// not matter.
func (s *session) committing(yes bool) {
	mark := byte(idleMark)
	if yes {
		mark = commitMark
	}
	_, _ = s.file.WriteAt([]byte{mark}, 0)
}

// commitWaits reports whether the writer of the collection at path wants to commit.
func commitWaits(path string) bool {
	f, err := os.Open(path + lockSuffix)
	if err != nil {
		return false
	}
	defer f.Close()
	var mark [1]byte
	if _, err := f.ReadAt(mark[:], 0); err != nil || mark[0] != commitMark {
		return false
	}
	// A killed writer leaves its mark, but not its lock.
	free, err := tryLock(f, false)
	return err == nil && !free
}

// writeHolder notes who holds the lock. It is for people: nothing depends on it, so a full disk does not matter.
func writeHolder(f *os.File) {
	host, err := os.Hostname()
	if err != nil {
		host = "this machine"
	}
	_ = f.Truncate(0)
	_, _ = f.WriteAt(fmt.Appendf(nil, " %s, process %d on %s, writing since %s\n", filepath.Base(os.Args[0]), os.Getpid(), host,
		time.Now().Format("2006-01-02 15:04:05")), 0)
}

// readHolder returns what writeHolder noted.
func readHolder(f *os.File) string {
	b, err := io.ReadAll(io.LimitReader(f, 300))
	line, _, _ := strings.Cut(strings.ToValidUTF8(string(b), "?"), "\n")
	line = strings.TrimLeft(line, string([]rune{idleMark, commitMark}))
	if err != nil || line == "" {
		return "held by another process"
	}
	return "held by " + strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, line)
}

// holderOf names the process that holds the collection for writing, as far as can be known.
func holderOf(path string) string {
	f, err := os.Open(path + lockSuffix)
	if err != nil {
		return "held by another process"
	}
	defer f.Close()
	return readHolder(f)
}

// writeError makes the cause plain where a file may not be written.
func writeError(err error) error {
	if err != nil && (errors.Is(err, fs.ErrPermission) || isReadOnlyDisk(err)) {
		return fmt.Errorf("%w: %w", ErrReadOnly, err)
	}
	if err != nil && isFullDisk(err) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}
