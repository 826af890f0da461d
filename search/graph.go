package search

import (
	"context"
	"fmt"
	"slices"

	"imgsearch/dataset"
	"imgsearch/index/hnsw"
	"imgsearch/store"
)

const (
	// graphSlice is the number of images that are linked between two looks at the context.
	graphSlice = 4096
	// longGap is the number of removed images in a row from which on they are left out of a graph that is made anew.
	// Shorter gaps are cheaper to link and remove again than to stop at.
	longGap = 64
)

// content is a committed state in memory of its own.
type content struct {
	generation uint64
	next       dataset.ID
	ids        store.IDs
	chunks     [][]float32
	graph      *hnsw.Graph // nil where there is none
	fresh      bool        // graph is that of generation
}

// rows returns the embeddings of the ids from on, below to, [to-from, dim].
func (t *content) rows(from, to dataset.ID, dim int) []float32 {
	rows := make([]float32, 0, int(to-from)*dim)
	for from < to {
		at := int(from % store.ChunkRows)
		n := min(int(to-from), store.ChunkRows-at)
		rows = append(rows, t.chunks[from/store.ChunkRows][at*dim:(at+n)*dim]...)
		from += dataset.ID(n)
	}
	return rows
}

// read copies what a graph is made from and the graph as it is stored. The copy makes it independent of the file: a
// graph takes minutes, and a View keeps others from committing.
func (c *Collection) read(ctx context.Context, threads int) (*content, error) {
	t := &content{}
	err := c.store.View(ctx, func(v *store.View) error {
		h := v.Header()
		t.generation, t.next = h.Generation, h.NextID
		t.fresh = h.GraphGeneration == h.Generation
		var err error
		if t.ids, err = v.IDs(); err != nil {
			return err
		}
		chunks, err := v.Embeddings()
		if err != nil {
			return err
		}
		for _, chunk := range chunks {
			t.chunks = append(t.chunks, slices.Clone(chunk))
		}
		if readable, err := graphReadable(v); err != nil || !readable {
			return err
		}
		t.graph, err = loadGraph(v, t.chunks, slices.Clone[[]byte])
		return err
	})
	return t, err
}

// freshGraph returns the graph of the last committed state and its generation, made up to date where it was stale.
// progress hears how many images are linked of how many.
func (c *Collection) freshGraph(ctx context.Context, threads int, progress func(done, total int)) (*hnsw.Graph, *content, error) {
	t, err := c.read(ctx, threads)
	if err != nil {
		return nil, nil, err
	}
	g := t.graph
	if g != nil && t.fresh {
		return g, t, nil
	}
	if g == nil {
		if g, err = hnsw.New(c.metric, c.dim, c.options.graph(threads)); err != nil {
			return nil, nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
	}
	first := dataset.ID(g.Slots())
	total := int(t.next - first)
	for from := first; from < t.next; {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		progress(int(from-first), total)
		to, gap := t.run(from)
		ids := make([]dataset.ID, 0, to-from)
		for id := from; id < to; id++ {
			ids = append(ids, id)
		}
		if err := g.Add(ids, t.rows(from, to, c.dim)); err != nil {
			return nil, nil, fmt.Errorf("link images %d to %d of %s: %w", from, to-1, c.Path(), asCorrupt(err))
		}
		if err := g.Skip(int(gap - to)); err != nil {
			return nil, nil, err
		}
		from = gap
	}
	progress(total, total)
	var gone []dataset.ID
	for id := range dataset.ID(g.Slots()) {
		if !t.ids.Has(id) && g.Has(id) {
			gone = append(gone, id)
		}
	}
	if err := g.Remove(gone...); err != nil {
		return nil, nil, fmt.Errorf("unlink %d images of %s: %w", len(gone), c.Path(), asCorrupt(err))
	}
	if g.Len() != t.ids.Len() {
		return nil, nil, fmt.Errorf("%w: the graph has %d images, the collection %d", ErrCorrupt, g.Len(), t.ids.Len())
	}
	return g, t, nil
}

// run finds what to link next: the ids from on, below to, and then to leave out those from to on, below gap.
func (t *content) run(from dataset.ID) (to, gap dataset.ID) {
	limit := min(t.next, from+graphSlice)
	to = from
	for id := from; id < limit; id++ {
		if t.ids.Has(id) {
			if id-to >= longGap {
				return to, id
			}
			to = id + 1
		}
	}
	return to, limit
}

// updateGraph brings the stored graph up to date.
func (c *Collection) updateGraph(ctx context.Context, threads int, progress func(done, total int)) error {
	stale := false
	err := c.store.View(ctx, func(v *store.View) (err error) {
		stale, err = graphStale(v)
		return err
	})
	if err != nil || !stale {
		return err
	}
	g, t, err := c.freshGraph(ctx, threads, progress)
	if err != nil {
		return err
	}
	if err := g.MeasureScan(); err != nil {
		return asCorrupt(err)
	}
	parts := map[hnsw.PartKind]*store.GraphPart{}
	for part, b := range g.Parts(false) {
		name, ok := partNames[part.Kind]
		if !ok {
			continue // the embeddings are the store's own
		}
		if parts[part.Kind] == nil {
			parts[part.Kind] = &store.GraphPart{Name: name}
		}
		p := parts[part.Kind]
		if int(part.Number) != len(p.Values) {
			return fmt.Errorf("save the graph of %s: part %s %d comes after %d", c.Path(), part.Kind, part.Number, len(p.Values))
		}
		p.Values = append(p.Values, b)
	}
	var all []store.GraphPart
	for _, p := range parts {
		all = append(all, *p)
	}
	return c.store.PutGraph(ctx, t.generation, all)
}
