// Command imgsearch finds similar images by features that it learned without labels.
//
// Each file of this package is one command: it checks its flags, opens things, calls one function of the library, and
// prints. What a command does lives in the packages search, training, evaluation, atlas and dataset.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	os.Exit(run())
}

// run executes the command line of this process and returns its exit code.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// After the first interrupt the default action comes back, so that a second Ctrl-C ends the process at once.
	context.AfterFunc(ctx, stop)
	return execute(ctx, systemStreams(), os.Args[1:])
}
