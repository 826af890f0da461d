//go:build race

package training

// raceDetector makes sync.Pool drop what is put into it at random, so that allocations say nothing.
const raceDetector = true
