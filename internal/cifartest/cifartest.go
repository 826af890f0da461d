// Package cifartest finds the CIFAR-10 archive for tests that need all of it.
//
// The archive is 170 MB and is not part of the repository. A test that needs it calls [Archive], which skips the test,
// saying how to run it, when the archive is not there.
package cifartest

import (
	"os"
	"testing"
)

// Variable is the environment variable that holds the path of cifar-10-binary.tar.gz.
const Variable = "IMGSEARCH_CIFAR10"

// Archive returns the path of the official binary archive, or skips the test when [Variable] is not set or -short is.
// A variable that names a missing file fails the test: a typo must not turn into a silent skip.
func Archive(tb testing.TB) string {
	tb.Helper()
	if testing.Short() {
		tb.Skip("needs all of CIFAR-10: not run with -short")
	}
	path := os.Getenv(Variable)
	if path == "" {
		tb.Skipf("needs all of CIFAR-10: set %s to the path of cifar-10-binary.tar.gz", Variable)
	}
	if _, err := os.Stat(path); err != nil {
		tb.Fatalf("%s: %v", Variable, err)
	}
	return path
}
