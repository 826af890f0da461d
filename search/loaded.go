package search

import (
	"context"
	"errors"
	"fmt"

	"imgsearch/index/hnsw"
	"imgsearch/store"
)

// loaded is what was read in place from a committed state. It is used within Views of that state only.
type loaded struct {
	state  store.State
	header store.Header
	ids    store.IDs
	chunks [][]float32 // [store.ChunkRows, dim] each
	graph  *hnsw.Graph // nil until it is needed, or where it is stale
}

// load returns what a View shows, with the graph where it is wanted and not stale.
func (c *Collection) load(v *store.View, graph bool) (*loaded, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.loaded
	if l == nil || l.state != v.State() {
		l = &loaded{state: v.State(), header: v.Header()}
		var err error
		if l.ids, err = v.IDs(); err != nil {
			return nil, err
		}
		if l.chunks, err = v.Embeddings(); err != nil {
			return nil, err
		}
		c.loaded = l
	}
	if graph && l.graph == nil {
		stale, err := graphStale(v)
		if err != nil || stale {
			return l, err
		}
		g, err := loadGraph(v, l.chunks, func(b []byte) []byte { return b })
		if err != nil {
			return nil, err
		}
		if g.Len() != l.ids.Len() {
			return nil, fmt.Errorf("%w: the graph has %d images, the collection %d", ErrCorrupt, g.Len(), l.ids.Len())
		}
		l.graph = g
	}
	return l, nil
}

// graphStale reports whether the stored graph does not cover the present images, or is of a version that this program does
// not read. Answers do not need it, and the next change makes it anew.
func graphStale(v *store.View) (bool, error) {
	h := v.Header()
	if h.GraphGeneration != h.Generation {
		return h.NextID > 0, nil
	}
	readable, err := graphReadable(v)
	return !readable, err
}

// graphReadable reports whether there is a graph whose header this program reads.
func graphReadable(v *store.View) (bool, error) {
	values, err := v.GraphPart(partNames[hnsw.HeaderPart])
	if err != nil || len(values) == 0 {
		return false, err
	}
	seen := errors.New("the header was read")
	_, err = hnsw.Load(func(p hnsw.Part) ([]byte, error) {
		if p.Kind == hnsw.HeaderPart {
			return values[0], nil
		}
		return nil, seen
	})
	return err == nil || errors.Is(err, seen), nil
}

// The graph's parts as the store names them. Its embeddings are the store's: an image's slot in the graph is its id.
var partNames = map[hnsw.PartKind]string{
	hnsw.HeaderPart: "header", hnsw.LinkPart: "links", hnsw.NodePart: "nodes", hnsw.CodePart: "codes",
}

// loadGraph makes the graph of the stored parts, each passed through keep.
func loadGraph(v *store.View, chunks [][]float32, keep func([]byte) []byte) (*hnsw.Graph, error) {
	parts := map[hnsw.PartKind][][]byte{}
	for kind, name := range partNames {
		values, err := v.GraphPart(name)
		if err != nil {
			return nil, err
		}
		parts[kind] = values
	}
	parts[hnsw.VectorPart] = make([][]byte, len(chunks))
	for i, chunk := range chunks {
		parts[hnsw.VectorPart][i] = store.Bytes(chunk)
	}
	g, err := hnsw.Load(func(p hnsw.Part) ([]byte, error) {
		if int64(p.Number) >= int64(len(parts[p.Kind])) {
			return nil, fmt.Errorf("%w: part %s %d of the graph is missing", ErrCorrupt, p.Kind, p.Number)
		}
		return keep(parts[p.Kind][p.Number]), nil
	})
	if err != nil {
		return nil, asCorrupt(err)
	}
	h := v.Header()
	if string(g.Metric()) != h.Metric || g.Dim() != h.Dim || !g.SlotIsID() {
		return nil, fmt.Errorf("%w: the graph belongs to other embeddings", ErrCorrupt)
	}
	return g, nil
}

// asCorrupt makes the graph's own word for damage ErrCorrupt.
func asCorrupt(err error) error {
	if errors.Is(err, hnsw.ErrCorrupt) && !errors.Is(err, ErrCorrupt) {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}

// Graph returns the neighbour graph of the last committed state, in memory of its own: an [index.Index] to measure or to
// ask without the file. A stale graph is made up to date first, in memory only. Threads is that of hnsw.Options.
func (c *Collection) Graph(ctx context.Context, threads int) (*hnsw.Graph, error) {
	g, _, err := c.freshGraph(ctx, threads, func(int, int) {})
	return g, err
}
