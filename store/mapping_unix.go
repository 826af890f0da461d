//go:build unix && !solaris && !illumos && !aix

package store

import (
	"os"

	"golang.org/x/sys/unix"
)

// mapFile maps the first size bytes for reading. Tree pages lie far apart: where the system reads ahead of each by
// itself, often some megabytes, opening from a cold disk takes ten times as long. What lies together is asked for by
// willNeed.
func mapFile(f *os.File, size int) ([]byte, error) {
	b, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	_ = unix.Madvise(b, unix.MADV_RANDOM)
	return b, nil
}

func unmapFile(b []byte) error { return os.NewSyscallError("munmap", unix.Munmap(b)) }

// willNeed asks the system to read part of a mapping ahead. It is advice: errors do not matter.
func willNeed(mapping []byte, from, to int) {
	page := os.Getpagesize()
	from -= from % page
	if from < to {
		_ = unix.Madvise(mapping[from:to], unix.MADV_WILLNEED)
	}
}
