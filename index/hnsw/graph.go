package hnsw

import (
	"errors"
	"fmt"
	"math"
	"sync"

	"imgsearch/dataset"
	"imgsearch/index"
)

// ChunkNodes is the number of slots whose embeddings, or level-0 links, lie in one slice.
const ChunkNodes = 1024

const (
	chunkShift = 10
	chunkMask  = ChunkNodes - 1

	noSlot   = math.MaxUint32
	maxLevel = 30
	maxSlots = 1 << 31
)

// empty is the id of a slot without a node.
const empty = dataset.ID(math.MaxUint64)

// ErrCorrupt is returned when a graph's stored parts contradict each other.
var ErrCorrupt = errors.New("neighbour graph is damaged (rebuild it from the embeddings)")

// Graph is the index. Use [New] or [Load].
type Graph struct {
	metric  index.Metric
	dim     int
	options Options
	stride  int // uint32 words of a node's level-0 links: their number, then 2M slots

	ids    []dataset.ID // of each slot; empty where the node was removed
	levels []uint8      // of each slot
	upper  [][]uint32   // of each slot: level times (number, M slots); nil on level 0
	live   int
	entry  uint32 // slot of the entry point, noSlot in an empty graph
	top    int    // level of the entry point

	vectors chunks[float32] // [ChunkNodes, dim]
	links   chunks[uint32]  // [ChunkNodes, stride]
	nodes   dirt            // of ids, levels and upper, by chunk

	slotOnce sync.Once
	slots    map[dataset.ID]uint32 // made when first needed: see slotOf

	searchers sync.Pool
}

var _ index.Index = (*Graph)(nil)

// New returns an empty graph. An unknown metric, a dim outside 1 to 65,536 or an option out of range is an error.
func New(metric index.Metric, dim int, options Options) (*Graph, error) {
	if err := index.CheckNew(metric, dim); err != nil {
		return nil, fmt.Errorf("hnsw index: %w", err)
	}
	options = options.withDefaults()
	if err := options.validate(); err != nil {
		return nil, fmt.Errorf("hnsw index: %w", err)
	}
	return newGraph(metric, dim, options), nil
}

func newGraph(metric index.Metric, dim int, options Options) *Graph {
	g := &Graph{metric: metric, dim: dim, options: options, stride: 1 + 2*options.M, entry: noSlot}
	g.vectors.width = dim
	g.links.width = g.stride
	return g
}

// Metric is the distance that Search measures.
func (g *Graph) Metric() index.Metric { return g.metric }

// Dim is the length of every embedding.
func (g *Graph) Dim() int { return g.dim }

// Len is the number of embeddings.
func (g *Graph) Len() int { return g.live }

// Slots is the number of slots, those of removed nodes included.
func (g *Graph) Slots() int { return len(g.ids) }

// Options returns the options with the defaults filled in.
func (g *Graph) Options() Options { return g.options }

// SlotIsID reports whether the node in each slot has the slot's number as its id. The embeddings of the graph then lie
// as those of a store that orders them by id.
func (g *Graph) SlotIsID() bool {
	for slot, id := range g.ids {
		if id != empty && id != dataset.ID(slot) {
			return false
		}
	}
	return true
}

// Has reports whether the graph holds id.
func (g *Graph) Has(id dataset.ID) bool {
	_, ok := g.slotOf(id)
	return ok
}

// slotOf finds a node by its id.
func (g *Graph) slotOf(id dataset.ID) (uint32, bool) {
	g.slotOnce.Do(func() {
		g.slots = make(map[dataset.ID]uint32, len(g.ids))
		for slot, id := range g.ids {
			if id != empty {
				g.slots[id] = uint32(slot)
			}
		}
	})
	slot, ok := g.slots[id]
	return slot, ok
}

// vector returns the embedding of a slot.
func (g *Graph) vector(slot uint32) []float32 { return g.vectors.row(slot) }

// neighbors returns the links of a node, as many as its list says but never more than there is room for.
func (g *Graph) neighbors(slot uint32, level int) []uint32 {
	list := g.list(slot, level)
	if len(list) == 0 {
		return nil
	}
	return list[1:][:min(int(list[0]), len(list)-1)]
}

// list returns the memory of a node's links on a level: their number, then room for the slots.
func (g *Graph) list(slot uint32, level int) []uint32 {
	if level == 0 {
		return g.links.row(slot)
	}
	width := 1 + g.options.M
	words := g.upper[slot]
	if len(words) < level*width {
		return nil
	}
	return words[(level-1)*width : level*width]
}

// setNeighbors replaces the links of a node.
func (g *Graph) setNeighbors(slot uint32, level int, links []uint32) {
	if level == 0 {
		g.links.write(slot)
	} else {
		g.nodes.mark(slot)
	}
	list := g.list(slot, level)
	if len(list) == 0 {
		return // a damaged graph led to a node that is not on the level
	}
	list[0] = uint32(len(links))
	copy(list[1:], links)
	clear(list[1+len(links):])
}

// capacity is the most links that a node has on a level.
func (g *Graph) capacity(level int) int {
	if level == 0 {
		return 2 * g.options.M
	}
	return g.options.M
}
