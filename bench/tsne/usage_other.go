//go:build !unix

package main

import "time"

var started = time.Now()

// processorTime returns the time that has passed, where the system does not tell the processor time.
func processorTime() time.Duration { return time.Since(started) }
