//go:build unix

package index_test

import (
	"syscall"
	"time"
)

// cpuTime is the processor time that the process has used: on a machine that does other work as well it tells more than
// the clock.
func cpuTime() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
