//go:build unix && !solaris && !illumos && !aix

package store

import (
	"os"

	"golang.org/x/sys/unix"
)

// mapFile maps the first size bytes for reading.
func mapFile(f *os.File, size int) ([]byte, error) {
	b, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	return b, os.NewSyscallError("mmap", err)
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
