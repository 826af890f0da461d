package search

import (
	"context"
	"fmt"
	"slices"

	"imgsearch/embedder"
	"imgsearch/index"
	"imgsearch/internal/kernel"
	"imgsearch/store"
)

// CheckReport says what Check found.
type CheckReport struct {
	// Images is the number of images that the collection names.
	Images int
	// GraphStale says that the graph does not cover the present images, or is of another version. That is no damage: see
	// [GraphInfo].
	GraphStale bool
	// Problems say what is wrong and where. Empty: the collection is sound.
	Problems []error
}

// maxProblems bounds a report: a file whose first pages are lost has no end of problems.
const maxProblems = 1000

// Check reads all of the collection and verifies it: the pages of the file, every checksum, every record, thumbnail and
// embedding, the encoder and its fingerprint, every link of the graph, and that all belong to one state. What is wrong is in the
// report; the error says that it could not be done to the end: ctx's, ErrLocked, ErrClosed, or ErrCorrupt where not even
// the head of the file can be read.
func (c *Collection) Check(ctx context.Context) (CheckReport, error) {
	var report CheckReport
	problem := func(err error) {
		if len(report.Problems) < maxProblems {
			report.Problems = append(report.Problems, err)
		}
	}
	err := c.store.View(ctx, func(v *store.View) error {
		h := v.Header()
		report.Images = h.Count
		stale, err := graphStale(v)
		if err != nil {
			problem(fmt.Errorf("graph: %w", err))
		}
		report.GraphStale = stale
		if err := v.Check(ctx, problem); err != nil {
			return err
		}
		c.checkEncoder(v, problem)
		if err := c.checkThumbnails(ctx, v, problem); err != nil {
			return err
		}
		return c.checkGraph(ctx, v, problem)
	})
	return report, err
}

func (c *Collection) checkEncoder(v *store.View, problem func(error)) {
	b, err := v.Encoder()
	if err != nil {
		return // the store has said so
	}
	e, err := embedder.Read(append([]byte(nil), b...))
	switch h := v.Header(); {
	case err != nil:
		problem(fmt.Errorf("encoder: %w: %w", ErrCorrupt, err))
	case e.Fingerprint() != h.Fingerprint:
		problem(fmt.Errorf("encoder: %w: it is %.12s…, the collection was made by %.12s…", ErrCorrupt, e.Fingerprint(), h.Fingerprint))
	case e.Dim() != h.Dim:
		problem(fmt.Errorf("encoder: %w: it has dim %d, the collection %d", ErrCorrupt, e.Dim(), h.Dim))
	}
}

// checkThumbnails decodes them all, which takes most of a check's time: so on all cores.
func (c *Collection) checkThumbnails(ctx context.Context, v *store.View, problem func(error)) error {
	ids, err := v.IDs()
	if err != nil {
		return nil // the store has said so
	}
	threads := kernel.Threads(0)
	problems := make([][]error, threads)
	errs := make([]error, threads)
	all := slices.Collect(ids.All())
	kernel.ParallelRanges(threads, len(all), func(worker, from, to int) {
		errs[worker] = v.Guard(func() error {
			for _, id := range all[from:to] {
				if err := ctx.Err(); err != nil {
					return err
				}
				b, err := v.Thumbnail(id)
				if err != nil || len(b) == 0 && c.options.Thumbnail == 0 {
					continue // what is wrong with the value, the store has said
				}
				if _, err := decodeThumbnail(b); err != nil {
					problems[worker] = append(problems[worker], fmt.Errorf("thumbnail of image %d: %w", id, err))
				}
			}
			return nil
		})
	})
	for _, err := range slices.Concat(problems...) {
		problem(err)
	}
	return firstError(errs)
}

// checkGraph checks the graph and that it holds the images: all of them, or where it is stale none that never were.
func (c *Collection) checkGraph(ctx context.Context, v *store.View, problem func(error)) error {
	if readable, err := graphReadable(v); err != nil || !readable {
		return ctx.Err() // no graph, another version's, or damage that was reported
	}
	h := v.Header()
	ids, err := v.IDs()
	if err != nil {
		return nil // the store has said so
	}
	chunks, err := v.Embeddings()
	if err != nil {
		return nil // the store has said so
	}
	for id := range ids.All() {
		row := chunks[id/store.ChunkRows][int(id%store.ChunkRows)*c.dim:][:c.dim]
		if _, err := index.Prepare(c.metric, c.dim, row); err != nil {
			problem(fmt.Errorf("embedding of image %d: %w: %w", id, ErrCorrupt, err))
		}
	}
	g, err := loadGraph(v, chunks, func(b []byte) []byte { return b })
	if err != nil {
		problem(fmt.Errorf("graph: %w", err))
		return ctx.Err()
	}
	if err := g.Verify(); err != nil {
		problem(fmt.Errorf("graph: %w", asCorrupt(err)))
	}
	if h.GraphGeneration != h.Generation {
		return ctx.Err()
	}
	for id := range h.NextID {
		if has := g.Has(id); has != ids.Has(id) {
			problem(fmt.Errorf("graph: %w: image %d is in the collection: %t, in the graph: %t", ErrCorrupt, id, !has, has))
		}
	}
	if extra := g.Slots() - int(h.NextID); extra > 0 {
		problem(fmt.Errorf("graph: %w: it has %d slots for images that never were", ErrCorrupt, extra))
	}
	return ctx.Err()
}
