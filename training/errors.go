package training

import (
	"errors"
	"fmt"
)

var (
	// ErrOptions is wrapped by every error about the value of an option; the message names the field, the value given and
	// the allowed range.
	ErrOptions = errors.New("unusable training options")
	// ErrExists is returned when the encoder file, or the checkpoint of an unfinished run, is there already and neither
	// Overwrite nor Resume is set.
	ErrExists = errors.New("already exists")
	// ErrNoCheckpoint is returned by a resume where there is no checkpoint.
	ErrNoCheckpoint = errors.New("no checkpoint to resume from")
	// ErrMismatch is returned by a resume whose options or images differ from the checkpoint's; the message names what
	// differs.
	ErrMismatch = errors.New("the checkpoint belongs to another run")
	// ErrCheckpoint is returned for a checkpoint file that is damaged or no checkpoint at all.
	ErrCheckpoint = errors.New("damaged checkpoint")
	// ErrVersion is returned for a checkpoint of a format version that this program does not read.
	ErrVersion = errors.New("checkpoint of another format version")
	// ErrTooFew is returned when there are too few readable images to train on.
	ErrTooFew = errors.New("too few images to train on")
	// ErrDiverged is returned when the loss is no number any more. The last checkpoint stays as it is.
	ErrDiverged = errors.New("training diverged (use a lower learning rate)")
)

// optionError says which option has which value and what would be allowed.
func optionError(name string, value any, allowed string) error {
	return fmt.Errorf("%w: %s %v: must be %s", ErrOptions, name, value, allowed)
}

// InterruptedError is returned by [Run] when its context was cancelled after the first step had begun. It wraps the
// context's error.
type InterruptedError struct {
	// Step steps of Steps are done.
	Step, Steps int
	// Checkpoint is the file that a run with Resume goes on from; "" where Options.Out was empty and nothing is kept.
	Checkpoint string
	// Err is the context's error.
	Err error
}

func (e *InterruptedError) Error() string {
	if e.Checkpoint == "" {
		return fmt.Sprintf("training interrupted after step %d of %d, nothing is kept: %v", e.Step, e.Steps, e.Err)
	}
	return fmt.Sprintf("training interrupted after step %d of %d: saved %s; the same command with --resume goes on from there: %v",
		e.Step, e.Steps, e.Checkpoint, e.Err)
}

func (e *InterruptedError) Unwrap() error { return e.Err }
