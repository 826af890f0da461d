package store

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// lockedByte is where bbolt locks its file: the last byte that an offset of 64 bits can name.
const lockedByte = 1<<32 - 1

// tryLock takes a lock on one byte far behind the file's end without waiting: shared, or exclusive. It is the lock that
// bbolt takes on its file, so both see each other. It reports whether the lock was free.
func tryLock(f *os.File, exclusive bool) (bool, error) {
	flags := uint32(windows.LOCKFILE_FAIL_IMMEDIATELY)
	if exclusive {
		flags |= windows.LOCKFILE_EXCLUSIVE_LOCK
	}
	err := windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0,
		&windows.Overlapped{Offset: lockedByte, OffsetHigh: lockedByte})
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, windows.ERROR_LOCK_VIOLATION), errors.Is(err, windows.ERROR_IO_PENDING):
		return false, nil
	default:
		return false, os.NewSyscallError("LockFileEx", err)
	}
}

// unlock gives back what tryLock took.
func unlock(f *os.File) error {
	return os.NewSyscallError("UnlockFileEx", windows.UnlockFileEx(windows.Handle(f.Fd()), 0, 1, 0,
		&windows.Overlapped{Offset: lockedByte, OffsetHigh: lockedByte}))
}

// locksUnsupported reports whether the error of tryLock says that the file system knows no locks.
func locksUnsupported(err error) bool {
	return errors.Is(err, windows.ERROR_NOT_SUPPORTED) || errors.Is(err, windows.ERROR_INVALID_FUNCTION)
}

// removeLocked removes the lock file. Windows removes no open file: where another process opens it between the two
// steps, it stays and is that process's lock.
func removeLocked(f *os.File) error {
	err := f.Close()
	_ = os.Remove(f.Name())
	return err
}

// isReadOnlyDisk reports whether the error says that the file system takes no changes.
func isReadOnlyDisk(err error) bool { return errors.Is(err, windows.ERROR_WRITE_PROTECT) }

// isFullDisk reports whether the error says that there is no room.
func isFullDisk(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL)
}

// syncFolder does nothing: Windows does not sync folders.
func syncFolder(string) error { return nil }
