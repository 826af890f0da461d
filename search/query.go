package search

import (
	"context"
	"fmt"
	"math"
	"path/filepath"

	"imgsearch/dataset"
	"imgsearch/index"
	"imgsearch/store"
)

// QueryOptions say what a query returns. K is required.
type QueryOptions struct {
	// K is the number of results, at least 1; where the collection has fewer images, all are returned.
	K int
	// MaxDistance leaves out results that are farther. 0 means no limit.
	MaxDistance float64
	// Exact compares with every image, whatever the size.
	Exact bool
	// Ef asks the graph and is the number of candidates that its search keeps: see hnsw.Options.EfSearch. 0 means the
	// collection's own, and comparing with every image where that takes no longer. At most 100,000.
	Ef int
	// IncludeSelf keeps the query's own record among the results.
	IncludeSelf bool
	// Source names where the image of QueryImage comes from: a record with this source is the query's own.
	Source string
}

func (o QueryOptions) validate() error {
	switch {
	case o.K < 1:
		return fmt.Errorf("%w: %d", ErrK, o.K)
	case o.MaxDistance < 0 || math.IsNaN(o.MaxDistance):
		return fmt.Errorf("%w: MaxDistance %v: must not be negative", ErrOptions, o.MaxDistance)
	case o.Ef < 0 || o.Ef > maxEf:
		return fmt.Errorf("%w: Ef %d: must be 0 to %d", ErrOptions, o.Ef, maxEf)
	}
	return nil
}

const maxEf = 100_000

// Result is one image found. Its JSON names are those of the command line.
type Result struct {
	// Rank counts from 1.
	Rank   int           `json:"rank"`
	ID     dataset.ID    `json:"id"`
	Source string        `json:"source"`
	Label  dataset.Label `json:"label"`
	// Distance is measured by the collection's Metric; smaller is closer.
	Distance float32 `json:"distance"`
	// Similarity is larger for closer images: the cosine, or 1/(1+distance); see index.Similarity.
	Similarity float32 `json:"similarity"`
}

// QueryEmbedding returns the images nearest to an embedding, which has Dim values and comes from the collection's own
// encoder (see [Collection.RequireEncoder]). Results are sorted; an empty collection gives none. The errors to test for:
// ErrK, ErrOptions, ErrEmbedding, ErrLocked, ErrCorrupt.
func (c *Collection) QueryEmbedding(ctx context.Context, embedding []float32, options QueryOptions) ([]Result, error) {
	return c.query(ctx, options, func(*loaded) ([]float32, func(Record) bool, error) {
		return embedding, nil, nil
	})
}

// QueryID returns the images nearest to an image of the collection. An id that the collection does not hold is
// ErrNotFound; the other errors are those of QueryEmbedding.
func (c *Collection) QueryID(ctx context.Context, id dataset.ID, options QueryOptions) ([]Result, error) {
	return c.query(ctx, options, func(l *loaded) ([]float32, func(Record) bool, error) {
		if !l.ids.Has(id) {
			return nil, nil, fmt.Errorf("id %d: %w", id, ErrNotFound)
		}
		return l.row(id, c.dim), func(r Record) bool { return r.ID == id }, nil
	})
}

// QueryImage returns the images nearest to a picture. Records with its content hash are its own, where it has one, and
// the record with the source of the options. The errors are those of QueryEmbedding, and embedder.ErrImage.
func (c *Collection) QueryImage(ctx context.Context, sample dataset.Sample, options QueryOptions) ([]Result, error) {
	if err := options.validate(); err != nil {
		return nil, err
	}
	encoder, err := c.Encoder()
	if err != nil {
		return nil, err
	}
	embedding, err := encoder.Embed(ctx, []*dataset.Image{sample.Image}, 1)
	if err != nil {
		return nil, err
	}
	return c.query(ctx, options, func(*loaded) ([]float32, func(Record) bool, error) {
		return embedding, func(r Record) bool {
			return r.Hash == sample.Hash && sample.Hash != dataset.Hash{} || r.Source == options.Source
		}, nil
	})
}

// QueryFile decodes an image file and asks as QueryImage does, the file's cleaned path being the source where the options
// name none. Its further errors are those of dataset.DecodeFile.
func (c *Collection) QueryFile(ctx context.Context, path string, options QueryOptions) ([]Result, error) {
	if err := options.validate(); err != nil {
		return nil, err
	}
	sample, err := dataset.DecodeFile(ctx, path, dataset.Options{})
	if err != nil {
		return nil, err
	}
	if options.Source == "" {
		options.Source = filepath.Clean(path)
	}
	return c.QueryImage(ctx, sample, options)
}

// query finds the nearest images. prepare gives the embedding, which may lie in the View, and says which records are the
// query's own; nil means none.
func (c *Collection) query(ctx context.Context, options QueryOptions,
	prepare func(l *loaded) (embedding []float32, own func(Record) bool, err error)) (results []Result, err error) {
	if err := options.validate(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	err = c.store.View(ctx, func(v *store.View) error {
		l, err := c.load(v, false)
		if err != nil {
			return err
		}
		embedding, own, err := prepare(l)
		if err != nil {
			return err
		}
		extra := 1
		if own == nil || options.IncludeSelf {
			own, extra = func(Record) bool { return false }, 0
		}
		// The query's own records are known only when they are found: look for more until enough others are there.
		for ; ; extra *= 4 {
			found, all, err := c.nearest(v, embedding, options.K+extra, options)
			if err != nil {
				return err
			}
			results, err = c.results(v, found, own, options)
			if err != nil || all || len(results) == options.K || beyond(found, options) {
				return err
			}
		}
	})
	if err != nil {
		return nil, err
	}
	return results, nil
}

// beyond reports whether the search already came past the largest distance.
func beyond(found []index.Neighbor, options QueryOptions) bool {
	return options.MaxDistance > 0 && len(found) > 0 && float64(found[len(found)-1].Distance) > options.MaxDistance
}

// results turns neighbours into at most K results.
func (c *Collection) results(v *store.View, found []index.Neighbor, own func(Record) bool, options QueryOptions) ([]Result, error) {
	results := make([]Result, 0, min(options.K, len(found)))
	for _, n := range found {
		if len(results) == options.K || options.MaxDistance > 0 && float64(n.Distance) > options.MaxDistance {
			break
		}
		r, err := v.Record(n.ID)
		if err != nil {
			return nil, err
		}
		if own(r) {
			continue
		}
		results = append(results, Result{
			Rank: len(results) + 1, ID: n.ID, Source: r.Source, Label: r.Label, Distance: n.Distance,
			Similarity: index.Similarity(c.metric, n.Distance),
		})
	}
	return results, nil
}

// nearest returns the k images nearest to an embedding; all says that there are no others.
func (c *Collection) nearest(v *store.View, embedding []float32, k int, options QueryOptions) (found []index.Neighbor, all bool, err error) {
	ef := options.Ef
	if ef == 0 {
		ef = c.efSearch()
	}
	count := v.Header().Count
	k = min(k, max(count, 1))
	exact := options.Exact || 4*k > count || options.Ef == 0 && (count <= graphPays*max(ef, k) || c.graphCanWait())
	l, err := c.load(v, !exact)
	if err != nil {
		return nil, false, err
	}
	if exact || l.graph == nil {
		found, err = c.scan(v, l, embedding, k)
	} else {
		found, err = l.graph.SearchEf(embedding, k, ef)
		err = asCorrupt(err)
	}
	return found, len(found) >= count || len(found) < k, err
}

// graphCanWait reports whether so few queries were asked that reading the graph would cost more than it has saved.
func (c *Collection) graphCanWait() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.loaded != nil && c.loaded.graph != nil {
		return false
	}
	c.scans++
	return c.scans <= scansForGraph
}

const (
	// graphPays is how many times more images than candidates there must be at least for the graph to be faster than
	// comparing with every image. Above, the graph decides by itself what is faster: see hnsw.Graph.MeasureScan.
	graphPays = 25
	// scansForGraph is how many comparisons with every image take the time of reading and verifying the graph.
	scansForGraph = 16
)
