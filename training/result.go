package training

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"imgsearch/embedder"
)

// Result is what a finished run leaves.
type Result struct {
	// Encoder is the trained encoder, as it was written to Path.
	Encoder *embedder.Encoder
	// Path and Record are the encoder file and the run record; "" where Options.Out was empty.
	Path, Record string
	// Steps updates were made, Epochs passes over Images training images, Batch of them a step.
	Steps, Images, Batch int
	Epochs               float64
	// Loss is the mean over about the last hundred steps.
	Loss float64
	// HeldBack is the measurement at the end; nil where no images were held back.
	HeldBack *HeldBack
	// Stopped tells why there were fewer steps than planned; nil where there were as many.
	Stopped *Stopped
	// Comparison sets the encoder beside the built-in one; nil where no images were held back from the training.
	Comparison *Comparison
	// Elapsed is the time spent in training, that before a resume counted.
	Elapsed time.Duration
	// ImagesPerSecond counts anchors over all of Elapsed, measurements, checkpoints and the finish included. For each of
	// them Rows images, two or three or [MultiViewOptions.Views], went through the net, small crops apart: ImagesPerSecond*Rows compares
	// with [StepTimes.ImagesPerSecond].
	ImagesPerSecond float64
	Rows            int
	// Skipped is the number of images that could not be read.
	Skipped int
	// Warnings lists what there was to warn of, a collapse for instance.
	Warnings []string
}

// finish writes the encoder, ends the run record and removes the checkpoint.
func (t *trainer) finish(ctx context.Context) (*Result, error) {
	net, weights, err := t.finished(ctx)
	if err != nil {
		return nil, t.interrupted(err)
	}
	if t.held != nil {
		if _, err := t.measure(ctx, &trainedNet{net, weights}); err != nil {
			return nil, t.interrupted(err)
		}
	}
	loss := t.at.Meter.Loss.value()
	encoder, err := embedder.New(net, weights, embedder.Metadata{
		Preset: t.Preset, Seed: t.Seed, Steps: t.at.Step, Dataset: t.dataset, DatasetFingerprint: t.fingerprint,
		FinalLoss: loss, Created: t.now().UTC().Format(time.RFC3339), Program: t.Program,
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDiverged, err)
	}
	comparison, err := t.compare(ctx, encoder)
	if err != nil {
		return nil, t.interrupted(err)
	}
	result := &Result{
		Encoder: encoder, Steps: t.at.Step, Epochs: t.epoch(), Images: len(t.train), Batch: t.batch, Loss: loss,
		HeldBack: t.at.HeldBack, Comparison: comparison, Elapsed: seconds(t.seconds()), Rows: t.perGroup, Skipped: t.skipped,
		Warnings: slices.Clone(t.at.Watch.Warnings), Stopped: t.at.Stop.Stopped,
	}
	if result.Elapsed > 0 {
		result.ImagesPerSecond = float64(t.at.Step) * float64(t.batch) / result.Elapsed.Seconds()
	}
	if t.Out != "" {
		result.Path, result.Record = t.Out, RecordPath(t.Out)
		if err := encoder.Save(t.Out); err != nil {
			// The work must not be lost: once there is room, a resume ends it.
			return nil, errors.Join(err, t.save())
		}
		if err := t.record.add(endLine{
			Kind: "end", Time: t.now(), Step: t.at.Step, Epoch: t.epoch(), Loss: loss, HeldBack: t.at.HeldBack, Compared: comparison,
			Seconds: rounded(result.Elapsed.Seconds()), ImagesPerSecond: rounded(result.ImagesPerSecond),
			Loading: rounded(t.spent.loading.Seconds()), Preparing: rounded(t.spent.preparing.Seconds()),
			Waiting: rounded(t.spent.waiting.Seconds()), Measuring: rounded(t.spent.measuring.Seconds()),
			Saving: rounded(t.spent.saving.Seconds()), Finishing: rounded(t.spent.finishing.Seconds()),
			Fingerprint: encoder.Fingerprint(), Warnings: result.Warnings, Stopped: result.Stopped,
		}); err != nil {
			return nil, err
		}
		if _, err := t.record.sync(); err != nil {
			return nil, err
		}
		if err := os.Remove(CheckpointPath(t.Out)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("remove the checkpoint of the finished run: %w", err)
		}
	}
	t.report(Finished)
	return result, nil
}
