package hnsw

import (
	"errors"
	"fmt"
	"math"
	"sync"

	"imgsearch/dataset"
	"imgsearch/index"
)

const (
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

	vectors chunks[float32] // [ChunkNodes, dim]
	links   chunks[uint32]  // [ChunkNodes, 2M]: a node's links on level 0, filled up with noSlot
	codes   chunks[uint8]   // [ChunkNodes, codeWidth]: see codes.go; empty where there are none
	coding  coding

	heights []float32 // of each slot: see height.go; nil unless the metric is the inner product
	reach   float32   // the R of heights

	ids      []dataset.ID // of each slot; empty where there is no node
	levels   []uint8      // of each slot
	parents  []uint32     // of each slot: see tree.go; noSlot for the root and where there is no node
	children []uint8      // of each slot: how many nodes have it as parent; counted when a loaded graph first changes
	upperAt  []uint32     // of each slot above level 0: where its links begin in upper
	upper    []uint32     // [M] a level, filled up with noSlot
	nodes    dirt         // of all these, by chunk

	live  int
	entry uint32 // slot of the entry point, noSlot in an empty graph
	top   int    // level of the entry point

	scanRows float32 // how many embeddings are compared in the time that a search takes for one candidate; see scan.go
	scanAt   int     // the number of slots when that was measured; 0: never

	checked bool // the graph was made here, or Verify found nothing

	// writer is held by whoever changes the graph, for as long as that takes; state is held by searches, and by writers
	// while they write what searches read. A writer reads without it.
	writer sync.Mutex
	state  sync.RWMutex

	slotOnce sync.Once
	slots    map[dataset.ID]uint32 // nil while every id is its slot's number; made when first needed: see slotByID

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
	g := newGraph(metric, dim, options)
	g.checked = true
	return g, nil
}

func newGraph(metric index.Metric, dim int, options Options) *Graph {
	g := &Graph{metric: metric, dim: dim, options: options, entry: noSlot}
	g.vectors.width = dim
	g.links.width = g.capacity(0)
	g.codes.width = codeWidth(dim)
	return g
}

// Metric is the distance that Search measures.
func (g *Graph) Metric() index.Metric { return g.metric }

// Dim is the length of every embedding.
func (g *Graph) Dim() int { return g.dim }

// Len is the number of embeddings.
func (g *Graph) Len() int {
	g.state.RLock()
	defer g.state.RUnlock()
	return g.live
}

// Slots is the number of slots, those of removed nodes included.
func (g *Graph) Slots() int {
	g.state.RLock()
	defer g.state.RUnlock()
	return len(g.ids)
}

// Options returns the options with the defaults filled in.
func (g *Graph) Options() Options {
	g.state.RLock()
	defer g.state.RUnlock()
	return g.options
}

// SlotIsID reports whether the node in each slot has the slot's number as its id. The embeddings of the graph then lie
// as those of a store that orders them by id.
func (g *Graph) SlotIsID() bool {
	g.state.RLock()
	defer g.state.RUnlock()
	return g.slotIsID()
}

func (g *Graph) slotIsID() bool {
	for slot, id := range g.ids {
		if id != empty && id != dataset.ID(slot) {
			return false
		}
	}
	return true
}

// Has reports whether the graph holds id.
func (g *Graph) Has(id dataset.ID) bool {
	g.state.RLock()
	defer g.state.RUnlock()
	return g.has(id)
}

func (g *Graph) has(id dataset.ID) bool {
	_, ok := g.slotByID(id)
	return ok
}

// slotByID finds a node by its id.
func (g *Graph) slotByID(id dataset.ID) (uint32, bool) {
	g.slotOnce.Do(func() {
		if !g.slotIsID() {
			g.mapSlots()
		}
	})
	if g.slots == nil {
		return uint32(id), id < dataset.ID(len(g.ids)) && g.ids[id] == id
	}
	slot, ok := g.slots[id]
	return slot, ok
}

// mapSlots makes the map of slots.
func (g *Graph) mapSlots() {
	g.slots = make(map[dataset.ID]uint32, len(g.ids))
	for slot, id := range g.ids {
		if id != empty {
			g.slots[id] = uint32(slot)
		}
	}
}

// vector returns the embedding of a slot.
func (g *Graph) vector(slot uint32) []float32 { return g.vectors.row(slot) }

// capacity is the most links that a node has on a level.
func (g *Graph) capacity(level int) int {
	if level == 0 {
		return 2 * g.options.M
	}
	return g.options.M
}

// list returns the memory of a node's links on a level, to be read; nil where the node is not on the level. The links
// are those before the first noSlot.
func (g *Graph) list(slot uint32, level int) []uint32 {
	if level == 0 {
		return g.links.row(slot)
	}
	if level > int(g.levels[slot]) {
		return nil // a link that does not belong here; Verify names it
	}
	at := int(g.upperAt[slot]) + (level-1)*g.options.M
	return g.upper[at : at+g.options.M]
}

// neighbors returns the links of a node on a level, to be read.
func (g *Graph) neighbors(slot uint32, level int) []uint32 {
	list := g.list(slot, level)
	for i, other := range list {
		if other == noSlot {
			return list[:i]
		}
	}
	return list
}

// claim makes a node's links on a level that it is on ready to be written to.
func (g *Graph) claim(slot uint32, level int) {
	if level == 0 {
		g.links.write(slot)
	} else {
		g.nodes.mark(slot)
	}
}

// store replaces links that were claimed. Threads may store different ones at once.
func (g *Graph) store(slot uint32, level int, links []uint32) {
	list := g.list(slot, level)
	for i := range list[copy(list, links):] {
		list[len(links)+i] = noSlot
	}
}

// setNeighbors replaces the links of a node on a level that it is on.
func (g *Graph) setNeighbors(slot uint32, level int, links []uint32) {
	g.claim(slot, level)
	g.store(slot, level, links)
}

// newSlot adds a slot without links.
func (g *Graph) newSlot(id dataset.ID, level uint8) uint32 {
	slot := uint32(len(g.ids))
	g.ids = append(g.ids, id)
	g.levels = append(g.levels, level)
	g.parents = append(g.parents, noSlot)
	g.children = append(g.children, 0)
	g.upperAt = append(g.upperAt, uint32(len(g.upper)))
	for range int(level) * g.options.M {
		g.upper = append(g.upper, noSlot)
	}
	g.nodes.mark(slot)
	g.vectors.grow(len(g.ids), 0)
	if g.coding.on() {
		g.codes.grow(len(g.ids), 0)
	}
	g.links.grow(len(g.ids), noSlot)
	return slot
}

// emptySlot takes the node out of a slot. Its links on upper levels become waste until the graph is loaded again.
func (g *Graph) emptySlot(slot uint32) {
	delete(g.slots, g.ids[slot])
	g.setNeighbors(slot, 0, nil)
	g.ids[slot], g.levels[slot], g.parents[slot], g.children[slot] = empty, 0, noSlot, 0
	g.nodes.mark(slot)
	g.live--
}

// trust makes sure that the graph may be changed: one that was loaded is verified once, so that whatever changes it can
// rely on its structure.
func (g *Graph) trust() error {
	if g.checked {
		return nil
	}
	if err := g.verify(); err != nil {
		return err
	}
	g.children = make([]uint8, len(g.ids))
	for _, parent := range g.parents {
		if parent != noSlot {
			g.children[parent]++
		}
	}
	g.checked = true
	return nil
}
