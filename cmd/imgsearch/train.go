package main

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"imgsearch/dataset"
	"imgsearch/training"
)

type trainFlags struct {
	data        []string
	preset      string
	out         string
	minutes     float64
	epochs      int
	steps       int
	batch       int
	lr          float64
	loss        string
	miner       string
	margin      float64
	temperature float64
	dim         int
	size        int
	seed        uint64
	threads     int
	heldBack    int
	resume      bool
	force       bool
}

func newTrain(s *streams) *cobra.Command {
	var f trainFlags
	cmd := &cobra.Command{
		Use:   "train --data D --out FILE",
		Short: "Train an encoder on images, without labels",
		Long:  trainHelp(),
		Example: `  imgsearch train --data cifar10:train --out cifar.encoder
  imgsearch train --data photos/ --minutes 10 --out photos.encoder
  imgsearch train --data photos/ --minutes 10 --out photos.encoder --resume`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runTrain(cmd.Context(), s, f, cmd.Flags().Changed)
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&f.data, "data", nil, "data set `D` to train on (see imgsearch --help); may be repeated")
	flags.StringVar(&f.preset, "preset", training.Presets()[0].Name, "recipe `P`, listed above")
	flags.StringVar(&f.out, "out", "", "encoder `FILE` to write")
	flags.Float64Var(&f.minutes, "minutes", 0, "train for about this long")
	flags.IntVar(&f.epochs, "epochs", 0, "train for this many passes over the images")
	flags.IntVar(&f.steps, "steps", 0, "train for this many updates of the weights")
	flags.IntVar(&f.batch, "batch", 0, "anchors a step (0: the preset's)")
	flags.Float64Var(&f.lr, "lr", 0, "highest learning rate (0: the preset's)")
	flags.StringVar(&f.loss, "loss", "", "loss: "+joined(training.Losses(), ", ")+` ("": the preset's)`)
	flags.StringVar(&f.miner, "miner", "", "how the triplet loss picks negatives: "+joined(training.Miners(), ", "))
	flags.Float64Var(&f.margin, "margin", 0, "margin of the triplet loss, a Euclidean distance")
	flags.Float64Var(&f.temperature, "temperature", 0, "temperature of smooth-triplet and nt-xent")
	flags.IntVar(&f.dim, "dim", 0, "values of an embedding (0: the preset's)")
	flags.IntVar(&f.size, "size", 0, "side in pixels that images are scaled to (0: the preset's)")
	flags.Uint64Var(&f.seed, "seed", 1, "seed of weights, order and views; equal seeds give equal encoders")
	flags.IntVar(&f.threads, "threads", 0, "threads to use; the result does not depend on it (0: all cores)")
	flags.IntVar(&f.heldBack, "held-back", 0, "images to keep out and measure on (0: a tenth, at most 2,000; negative: none)")
	flags.BoolVar(&f.resume, "resume", false, "go on with the run that was interrupted")
	flags.BoolVar(&f.force, "force", false, "replace an encoder file or an unfinished run")
	cmd.MarkFlagsMutuallyExclusive("minutes", "epochs", "steps")
	cmd.MarkFlagsMutuallyExclusive("resume", "force")
	_ = cmd.RegisterFlagCompletionFunc("preset", cobra.FixedCompletions(presetNames(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func presetNames() []string {
	var names []string
	for _, p := range training.Presets() {
		names = append(names, p.Name)
	}
	return names
}

func trainHelp() string {
	var b strings.Builder
	b.WriteString(`Train a siamese encoder: views of one image are pulled together, other images pushed away. Labels, where the images
have any, are used for the purity that the progress line shows and for nothing else.

The run can be interrupted at any time, even killed: --resume goes on and ends with the weights that an uninterrupted
run would have had. A record of the run lies in FILE.jsonl.

Presets:
`)
	for _, p := range training.Presets() {
		fmt.Fprintf(&b, "  %-9s %s\n", p.Name, p.Summary)
	}
	return strings.TrimRight(b.String(), "\n")
}

// joined renders a list of names.
func joined[T ~string](values []T, separator string) string {
	var names []string
	for _, v := range values {
		names = append(names, string(v))
	}
	return strings.Join(names, separator)
}

// options turns the flags into the options of a run; changed tells which flags were given.
func (f trainFlags) options(changed func(string) bool) (training.Options, error) {
	o, err := training.PresetByName(f.preset)
	if err != nil {
		return o, usageError{err}
	}
	o.Out, o.Resume, o.Overwrite = f.out, f.resume, f.force
	o.Minutes, o.Epochs, o.Steps = f.minutes, f.epochs, f.steps
	o.Size, o.Dim, o.Seed, o.Threads, o.HeldBack = f.size, f.dim, f.seed, f.threads, f.heldBack
	o.LearningRate = f.lr
	o.Program = "imgsearch " + version()
	if f.batch != 0 {
		o.Batch = f.batch
	}
	if changed("loss") {
		o.Loss = training.LossOptions{Loss: training.Loss(f.loss)}
		switch o.Loss.Loss {
		case training.LossTriplet:
			o.Loss.Miner, o.Loss.Margin = training.MinerSemiHard, 0.5
		case training.LossSmoothTriplet:
			o.Loss.Temperature = 0.1
		case training.LossNTXent:
			o.Loss.Temperature = 0.2
		}
	}
	if changed("miner") {
		o.Loss.Miner = training.Miner(f.miner)
	}
	if changed("margin") {
		o.Loss.Margin = f.margin
	}
	if changed("temperature") {
		o.Loss.Temperature = f.temperature
	}
	return o, nil
}

func runTrain(ctx context.Context, s *streams, f trainFlags, changed func(string) bool) error {
	if len(f.data) == 0 {
		return usagef("--data is missing: for example --data cifar10:train, --data photos/ or --data sample")
	}
	if err := requireFlag("out", f.out, "photos.encoder"); err != nil {
		return err
	}
	o, err := f.options(changed)
	if err != nil {
		return err
	}
	result, err := train(ctx, s, o, f.data)
	if err != nil {
		return err
	}
	keyValues(s.out,
		"encoder", fmt.Sprintf("%s (%d-d, %s)", result.Path, result.Encoder.Dim(), result.Encoder.Fingerprint()[:12]),
		"run record", result.Record,
		"trained on", fmt.Sprintf("%s, %s steps of %d, %.1f epochs, %s", count(result.Images, "image"),
			thousands(result.Steps), result.Batch, result.Epochs, result.Elapsed.Round(time.Second)),
		"loss", fmt.Sprintf("%.4f", result.Loss),
		"held back", heldBackText(result.HeldBack),
		"next", fmt.Sprintf("imgsearch index %s --index FILE --encoder %s", strings.Join(f.data, " "), result.Path))
	if result.Skipped > 0 {
		return incompleteError{result.Skipped, "image"}
	}
	return nil
}

// train opens the data and runs the training with its progress on stderr.
func train(ctx context.Context, s *streams, o training.Options, data []string) (*training.Result, error) {
	ds, err := dataset.OpenAll(ctx, data, dataset.Options{})
	if err != nil {
		return nil, err
	}
	defer ds.Close()
	o.Data = ds
	listed := reportProblems(s, ds)
	line := newTrainLine(s)
	o.OnProgress, o.OnProblem = line.show, func(p dataset.Problem) {
		line.status.finish()
		fmt.Fprintf(s.err, "skipped %s\n", p.Error())
	}
	result, err := training.Run(ctx, o)
	line.status.finish()
	if err != nil {
		return nil, err
	}
	result.Skipped += listed
	return result, nil
}

// trainLine shows the progress of a training run.
type trainLine struct {
	status   *statusLine
	heldBack int // step of the measurement that was shown last
	warned   int
}

func newTrainLine(s *streams) *trainLine {
	return &trainLine{status: newStatusLine(s), heldBack: -1}
}

func (l *trainLine) show(p training.Progress) {
	for _, warning := range p.Warnings[min(l.warned, len(p.Warnings)):] {
		l.status.update("warning: "+warning, true)
	}
	l.warned = len(p.Warnings)
	switch p.Phase {
	case training.Loading:
		l.status.update(fmt.Sprintf("loading %s of %s", thousands(p.Loaded), count(p.Images, "image")), false)
	case training.Preparing:
		l.status.update(fmt.Sprintf("preparing to train on %s", count(p.Images, "image")), false)
	default:
		fresh := p.HeldBack != nil && p.HeldBack.Step != l.heldBack
		l.status.update(stepText(p), fresh || p.Phase == training.Finished)
		if fresh {
			l.heldBack = p.HeldBack.Step
		}
	}
}

// stepText is the progress line of a training run.
func stepText(p training.Progress) string {
	var b strings.Builder
	fmt.Fprintf(&b, "step %s/%s  epoch %.2f  loss %.4f", thousands(p.Step), thousands(p.Steps), p.Epoch, p.Loss)
	if !math.IsNaN(p.Active) {
		fmt.Fprintf(&b, "  active %.1f%%", 100*p.Active)
	}
	fmt.Fprintf(&b, "  %.0f images/s", p.ImagesPerSecond)
	if p.Left > 0 {
		fmt.Fprintf(&b, "  %s left", p.Left.Round(time.Second))
	}
	if p.HeldBack != nil {
		fmt.Fprintf(&b, "  |  held back: %s", heldBackText(p.HeldBack))
	}
	if p.Collapsed {
		b.WriteString("  COLLAPSED")
	}
	return b.String()
}

// heldBackText renders a measurement on held-back images.
func heldBackText(h *training.HeldBack) string {
	switch {
	case h == nil:
		return "none"
	case h.Purity == nil:
		return fmt.Sprintf("match %.3f", h.Match)
	default:
		return fmt.Sprintf("purity@1 %.3f @10 %.3f (chance %.3f)", h.Purity.At1, h.Purity.At10, h.Purity.Chance)
	}
}
