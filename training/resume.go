package training

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// CheckpointPath returns where a run with the encoder file out keeps its checkpoint until it is finished.
func CheckpointPath(out string) string { return out + ".checkpoint" }

// RecordPath returns where a run with the encoder file out writes its record.
func RecordPath(out string) string { return out + ".jsonl" }

// openOut checks what lies at Out, and reads the checkpoint to resume from, if one is asked for.
func (t *trainer) openOut() (*checkpoint, error) {
	if t.Out == "" {
		return nil, nil
	}
	_, outErr := os.Lstat(t.Out)
	if t.Resume {
		from, err := readCheckpoint(CheckpointPath(t.Out))
		if errors.Is(err, ErrNoCheckpoint) && outErr == nil {
			return nil, fmt.Errorf("%w; %s is finished", err, t.Out)
		}
		if err != nil {
			return nil, err
		}
		if d := differences(from.Options, t.asked); len(d) > 0 {
			return nil, fmt.Errorf("%w: %s", ErrMismatch, abridged(d))
		}
		return from, nil
	}
	if outErr == nil && !t.Overwrite {
		return nil, fmt.Errorf("%s %w: choose another name, or overwrite it", t.Out, ErrExists)
	}
	if _, err := os.Lstat(CheckpointPath(t.Out)); err == nil && !t.Overwrite {
		return nil, fmt.Errorf("%s %w, of a run that is not finished: resume it, or overwrite it", CheckpointPath(t.Out), ErrExists)
	}
	// A place that cannot be written is better known now than after the training.
	probe := CheckpointPath(t.Out) + ".tmp"
	f, err := os.OpenFile(probe, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return nil, fmt.Errorf("write beside %s: %w", t.Out, err)
	}
	_ = f.Close()
	return nil, os.Remove(probe)
}

// abridged joins texts, at most five of them.
func abridged(texts []string) string {
	if more := len(texts) - 5; more > 0 {
		texts = append(slices.Clone(texts[:5]), fmt.Sprintf("and %d more", more))
	}
	return strings.Join(texts, "; ")
}

// compareImages refuses a checkpoint of other images.
func (t *trainer) compareImages(from *checkpoint) error {
	if from.Images != t.corpus.digest {
		return fmt.Errorf("%w: the images of %s are not those that it was training on", ErrMismatch, t.dataset)
	}
	return nil
}

// interrupted saves a checkpoint when the context was cancelled; other errors pass through.
func (t *trainer) interrupted(err error) error {
	if !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	e := &InterruptedError{Step: t.at.Step, Steps: t.at.Steps, Err: err}
	if t.Out != "" {
		if err := t.record.add(eventLine{Kind: "interrupted", Time: t.now(), Step: t.at.Step, Seconds: rounded(t.seconds())}); err != nil {
			return err
		}
		if err := t.save(); err != nil {
			return err
		}
		e.Checkpoint = CheckpointPath(t.Out)
	}
	return e
}

// save writes the checkpoint.
func (t *trainer) save() error {
	if t.Out == "" {
		return nil
	}
	begun := t.now()
	length, err := t.record.sync()
	if err != nil {
		return err
	}
	t.at.RecordBytes, t.at.Seconds = length, t.seconds()
	t.at.state = t.net.state()
	data, err := t.at.encode()
	t.at.state = nil
	if err != nil {
		return err
	}
	if err := writeAtomically(CheckpointPath(t.Out), data); err != nil {
		return fmt.Errorf("save checkpoint at step %d: %w", t.at.Step, err)
	}
	t.saved = t.now()
	t.spent.saving += t.saved.Sub(begun)
	return nil
}
