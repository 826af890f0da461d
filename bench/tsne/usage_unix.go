//go:build unix

package main

import (
	"syscall"
	"time"
)

// processorTime returns how long this process has kept processors busy, all threads together.
func processorTime() time.Duration {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
