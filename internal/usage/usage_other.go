//go:build !unix

package usage

import (
	"os"
	"time"
)

// LargestMemory returns 0: not known here.
func LargestMemory(*os.ProcessState) int64 { return 0 }

// ProcessorTime returns 0: not known here.
func ProcessorTime() time.Duration { return 0 }
