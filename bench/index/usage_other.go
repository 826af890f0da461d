//go:build !unix

package main

import "time"

var start = time.Now()

// processorTime stands for the time of processors, which the system does not tell: the clock.
func processorTime() time.Duration { return time.Since(start) }
