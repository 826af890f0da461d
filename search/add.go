package search

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"imgsearch/dataset"
	"imgsearch/embedder"
	"imgsearch/index"
	"imgsearch/store"
)

// AddOptions say how a data set is brought into a collection. The zero value means the defaults.
type AddOptions struct {
	// Prune removes images whose files are gone: those with a source below one of Roots that the data set does not list.
	// What lies in a folder that could not be listed stays. Default: they stay. Images of CIFAR-10 and of the sample
	// are never pruned: they have no files of their own.
	Prune bool
	// Roots are the folders that Prune looks at, named as for [dataset.Open], ":train" or ":test" behind them included.
	// Default: the data set's name.
	Roots []string
	// Threads is the number of goroutines that decode, embed and link. Default: all cores.
	Threads int
	// OnProgress hears how far the work is, at most some ten times a second and at the end of each stage, from one
	// goroutine at a time.
	OnProgress func(Progress)
	// OnProblem hears of each image that cannot be taken in, when it is met. The report lists them all as well.
	OnProblem func(dataset.Problem)
}

// Stage names what Add is at.
type Stage string

const (
	// StageCompare looks for what is new or changed.
	StageCompare Stage = "compare"
	// StageEmbed decodes, embeds and commits.
	StageEmbed Stage = "embed"
	// StageLink brings the graph up to date.
	StageLink Stage = "link"
)

// Progress says how far a stage of Add is.
type Progress struct {
	Stage Stage
	// Done and Total count images.
	Done, Total int
	// Report counts what came out so far; its Skipped is not filled in.
	Report AddReport
}

// AddReport says what Add did. When Add returns an error, it says what was committed before.
type AddReport struct {
	// Added are the new images.
	Added int `json:"added"`
	// Replaced are the images whose content changed; they have new ids.
	Replaced int `json:"replaced"`
	// Updated are the images that only have another time, label or part now.
	Updated int `json:"updated"`
	// Unchanged are the images that were in the collection as they are.
	Unchanged int `json:"unchanged"`
	// Pruned are the images that were removed because their files are gone.
	Pruned int `json:"pruned"`
	// Skipped are the images, and the folders, that could not be taken in.
	Skipped []dataset.Problem `json:"-"`
}

const (
	embedBatch     = 256              // images that are embedded together
	commitImages   = 2000             // images that are committed together,
	commitBytes    = 32 << 20         // or bytes of thumbnails,
	commitInterval = 10 * time.Second // or as many as came in this time
	progressPause  = 100 * time.Millisecond
)

// Add brings a data set in: images that the collection does not have by their source are added, those that changed are
// replaced, the others are left alone. A file is unchanged when its length and time are; when these differ, and for
// images that are no files of their own, the content hash decides.
//
// An image that cannot be read does not stop the others: it is reported, and one that was in the collection stays as it
// was. Images are committed in batches and the graph is brought up to date at the end. When ctx is cancelled, what is
// embedded is committed and ctx's error returned with the report; the next Add goes on from there.
//
// One Add, Remove or RemoveSources runs at a time; others wait. The errors to test for: ErrReadOnly, ErrLocked,
// ErrNoSpace, ErrCorrupt, ErrOptions.
func (c *Collection) Add(ctx context.Context, ds dataset.Dataset, options AddOptions) (AddReport, error) {
	if options.Threads < 0 || options.Threads > 4096 {
		return AddReport{}, fmt.Errorf("%w: Threads %d: must be 0 to 4096", ErrOptions, options.Threads)
	}
	if err := c.mayWrite(); err != nil {
		return AddReport{}, err
	}
	c.adding.Lock()
	defer c.adding.Unlock()
	encoder, err := c.Encoder()
	if err != nil {
		return AddReport{}, err
	}
	a := &adding{collection: c, encoder: encoder, data: ds, options: options}
	err = a.run(ctx)
	return a.report, err
}

func (c *Collection) mayWrite() error {
	if !c.store.Writable() {
		return fmt.Errorf("change %s: %w", c.Path(), ErrReadOnly)
	}
	return nil
}

// adding is one call of Add.
type adding struct {
	collection *Collection
	encoder    *embedder.Encoder
	data       dataset.Dataset
	options    AddOptions

	known   map[string]Record // records of the images that data lists, by source
	gone    []dataset.ID      // images to prune
	todo    []int             // what must be read, as positions in data
	report  AddReport         // what came out, without what commits says
	commits *committer
	last    time.Time // of the last progress
}

func (a *adding) run(ctx context.Context) error {
	for _, p := range dataset.Problems(a.data) {
		a.problem(p)
	}
	touched, err := a.compare(ctx)
	if err != nil {
		return err
	}
	// What is embedded is committed even when ctx is done: the next run need not do it again.
	a.commits = startCommitter(context.WithoutCancel(ctx), a.collection.store)
	err = a.embedAll(ctx, touched)
	err = errors.Join(a.commits.finish(), err)
	a.report = a.report.plus(a.commits.report())
	a.commits = nil
	if err != nil {
		return err
	}
	a.progress(StageEmbed, len(a.todo), len(a.todo), true)
	if len(a.gone) > 0 {
		if _, err := a.collection.store.Apply(ctx, store.Batch{Remove: a.gone}); err != nil {
			return err
		}
		a.report.Pruned = len(a.gone)
	}
	return a.collection.updateGraph(ctx, a.options.Threads, func(done, total int) {
		a.progress(StageLink, done, total, done == total)
	})
}

func (a *adding) problem(p dataset.Problem) {
	a.report.Skipped = append(a.report.Skipped, p)
	if a.options.OnProblem != nil {
		a.options.OnProblem(p)
	}
}

func (a *adding) progress(stage Stage, done, total int, now bool) {
	if a.options.OnProgress == nil || !now && time.Since(a.last) < progressPause {
		return
	}
	a.last = time.Now()
	report := a.report
	if a.commits != nil {
		report = report.plus(a.commits.report())
	}
	report.Skipped = nil
	a.options.OnProgress(Progress{Stage: stage, Done: done, Total: total, Report: report})
}

// plus adds the counts of other.
func (r AddReport) plus(other AddReport) AddReport {
	r.Added += other.Added
	r.Replaced += other.Replaced
	r.Updated += other.Updated
	return r
}

// compare finds what must be read and what is gone. It returns records that changed although their images did not.
func (a *adding) compare(ctx context.Context) (touched []Record, err error) {
	n := a.data.Len()
	listed := make(map[string]bool, n)
	first := make([]int, 0, n) // positions without those whose source came before
	for i := range n {
		source := a.data.Entry(i).Source
		if listed[source] {
			a.problem(dataset.Problem{Source: source, Err: fmt.Errorf("%s: %w", source, ErrRepeated)})
			continue
		}
		listed[source] = true
		first = append(first, i)
	}
	prunes := a.pruner()
	a.known = map[string]Record{}
	for r, err := range a.collection.Records(ctx) {
		switch {
		case err != nil:
			return nil, err
		case listed[r.Source]:
			a.known[r.Source] = r
		case prunes(r):
			a.gone = append(a.gone, r.ID)
		}
	}
	for _, i := range first {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		a.progress(StageCompare, i, n, false)
		e := a.data.Entry(i)
		r, ok := a.known[e.Source]
		switch {
		case !ok || e.ModTime.IsZero() || r.Size != e.Size || !r.ModTime.Equal(e.ModTime):
			a.todo = append(a.todo, i)
		case describe(&r, e):
			touched = append(touched, r)
		default:
			a.report.Unchanged++
		}
	}
	a.progress(StageCompare, n, n, true)
	return touched, nil
}

// describe brings a record up to what the data set says of its image and reports whether that changes it.
func describe(r *Record, e dataset.Entry) (changed bool) {
	was := *r
	r.Label, r.Split, r.Size, r.ModTime = e.Label, e.Split, e.Size, e.ModTime
	return r.Label != was.Label || r.Split != was.Split || r.Size != was.Size || !r.ModTime.Equal(was.ModTime)
}

// prepared is an image ready to be embedded.
type prepared struct {
	entry     dataset.Entry
	square    *dataset.Image
	hash      dataset.Hash
	thumbnail []byte
}

// embedAll reads and embeds what is to do, in order, and gives it to the committer together with the touched records.
func (a *adding) embedAll(ctx context.Context, touched []Record) error {
	work, err := dataset.Subset(a.data, a.data.Name(), a.todo)
	if err != nil {
		return err
	}
	batch := newPending()
	for _, r := range touched {
		batch.touch(r)
	}
	var waiting []prepared
	done := 0
	reader := &preparing{Dataset: work, adding: a}
	err = dataset.Each(ctx, reader, a.options.Threads, func(i int, s dataset.Sample, err error) error {
		a.progress(StageEmbed, done, len(a.todo), false)
		done++
		entry := work.Entry(i)
		switch {
		case errors.Is(err, errUnchanged):
			if r := a.known[entry.Source]; describe(&r, entry) {
				batch.touch(r)
			} else {
				a.report.Unchanged++
			}
		case err != nil:
			a.problem(dataset.Problem{Source: entry.Source, Err: err})
		default:
			thumbnail, _ := reader.thumbnails.LoadAndDelete(i)
			waiting = append(waiting, prepared{entry, s.Image, s.Hash, thumbnail.([]byte)})
		}
		if len(waiting) == embedBatch {
			if err := a.embed(ctx, waiting, batch); err != nil {
				return err
			}
			waiting = waiting[:0]
		}
		if batch.due() {
			full := batch
			batch = newPending()
			return a.commits.send(full)
		}
		return nil
	})
	if err == nil {
		err = a.embed(ctx, waiting, batch)
	}
	return errors.Join(a.commits.send(batch), err)
}

// embed embeds images and adds them to the batch.
func (a *adding) embed(ctx context.Context, images []prepared, batch *pending) error {
	squares := make([]*dataset.Image, len(images))
	for i, image := range images {
		squares[i] = image.square
	}
	embeddings, err := a.encoder.Embed(ctx, squares, a.options.Threads)
	if err != nil {
		return fmt.Errorf("embed %d images from %s on: %w", len(images), images[0].entry.Source, err)
	}
	c := a.collection
	for i, image := range images {
		e := image.entry
		embedding, err := index.Prepare(c.metric, c.dim, embeddings[i*c.dim:(i+1)*c.dim])
		if err != nil {
			a.problem(dataset.Problem{Source: e.Source, Err: fmt.Errorf("%s: %w", e.Source, err)})
			continue
		}
		old, replaces := a.known[e.Source]
		batch.add(store.Item{
			Record:    Record{Source: e.Source, Label: e.Label, Split: e.Split, Hash: image.hash, Size: e.Size, ModTime: e.ModTime},
			Embedding: embedding, Thumbnail: image.thumbnail,
		}, old.ID, replaces)
	}
	return nil
}

// preparing is a data set whose images come ready to be embedded: Read runs on many goroutines at once, so the square and
// the thumbnail are made there.
type preparing struct {
	dataset.Dataset
	adding     *adding
	thumbnails sync.Map // of position: []byte, until the image is handed on
}

// errUnchanged is what Read returns for an image that the collection has as it is.
var errUnchanged = errors.New("image is unchanged")

func (p *preparing) Read(ctx context.Context, i int) (dataset.Sample, error) {
	s, err := p.Dataset.Read(ctx, i)
	if err != nil {
		return s, err
	}
	if r, ok := p.adding.known[p.Entry(i).Source]; ok && r.Hash == s.Hash {
		return dataset.Sample{}, errUnchanged
	}
	thumbnail, err := encodeThumbnail(s.Image, p.adding.collection.options.Thumbnail)
	if err != nil {
		return dataset.Sample{}, fmt.Errorf("%s: %w", p.Entry(i).Source, err)
	}
	p.thumbnails.Store(i, thumbnail)
	s.Image = s.Image.Square(p.adding.encoder.InputSize())
	return s, nil
}

// pruner returns what tells whether an image that is not listed is to be removed.
func (a *adding) pruner() func(Record) bool {
	type root struct{ folder, split string }
	var roots []root
	if names := a.options.Roots; a.options.Prune {
		if len(names) == 0 {
			names = []string{a.data.Name()}
		}
		for _, name := range names {
			if folder, split, ok := rootFolder(name); ok {
				roots = append(roots, root{folder, split})
			}
		}
	}
	return func(r Record) bool {
		for _, root := range roots {
			if r.ModTime.IsZero() || root.split != "" && r.Split != root.split || !isBelow(root.folder, r.Source) {
				continue
			}
			_, err := os.Stat(r.Source)
			return errors.Is(err, fs.ErrNotExist)
		}
		return false
	}
}

// rootFolder finds the folder that the name of a data set stands for, and the part of it that is meant.
func rootFolder(name string) (folder, split string, ok bool) {
	isFolder := func(path string) bool {
		info, err := os.Stat(path)
		return err == nil && info.IsDir()
	}
	if isFolder(name) {
		return filepath.Clean(name), "", true
	}
	for _, split := range []string{"train", "test"} {
		if folder, found := strings.CutSuffix(name, ":"+split); found && isFolder(folder) {
			return filepath.Clean(folder), split, true
		}
	}
	return "", "", false
}

// isBelow reports whether a path lies below a folder, by their texts alone.
func isBelow(folder, path string) bool {
	rel, err := filepath.Rel(folder, path)
	return err == nil && rel != "." && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}
