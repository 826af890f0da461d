package search

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"imgsearch/embedder"
	"imgsearch/index"
	"imgsearch/index/hnsw"
	"imgsearch/store"
)

// Collection is a file of images that can be searched. Use [Create] or [Open].
type Collection struct {
	store   *store.Store
	options storedOptions
	metric  index.Metric
	dim     int

	// adding is held by the methods that change the collection, from their first look to their last commit.
	adding sync.Mutex

	mu      sync.Mutex // guards what follows
	encoder *embedder.Encoder
	loaded  *loaded
	scans   int // queries that did without the graph
}

// CreateOptions say what a new collection is.
type CreateOptions struct {
	// Encoder makes the embeddings; the collection keeps it. Required.
	Encoder *embedder.Encoder
	// Metric is the distance: index.Cosine or index.L2. Default: index.Cosine where the encoder normalises its embeddings,
	// index.L2 otherwise.
	Metric index.Metric
	// Graph are the parameters of the neighbour graph; Threads is not kept. Default: those of package index/hnsw.
	Graph hnsw.Options
	// Thumbnail is the longest side of the thumbnails in pixels, at most 512; smaller images are kept as they are.
	// 0 means 128; a negative value means that none are kept. The file grows with it.
	Thumbnail int
}

// storedOptions are those of CreateOptions that the file keeps.
type storedOptions struct {
	M              int    `json:"m"`
	EfConstruction int    `json:"ef_construction"`
	EfSearch       int    `json:"ef_search"`
	Seed           uint64 `json:"seed,omitempty"`
	Thumbnail      int    `json:"thumbnail"` // 0: none
}

const (
	defaultThumbnail = 128
	maxThumbnail     = 512
)

func (o storedOptions) graph(threads int) hnsw.Options {
	return hnsw.Options{M: o.M, EfConstruction: o.EfConstruction, EfSearch: o.EfSearch, Seed: o.Seed, Threads: threads}
}

// Create makes an empty collection and opens it for changes. The errors to test for: ErrExists, ErrOptions, ErrLocked,
// ErrReadOnly, ErrNoSpace.
func Create(path string, options CreateOptions) (*Collection, error) {
	fail := func(err error) error { return fmt.Errorf("create %s: %w", path, err) }
	if options.Encoder == nil {
		return nil, fail(fmt.Errorf("%w: Encoder is nil: it is required", ErrOptions))
	}
	if options.Metric == "" {
		options.Metric = index.L2
		if options.Encoder.Normalized() {
			options.Metric = index.Cosine
		}
	}
	if options.Metric == index.InnerProduct {
		return nil, fail(fmt.Errorf("%w: Metric %s: a collection compares by %s or %s", ErrOptions, options.Metric, index.L2, index.Cosine))
	}
	switch {
	case options.Thumbnail == 0:
		options.Thumbnail = defaultThumbnail
	case options.Thumbnail < 0:
		options.Thumbnail = 0
	case options.Thumbnail > maxThumbnail:
		return nil, fail(fmt.Errorf("%w: Thumbnail %d: must be at most %d", ErrOptions, options.Thumbnail, maxThumbnail))
	}
	graph, err := hnsw.New(options.Metric, options.Encoder.Dim(), options.Graph)
	if err != nil {
		return nil, fail(fmt.Errorf("%w: %w", ErrOptions, err))
	}
	g := graph.Options()
	o := storedOptions{M: g.M, EfConstruction: g.EfConstruction, EfSearch: g.EfSearch, Seed: g.Seed, Thumbnail: options.Thumbnail}
	encoded, err := json.Marshal(o)
	if err != nil {
		return nil, fail(err)
	}
	s, err := store.Create(path, store.CreateOptions{
		Encoder: options.Encoder.Bytes(), Fingerprint: options.Encoder.Fingerprint(), Dim: options.Encoder.Dim(),
		Metric: string(options.Metric), Options: encoded,
	})
	if err != nil {
		return nil, err
	}
	return &Collection{store: s, options: o, metric: options.Metric, dim: options.Encoder.Dim(), encoder: options.Encoder}, nil
}

// OpenOptions say how a collection is opened.
type OpenOptions struct {
	// ReadOnly opens for queries only. Without it, the collection is held for writing until Close, and no other process
	// can write it.
	ReadOnly bool
	// Wait is how long a call waits for another process's commit to end, and a commit for other processes' calls to end.
	// 0 means 5 seconds for the one and 30 for the other; a negative value means not at all.
	Wait time.Duration
}

// Open opens the collection at path. The errors to test for: ErrNotExist, ErrNotCollection, ErrVersion, ErrCorrupt,
// ErrLocked, ErrReadOnly.
func Open(path string, options OpenOptions) (*Collection, error) {
	s, err := store.Open(path, store.Options{Write: !options.ReadOnly, Wait: options.Wait})
	if err != nil {
		return nil, err
	}
	c := &Collection{store: s}
	err = s.View(context.Background(), func(v *store.View) error {
		h := v.Header()
		c.metric, c.dim = index.Metric(h.Metric), h.Dim
		if err := index.CheckNew(c.metric, c.dim); err != nil {
			return fmt.Errorf("%w: %w", ErrVersion, err)
		}
		if err := json.Unmarshal(h.Options, &c.options); err != nil {
			return fmt.Errorf("%w: options: %w", ErrCorrupt, err)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", s.Path(), errors.Join(err, s.Close()))
	}
	return c, nil
}

// Close gives the file back. It waits for calls that are under way, except Add, whose context must be cancelled first.
func (c *Collection) Close() error { return c.store.Close() }

// Path returns the file's place, absolute and without symbolic links.
func (c *Collection) Path() string { return c.store.Path() }

// Metric is the distance that queries measure.
func (c *Collection) Metric() index.Metric { return c.metric }

// Dim is the length of every embedding.
func (c *Collection) Dim() int { return c.dim }

// Len returns the number of images.
func (c *Collection) Len() (int, error) {
	n := 0
	err := c.store.View(context.Background(), func(v *store.View) error {
		n = v.Header().Count
		return nil
	})
	return n, err
}

// Encoder returns the encoder that made the collection; it is read from the file at the first call.
func (c *Collection) Encoder() (*embedder.Encoder, error) {
	c.mu.Lock()
	e := c.encoder
	c.mu.Unlock()
	if e != nil {
		return e, nil
	}
	var data []byte
	var fingerprint string
	err := c.store.View(context.Background(), func(v *store.View) error {
		b, err := v.Encoder()
		data, fingerprint = slices.Clone(b), v.Header().Fingerprint
		return err
	})
	if err != nil {
		return nil, err
	}
	e, err = embedder.Read(data)
	if err != nil {
		return nil, fmt.Errorf("read the encoder of %s: %w", c.Path(), err)
	}
	if e.Fingerprint() != fingerprint || e.Dim() != c.dim {
		return nil, fmt.Errorf("read the encoder of %s: %w: it is %.12s…, of dim %d; the collection was made by %.12s…, of dim %d",
			c.Path(), ErrCorrupt, e.Fingerprint(), e.Dim(), fingerprint, c.dim)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.encoder = e
	return e, nil
}

// RequireEncoder returns ErrEncoder unless the encoder is the one that made the collection, as its fingerprint tells.
func (c *Collection) RequireEncoder(e *embedder.Encoder) error {
	return c.store.View(context.Background(), func(v *store.View) error {
		if have := v.Header().Fingerprint; have != e.Fingerprint() {
			return fmt.Errorf("%w: it is %.12s…, the collection's own is %.12s…", ErrEncoder, e.Fingerprint(), have)
		}
		return nil
	})
}
