package search

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"imgsearch/atlas"
	"imgsearch/dataset"
	"imgsearch/index"
	"imgsearch/index/hnsw"
	"imgsearch/internal/kernel"
	"imgsearch/store"
)

// MapOptions say how a map is made. The zero value means the defaults.
type MapOptions struct {
	// Perplexity, Iterations and Seed are those of [atlas.MapOptions]. Where one is set and differs from that of the map
	// that is kept, the map is made anew.
	Perplexity float64
	Iterations int
	Seed       uint64
	// Again makes the map anew although one is kept.
	Again bool
	// PositionsOnly leaves out the Neighbors of images whose positions are kept, which saves asking for them.
	PositionsOnly bool
	// Threads is the number of threads; 0 means all cores. The map does not depend on it.
	Threads int
	// OnProgress hears what is being done.
	OnProgress func(MapProgress)
}

// MapProgress says how far a map is.
type MapProgress struct {
	// Stage is "linking", "neighbours", "layout" or "placing".
	Stage string
	// Done and Total count images, or steps of the layout.
	Done, Total int
	// Divergence is that of the layout so far.
	Divergence float64
}

// MapInfo is what is noted of a map.
type MapInfo struct {
	Perplexity float64 `json:"perplexity"`
	Iterations int     `json:"iterations"`
	Seed       uint64  `json:"seed"`
	// Divergence is the Kullback-Leibler divergence of the layout from the neighbours, in nats.
	Divergence float64 `json:"divergence"`
	// Laid is the number of images that were laid out together, Placed that of those which were placed beside them later.
	Laid   int `json:"laid"`
	Placed int `json:"placed"`
}

// Map is where the images of a collection lie on a plane.
type Map struct {
	// IDs are the images, rising, and Positions their places, [len(IDs), 2] float32.
	IDs       []dataset.ID
	Positions []float32
	// Neighbors are the nearest of each image, itself not among them, nearest first: MapNeighbors where the collection has
	// as many.
	Neighbors [][]index.Neighbor
	Info      MapInfo
	// Fresh says that it was laid out now, New how many images were placed now on a map that was kept.
	Fresh bool
	New   int
}

// MapNeighbors is the number of neighbours in a Map.
const MapNeighbors = 8

// errMapMoved says that images came or went while a map was made.
var errMapMoved = errors.New("the collection was changed while its map was made: try again")

// Map lays the images out on a plane, like beside like, by t-SNE ([atlas.TSNE]) from the neighbours that the graph finds,
// beginning with the principal components of the embeddings. A collection that is open for writing keeps the positions:
// the next call returns them, and images that were added since are placed beside their neighbours without moving the
// others ([atlas.Place]). A map is made anew where as many images have no position as have one, where the options ask for
// another one, and with Again. Removed images leave a gap.
//
// When ctx ends during the layout, Map returns the layout as it is then together with ctx's error, and keeps nothing. The
// errors to test for: ErrEmpty, ErrOptions, ErrLocked, ErrCorrupt.
func (c *Collection) Map(ctx context.Context, options MapOptions) (*Map, error) {
	if options.OnProgress == nil {
		options.OnProgress = func(MapProgress) {}
	}
	if options.Threads < 0 || options.Threads > 4096 {
		return nil, fmt.Errorf("%w: Threads %d: must be 0 to 4096", ErrOptions, options.Threads)
	}
	n, err := c.Len()
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, fmt.Errorf("map of %s: %w", c.Path(), ErrEmpty)
	}
	g, t, err := c.freshGraph(ctx, options.Threads, func(done, total int) {
		options.OnProgress(MapProgress{Stage: "linking", Done: done, Total: total})
	})
	if err != nil {
		return nil, err
	}
	m := &mapping{collection: c, options: options, graph: g, content: t}
	for id := range t.ids.All() {
		m.ids = append(m.ids, id)
	}
	if len(m.ids) == 0 {
		return nil, errMapMoved
	}
	if err := m.readKept(ctx); err != nil {
		return nil, err
	}
	made, err := m.run(ctx)
	if err == nil && c.store.Writable() && (made.Fresh || made.New > 0) {
		err = m.keep(ctx, made)
	}
	if err != nil && made == nil {
		return nil, fmt.Errorf("map of %s: %w", c.Path(), err)
	}
	return made, err
}

// mapping is one call of Map.
type mapping struct {
	collection *Collection
	options    MapOptions
	graph      *hnsw.Graph
	content    *content
	ids        []dataset.ID

	kept    []float32 // [len(ids), 2], NaN where an image has no position
	missing int       // images without one
	info    *MapInfo  // nil where no map is kept
}

// mapInfo returns what a collection notes of its map, nil where it has none.
func mapInfo(v *store.View) (*MapInfo, error) {
	h := v.Header()
	if h.MapGeneration == 0 {
		return nil, nil
	}
	info := &MapInfo{}
	if err := json.Unmarshal(h.MapInfo, info); err != nil {
		return nil, fmt.Errorf("%w: notes on the map: %w", ErrCorrupt, err)
	}
	return info, nil
}

// readKept reads the positions that the collection keeps.
func (m *mapping) readKept(ctx context.Context) error {
	nan := float32(math.NaN())
	m.missing = len(m.ids)
	return m.collection.store.View(ctx, func(v *store.View) error {
		if v.Header().Generation != m.content.generation {
			return errMapMoved
		}
		var err error
		if m.info, err = mapInfo(v); err != nil || m.info == nil {
			return err
		}
		chunks, err := v.Map()
		if err != nil {
			return err
		}
		m.kept, m.missing = make([]float32, 0, 2*len(m.ids)), 0
		for _, id := range m.ids {
			at := []float32{nan, nan}
			if n := int(id / store.ChunkRows); n < len(chunks) {
				at = chunks[n][2*(id%store.ChunkRows):][:2]
			}
			if at[0]-at[0] != 0 || at[1]-at[1] != 0 {
				m.missing++
			}
			m.kept = append(m.kept, at...)
		}
		return nil
	})
}

// wanted reports whether the map that is kept is the one that the options ask for.
func (m *mapping) wanted() bool {
	o := m.options
	return m.info != nil && !o.Again && 2*m.missing <= len(m.ids) &&
		(o.Perplexity == 0 || o.Perplexity == m.info.Perplexity) &&
		(o.Iterations == 0 || o.Iterations == m.info.Iterations) && (o.Seed == 0 || o.Seed == m.info.Seed)
}

func (m *mapping) run(ctx context.Context) (*Map, error) {
	made := &Map{IDs: m.ids}
	keep := m.wanted()
	if keep {
		made.Info = *m.info
	} else {
		made.Info = MapInfo{Perplexity: m.options.Perplexity, Iterations: m.options.Iterations, Seed: m.options.Seed}
		setDefault(&made.Info.Perplexity, 40)
		setDefault(&made.Info.Iterations, 1000)
		setDefault(&made.Info.Seed, 1)
	}
	if !(made.Info.Perplexity >= 1 && made.Info.Perplexity <= 1e5) {
		return nil, fmt.Errorf("%w: Perplexity %v: must be 1 to 100,000", ErrOptions, made.Info.Perplexity)
	}
	if made.Info.Iterations < 1 {
		return nil, fmt.Errorf("%w: Iterations %d: must be at least 1", ErrOptions, made.Info.Iterations)
	}
	lists, err := m.neighbors(ctx, keep, made)
	if err != nil {
		return nil, err
	}
	o := atlas.MapOptions{Metric: m.collection.metric, Perplexity: made.Info.Perplexity, Iterations: made.Info.Iterations,
		Seed: made.Info.Seed, Threads: m.options.Threads,
		OnProgress: func(p atlas.MapProgress) {
			m.options.OnProgress(MapProgress{Stage: "layout", Done: p.Iteration, Total: p.Iterations, Divergence: p.Divergence})
		}}
	if keep {
		made.New = m.missing
		made.Info.Placed += m.missing
		if m.missing == 0 {
			made.Positions = m.kept
			return made, nil
		}
		m.options.OnProgress(MapProgress{Stage: "placing", Total: m.missing})
		if made.Positions, err = atlas.Place(ctx, m.ids, lists, m.kept, o); err != nil {
			return nil, err
		}
		return made, nil
	}
	made.Fresh, made.Info.Laid = true, len(m.ids)
	embeddings := make([]float32, 0, len(m.ids)*m.collection.dim)
	for _, id := range m.ids {
		embeddings = append(embeddings, m.content.rows(id, id+1, m.collection.dim)...)
	}
	start, err := atlas.PrincipalStart(embeddings, m.collection.dim, m.collection.metric, made.Info.Seed, m.options.Threads)
	if err != nil {
		return nil, err
	}
	laid, err := atlas.TSNE(ctx, m.ids, lists, start, o)
	if laid == nil {
		return nil, err
	}
	made.Positions, made.Info.Divergence, made.Info.Iterations = laid.Positions, laid.Divergence, max(laid.Iterations, 1)
	return made, err
}

func setDefault[T comparable](value *T, otherwise T) {
	var zero T
	if *value == zero {
		*value = otherwise
	}
}

const (
	// neighborSlice is the number of images that are asked for between two looks at the context.
	neighborSlice = 2048
	// neighborPool is how many candidates a search keeps for each neighbour of a map.
	neighborPool = 1.3
)

// neighbors asks the graph for the neighbours of all images: as many as the perplexity needs for those that are to be laid
// out or placed, MapNeighbors for the others.
func (m *mapping) neighbors(ctx context.Context, keep bool, made *Map) ([][]index.Neighbor, error) {
	lists := make([][]index.Neighbor, len(m.ids))
	made.Neighbors = make([][]index.Neighbor, len(m.ids))
	many := max(int(3*made.Info.Perplexity), MapNeighbors)
	for from := 0; from < len(m.ids); from += neighborSlice {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		m.options.OnProgress(MapProgress{Stage: "neighbours", Done: from, Total: len(m.ids)})
		to := min(from+neighborSlice, len(m.ids))
		errs := make([]error, to-from)
		kernel.Parallel(m.options.Threads, to-from, func(i int) {
			i += from
			k := many
			if keep && m.kept[2*i]-m.kept[2*i] == 0 {
				if m.options.PositionsOnly {
					return
				}
				k = MapNeighbors
			}
			id := m.ids[i]
			ef := max(m.collection.options.EfSearch, int(neighborPool*float64(k+1)))
			found, err := m.graph.SearchEf(m.content.rows(id, id+1, m.collection.dim), k+1, ef)
			errs[i-from] = asCorrupt(err)
			others := found[:0]
			for _, n := range found {
				if n.ID != id && len(others) < k {
					others = append(others, n)
				}
			}
			lists[i] = others
			made.Neighbors[i] = others[:min(len(others), MapNeighbors)]
		})
		if err := firstError(errs); err != nil {
			return nil, err
		}
	}
	m.options.OnProgress(MapProgress{Stage: "neighbours", Done: len(m.ids), Total: len(m.ids)})
	return lists, nil
}

// keep stores the positions.
func (m *mapping) keep(ctx context.Context, made *Map) error {
	nan := float32(math.NaN())
	chunks := make([][]float32, len(m.content.chunks))
	for n := range chunks {
		chunks[n] = make([]float32, 2*store.ChunkRows)
		for i := range chunks[n] {
			chunks[n][i] = nan
		}
	}
	for i, id := range m.ids {
		copy(chunks[id/store.ChunkRows][2*(id%store.ChunkRows):][:2], made.Positions[2*i:][:2])
	}
	info, err := json.Marshal(made.Info)
	if err != nil {
		return err
	}
	c := m.collection
	c.adding.Lock()
	defer c.adding.Unlock()
	return c.store.PutMap(ctx, m.content.generation, chunks, info)
}
