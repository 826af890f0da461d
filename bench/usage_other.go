//go:build !unix

package main

import (
	"os"
	"time"
)

// largestMemory returns 0: not known here.
func largestMemory(*os.ProcessState) int64 { return 0 }

// processorTime returns 0: not known here.
func processorTime() time.Duration { return 0 }
