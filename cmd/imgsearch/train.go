package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime/debug"
	"slices"
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
	precision   string
	seed        uint64
	threads     int
	heldBack    int
	patience    int
	memory      string
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
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runTrain(cmd.Context(), s, f, cmd.Flags().Changed)
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&f.data, "data", nil, "data set `D` to train on (see imgsearch --help); may be repeated")
	flags.StringVar(&f.preset, "preset", training.Presets()[0].Name, "recipe `P`, listed above")
	flags.StringVar(&f.out, "out", "", "encoder `FILE` to write")
	flags.Float64Var(&f.minutes, "minutes", 0, "train for about `M` minutes")
	flags.IntVar(&f.epochs, "epochs", 0, "train for `N` passes over the images")
	flags.IntVar(&f.steps, "steps", 0, "train for `N` updates of the weights")
	flags.IntVar(&f.batch, "batch", 0, "`N` anchors a step (default: the preset's)")
	flags.Float64Var(&f.lr, "lr", 0, "highest learning rate `R` (default: the preset's)")
	flags.StringVar(&f.loss, "loss", "", "`L`oss: "+joined(training.Losses(), ", ")+" (default: the preset's)")
	flags.StringVar(&f.miner, "miner", "", "`M`iner, how the triplet loss picks negatives: "+joined(training.Miners(), ", "))
	flags.Float64Var(&f.margin, "margin", 0, "margin `D` of the triplet loss, a Euclidean distance (default: the preset's)")
	flags.Float64Var(&f.temperature, "temperature", 0, "temperature `T` of smooth-triplet, nt-xent and decoupled-nt-xent (default: the preset's)")
	flags.IntVar(&f.dim, "dim", 0, "an embedding has `N` values (default: the preset's)")
	flags.IntVar(&f.size, "size", 0, "images are scaled to `N` x N pixels (default: the preset's)")
	flags.StringVar(&f.precision, "precision", "", "the convolutions multiply `P` numbers: "+joined(training.Precisions(), ", ")+" (default: float32)")
	flags.Uint64Var(&f.seed, "seed", 1, "seed `N` of weights, order and views; equal seeds give equal encoders")
	flags.IntVar(&f.threads, "threads", 0, "use `N` threads; the result does not depend on it (default: all cores)")
	flags.IntVar(&f.heldBack, "held-back", 0, "keep `N` images out and measure on them (default: a tenth, 50 to 2,000; -1: none)")
	flags.IntVar(&f.patience, "patience", 0, "bring the run to an early end once `N` looks in a row find the loss on held-back images no lower "+
		"(default: never)")
	flags.StringVar(&f.memory, "memory", "", "`SIZE` that decoded images may take, such as 500MB; more of them go to FILE.images while the "+
		"run lasts (default: a quarter of the machine's memory)")
	flags.BoolVar(&f.resume, "resume", false, "go on with the run that was interrupted")
	flags.BoolVar(&f.force, "force", false, "replace an encoder file or an unfinished run")
	exclusive(cmd, "minutes", "epochs", "steps")
	exclusive(cmd, "resume", "force")
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

The progress line shows the loss, the share of triplets that still have one ("active"), and how often the nearest
neighbour of a held-back image has its label ("purity@1"). Without labels it shows how often a view of a held-back image
has that image as its nearest ("match"). At the end the same is asked of training images and of the built-in encoder
("views found"): a large difference says that the encoder knows its training images by heart, or that the built-in one
serves these images better. A run whose embeddings become all the same is called COLLAPSED. With --patience a run whose
loss on held-back images falls no more is brought to an early end: the low learning rates that a run ends with come at
once.

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
		return o, err
	}
	// For the library 0 is the preset's value; who writes it on the command line means something else.
	for _, given := range []struct {
		name  string
		value float64
	}{
		{"minutes", f.minutes}, {"epochs", float64(f.epochs)}, {"steps", float64(f.steps)}, {"batch", float64(f.batch)},
		{"lr", f.lr}, {"dim", float64(f.dim)}, {"size", float64(f.size)},
	} {
		if changed(given.name) && !(given.value > 0) {
			return o, usagef("--%s %g: must be above 0", given.name, given.value)
		}
	}
	o.Out, o.Resume, o.Overwrite = f.out, f.resume, f.force
	o.Minutes, o.Epochs, o.Steps = f.minutes, f.epochs, f.steps
	o.Size, o.Dim, o.Seed, o.Threads, o.HeldBack = f.size, f.dim, f.seed, f.threads, f.heldBack
	o.Stop.Patience = f.patience
	o.LearningRate, o.Precision = f.lr, training.Precision(f.precision)
	o.Program = "imgsearch " + version()
	if changed("memory") {
		if o.Corpus.Memory, err = parseSize(f.memory); err != nil {
			return o, usagef("--memory %q: %w", f.memory, err)
		}
	}
	if changed("batch") {
		o.Batch = f.batch
	}
	if changed("loss") {
		o.Loss = training.LossOptions{Loss: training.Loss(f.loss)}
		switch o.Loss.Loss {
		case training.LossTriplet:
			o.Loss.Miner, o.Loss.Margin = training.MinerSemiHard, 0.5
		case training.LossSmoothTriplet:
			o.Loss.Temperature = 0.1
		case training.LossNTXent, training.LossDecoupledNTXent:
			o.Loss.Temperature = 0.2
		case training.LossVICReg, training.LossBarlowTwins:
			o.Head = nil // the preset's makes outputs of length 1: they come with a head of their own
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

// checkOut looks at the places that a run writes, before images are loaded.
func (f trainFlags) checkOut() error {
	if err := checkOutput(f.out, f.force || f.resume); err != nil {
		return err
	}
	if err := checkOutput(training.RecordPath(f.out), true); err != nil {
		return err
	}
	checkpoint := training.CheckpointPath(f.out)
	switch unfinished := exists(checkpoint); {
	case unfinished && !f.force && !f.resume:
		return fmt.Errorf("%s is that of an unfinished run: add --resume to go on with it, or --force to begin anew", checkpoint)
	case !unfinished && f.resume && exists(f.out):
		return fmt.Errorf("%s is finished, there is nothing to resume: name another file, or replace --resume by --force to train anew", f.out)
	case !unfinished && f.resume:
		return fmt.Errorf("there is no %s to resume: leave --resume out to begin a run", checkpoint)
	}
	return nil
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
	if err := f.checkOut(); err != nil {
		return err
	}
	recorded := exists(training.RecordPath(f.out))
	result, err := train(ctx, s, o, f.data)
	if err != nil && !recorded && !exists(f.out) && !exists(training.CheckpointPath(f.out)) {
		// The record of a run of which nothing else is left helps nobody.
		_ = os.Remove(training.RecordPath(f.out))
	}
	var interrupted *training.InterruptedError
	switch {
	case errors.As(err, &interrupted):
		return interruptedError{fmt.Sprintf("%s of %s are done and saved in %s: the same command with --resume goes on from there",
			count(interrupted.Step, "step"), thousands(interrupted.Steps), interrupted.Checkpoint), err}
	case errors.Is(err, training.ErrMismatch):
		return fmt.Errorf("%w: give the options and images of that run, or replace --resume by --force to begin anew", err)
	case errors.Is(err, training.ErrCheckpoint), errors.Is(err, training.ErrVersion):
		return fmt.Errorf("%w: replace --resume by --force to begin anew", err)
	case err != nil:
		return err
	}
	pairs := []string{
		"encoder", fmt.Sprintf("%s (%d-d, %s)", result.Path, result.Encoder.Dim(), result.Encoder.Fingerprint()[:12]),
		"run record", result.Record,
		"trained on", fmt.Sprintf("%s, %s of %d, %.1f epochs, %s at %.0f images/s", count(result.Images, "image"),
			count(result.Steps, "step"), result.Batch, result.Epochs, duration(result.Elapsed), result.ImagesPerSecond),
		"loss", strings.TrimPrefix(lossText(result.Loss), "loss "),
		"held back", heldBackText(result.HeldBack),
	}
	if result.Stopped != nil {
		pairs = append(pairs, "stopped", result.Stopped.String())
	}
	if c := result.Comparison; c != nil {
		pairs = append(pairs, "views found", fmt.Sprintf("%.3f of held-back images, %.3f of training images; built-in encoder %.3f of held-back ones (among %s)",
			c.HeldBack, c.Training, c.BuiltIn, count(c.Gallery, "image")))
	}
	for _, warning := range result.Warnings {
		pairs = append(pairs, "warning", warning)
	}
	words := []string{"imgsearch", "index"}
	for _, name := range f.data {
		words = append(words, word(name))
	}
	pairs = append(pairs, "next", strings.Join(append(words, "--index", "FILE", "--encoder", word(result.Path)), " "))
	keyValues(s.out, pairs...)
	if result.Skipped > 0 {
		return incompleteError{result.Skipped, "image"}
	}
	return nil
}

// trainGC is the percentage by which the heap of a training run may grow before garbage is collected. Nearly all of the
// heap is pixels and activations, without pointers, so a collection takes no time, and the peak of memory stays low.
const trainGC = 5

// train opens the data and runs the training with its progress on stderr.
func train(ctx context.Context, s *streams, o training.Options, data []string) (*training.Result, error) {
	if os.Getenv("GOGC") == "" {
		defer debug.SetGCPercent(debug.SetGCPercent(trainGC))
	}
	ds, err := dataset.OpenAll(ctx, data, dataset.Options{})
	if err != nil {
		return nil, err
	}
	closeData := func() {
		if ds != nil {
			_ = ds.Close()
			ds = nil
		}
	}
	defer closeData()
	o.Data = ds
	o.OnLoaded = func() {
		closeData()
		debug.FreeOSMemory() // before the net takes its share
	}
	listed := reportProblems(s, ds)
	line := newTrainLine(s)
	defer line.status.finish()
	o.OnProgress = line.show
	o.OnProblem = func(p dataset.Problem) { fmt.Fprintf(s.err, "skipped %s\n", oneLine(p)) }
	result, err := training.Run(ctx, o)
	if err != nil {
		return nil, err
	}
	result.Skipped += listed
	return result, nil
}

// trainLine shows the progress of a training run.
type trainLine struct {
	status   *statusLine
	told     bool // where the images are
	heldBack int  // step of the measurement that was shown last
	warned   int
}

func newTrainLine(s *streams) *trainLine {
	return &trainLine{status: newStatusLine(s), heldBack: -1}
}

func (l *trainLine) show(p training.Progress) {
	for _, warning := range p.Warnings[min(l.warned, len(p.Warnings)):] {
		l.status.keep("warning: " + warning)
	}
	l.warned = len(p.Warnings)
	if p.ImagesFile != "" && !l.told {
		l.told = true
		l.status.keep(fmt.Sprintf("the decoded images take more than the memory they may have: they are in %s while the run lasts", p.ImagesFile))
	}
	switch p.Phase {
	case training.Loading:
		l.status.update(func(int) string {
			return fmt.Sprintf("loading %s of %s", thousands(p.Loaded), count(p.Images, "image"))
		})
	case training.Preparing:
		l.status.update(func(int) string { return fmt.Sprintf("preparing to train on %s", count(p.Images, "image")) })
	case training.Finishing:
		l.status.update(func(int) string { return "computing the last layer from the images' features" })
	default:
		if p.HeldBack != nil && p.HeldBack.Step != l.heldBack {
			l.status.keep(measuredText(p, l.heldBack < 0))
			l.heldBack = p.HeldBack.Step
		}
		if p.Phase != training.Finished {
			l.status.update(func(letters int) string { return stepText(p, letters) })
		}
	}
}

// stepText is the changing line of a training run. Where it has more than so many letters it is abridged, and where that
// is not enough, what matters least is left out; 0 is any number.
func stepText(p training.Progress, letters int) string {
	step := fmt.Sprintf("step %s/%s", thousands(p.Step), thousands(p.Steps))
	fields := []struct {
		long, short string
		priority    int // what is left out first has the highest
	}{
		{collapseText(p), collapseText(p), 0},
		{step, step, 0},
		{fmt.Sprintf("epoch %.2f", p.Epoch), fmt.Sprintf("epoch %.2f", p.Epoch), 4},
		{lossText(p.Loss), lossText(p.Loss), 0},
		{known("active %.1f %%", 100*p.Active), known("active %.0f%%", 100*p.Active), 2},
		{known("%.0f images/s", p.ImagesPerSecond), known("%.0f/s", p.ImagesPerSecond), 3},
		{leftText(p.Left, duration), leftText(p.Left, shortDuration), 1},
		{purityText(p.HeldBack), purityText(p.HeldBack), 1},
	}
	var long []string
	for _, f := range fields {
		if f.long != "" {
			long = append(long, f.long)
		}
	}
	if text := strings.Join(long, "  "); letters == 0 || len(text) <= letters {
		return text
	}
	for drop := 4; ; drop-- {
		var short []string
		for _, f := range fields {
			if f.short != "" && f.priority <= drop {
				short = append(short, f.short)
			}
		}
		if text := strings.Join(short, " "); len(text) <= letters || drop == 0 {
			return text
		}
	}
}

// measuredText is the line that stays for each measurement on held-back images. The first one says what is measured.
func measuredText(p training.Progress, first bool) string {
	h, total := p.HeldBack, thousands(p.Steps)
	fields := []string{collapseText(p), fmt.Sprintf("step %*s/%s", len(total), thousands(h.Step), total)}
	intro := ""
	if h.Purity != nil {
		fields = append(fields, fmt.Sprintf("purity@1 %.3f  @10 %.3f", h.Purity.At1, h.Purity.At10))
		intro = fmt.Sprintf("%s held back to measure on; chance is %.3f\n", count(h.Images, "image"), h.Purity.Chance)
	} else {
		fields = append(fields, fmt.Sprintf("match %.3f", h.Match))
		intro = fmt.Sprintf("%s held back to measure on; chance is %.3f\n", count(h.Images, "image"), 1/float64(h.Images))
	}
	if h.Loss != nil {
		fields = append(fields, fmt.Sprintf("held-back loss %.4f", *h.Loss))
	}
	if h.Step > 0 {
		fields = append(fields, fmt.Sprintf("epoch %.2f", p.Epoch), lossText(p.Loss), known("active %.1f %%", 100*p.Active))
	}
	text := strings.Join(slices.DeleteFunc(fields, func(f string) bool { return f == "" }), "  ")
	if first {
		return intro + text
	}
	return text
}

// known renders a number, or nothing where it is not known yet.
func known(format string, x float64) string {
	if math.IsNaN(x) {
		return ""
	}
	return fmt.Sprintf(format, x)
}

// lossText keeps the first digits of a loss that has become tiny, as it does in a collapse.
func lossText(loss float64) string {
	if math.Abs(loss) < 0.001 {
		return known("loss %.1e", loss)
	}
	return known("loss %.4f", loss)
}

func collapseText(p training.Progress) string {
	if p.Collapsed {
		return "COLLAPSED"
	}
	return ""
}

func leftText(left time.Duration, render func(time.Duration) string) string {
	if left <= 0 {
		return ""
	}
	return render(left) + " left"
}

// purityText is the newest measurement in short.
func purityText(h *training.HeldBack) string {
	switch {
	case h == nil:
		return ""
	case h.Purity == nil:
		return fmt.Sprintf("match %.2f", h.Match)
	default:
		return fmt.Sprintf("purity@1 %.2f", h.Purity.At1)
	}
}

// heldBackText renders a measurement on held-back images.
func heldBackText(h *training.HeldBack) string {
	if h == nil {
		return "none"
	}
	text := fmt.Sprintf("match %.3f (chance %.3f)", h.Match, 1/float64(h.Images))
	if h.Purity != nil {
		text = fmt.Sprintf("purity@1 %.3f  @10 %.3f (chance %.3f)", h.Purity.At1, h.Purity.At10, h.Purity.Chance)
	}
	if h.Loss != nil {
		text += fmt.Sprintf("  loss %.4f", *h.Loss)
	}
	return text
}
