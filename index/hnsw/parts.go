package hnsw

import (
	"encoding/binary"
	"fmt"
	"iter"

	"imgsearch/dataset"
	"imgsearch/index"
)

// Part names one stored piece of a graph: a chunk of one of the kinds below.
type Part struct {
	Kind   PartKind
	Number uint32
}

// PartKind says what a stored piece of a graph holds.
type PartKind string

const (
	// HeaderPart is one part, number 0: parameters, number of slots, entry point.
	HeaderPart PartKind = "header"
	// VectorPart holds the embeddings of ChunkNodes slots, [ChunkNodes, Dim] float32.
	VectorPart PartKind = "vectors"
	// LinkPart holds the level-0 links of ChunkNodes slots, [ChunkNodes, 2M] uint32: slots, filled up with
	// 0xFFFFFFFF.
	LinkPart PartKind = "links"
	// NodePart holds the ids, levels, parents and upper links of ChunkNodes slots.
	NodePart PartKind = "nodes"
)

// formatVersion is the version of the parts.
//
//   - 1 (first release): as described in this file; little-endian.
const formatVersion = 1

// headerLen is the length of the header part: version, metric, dim, M, efConstruction, efSearch, slots, nodes, entry
// point, top level as uint32, and the seed as uint64.
const headerLen = 10*4 + 8

// Parts yields the graph as it is to be stored: everything, or with changedOnly what changed since [Graph.Saved] or
// [Load]. The bytes are valid until the graph changes.
func (g *Graph) Parts(changedOnly bool) iter.Seq2[Part, []byte] {
	return func(yield func(Part, []byte) bool) {
		if !yield(Part{HeaderPart, 0}, g.header()) {
			return
		}
		for n := range g.vectors.data {
			if changedOnly && !g.vectors.isChanged(n) {
				continue
			}
			if !yield(Part{VectorPart, uint32(n)}, bytesOf(g.vectors.data[n])) {
				return
			}
		}
		for n := range g.links.data {
			if changedOnly && !g.links.isChanged(n) {
				continue
			}
			if !yield(Part{LinkPart, uint32(n)}, bytesOf(g.links.data[n])) {
				return
			}
		}
		for n := range g.links.data {
			if changedOnly && !g.nodes.isChanged(n) {
				continue
			}
			if !yield(Part{NodePart, uint32(n)}, g.nodeChunk(n)) {
				return
			}
		}
	}
}

// Saved says that all parts were stored: Parts(true) yields the changes from here on.
func (g *Graph) Saved() {
	clear(g.vectors.changed)
	clear(g.links.changed)
	clear(g.nodes.changed)
}

func (g *Graph) header() []byte {
	metric := uint32(0)
	if g.metric == index.Cosine {
		metric = 1
	}
	b := make([]byte, 0, headerLen)
	for _, word := range []uint32{
		formatVersion, metric, uint32(g.dim), uint32(g.options.M), uint32(g.options.EfConstruction),
		uint32(g.options.EfSearch), uint32(len(g.ids)), uint32(g.live), g.entry, uint32(g.top),
	} {
		b = binary.LittleEndian.AppendUint32(b, word)
	}
	return binary.LittleEndian.AppendUint64(b, g.options.Seed)
}

// nodeLen is the length of what a node part says of each slot before the upper links.
const nodeLen = 8 + 1 + 4

// nodeChunk encodes, for each slot of chunk n: id (8 bytes), level (1 byte), parent (4 bytes); then the upper links of
// each slot that has any, in the order of slots.
func (g *Graph) nodeChunk(n int) []byte {
	from, to := n*ChunkNodes, min((n+1)*ChunkNodes, len(g.ids))
	b := make([]byte, 0, nodeLen*(to-from)*5/4)
	for slot := from; slot < to; slot++ {
		b = binary.LittleEndian.AppendUint64(b, uint64(g.ids[slot]))
		b = append(b, g.levels[slot])
		b = binary.LittleEndian.AppendUint32(b, g.parents[slot])
	}
	for slot := from; slot < to; slot++ {
		at := g.upperAt[slot]
		for _, word := range g.upper[at:][:int(g.levels[slot])*g.options.M] {
			b = binary.LittleEndian.AppendUint32(b, word)
		}
	}
	return b
}

// Load makes a graph of its stored parts, which read hands out. Vector and link parts are referred to, not copied, as
// long as the graph is used, so that they can stay in a mapped file; they are copied before they change. Errors wrap
// [ErrCorrupt], or are read's. Links are checked when they are followed: see [Graph.Verify].
func Load(read func(Part) ([]byte, error)) (*Graph, error) {
	header, err := read(Part{HeaderPart, 0})
	if err != nil {
		return nil, err
	}
	g, slots, err := parseHeader(header)
	if err != nil {
		return nil, err
	}
	for n := range (slots + ChunkNodes - 1) / ChunkNodes {
		if err := g.loadChunk(n, min(ChunkNodes, slots-n*ChunkNodes), read); err != nil {
			return nil, err
		}
	}
	live := 0
	for _, id := range g.ids {
		if id != empty {
			live++
		}
	}
	switch {
	case live != g.live:
		return nil, fmt.Errorf("%w: %d nodes, the header says %d", ErrCorrupt, live, g.live)
	case live == 0:
		g.entry, g.top = noSlot, 0
	case int(g.entry) >= slots || g.ids[g.entry] == empty || int(g.levels[g.entry]) != g.top:
		return nil, fmt.Errorf("%w: entry point %d at level %d", ErrCorrupt, g.entry, g.top)
	}
	return g, nil
}

func parseHeader(b []byte) (g *Graph, slots int, err error) {
	if len(b) != headerLen {
		return nil, 0, fmt.Errorf("%w: header of %d bytes, not %d", ErrCorrupt, len(b), headerLen)
	}
	var words [10]uint32
	for i := range words {
		words[i] = binary.LittleEndian.Uint32(b[4*i:])
	}
	if words[0] != formatVersion {
		return nil, 0, fmt.Errorf("%w: version %d, this program reads %d", ErrCorrupt, words[0], formatVersion)
	}
	metric := index.L2
	if words[1] == 1 {
		metric = index.Cosine
	}
	options := Options{
		M: int(words[3]), EfConstruction: int(words[4]), EfSearch: int(words[5]), Seed: binary.LittleEndian.Uint64(b[40:]),
	}
	if err := index.CheckNew(metric, int(words[2])); err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if err := options.validate(); err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if words[1] > 1 || words[6] > maxSlots || words[7] > words[6] || words[9] > maxLevel {
		return nil, 0, fmt.Errorf("%w: header out of range", ErrCorrupt)
	}
	g = newGraph(metric, int(words[2]), options)
	g.live, g.entry, g.top = int(words[7]), words[8], int(words[9])
	return g, int(words[6]), nil
}

// loadChunk reads chunk n, which has the given number of slots.
func (g *Graph) loadChunk(n, slots int, read func(Part) ([]byte, error)) error {
	get := func(kind PartKind, length int) ([]byte, error) {
		b, err := read(Part{kind, uint32(n)})
		if err == nil && length >= 0 && len(b) != length {
			err = fmt.Errorf("%w: %s chunk %d of %d bytes, not %d", ErrCorrupt, kind, n, len(b), length)
		}
		return b, err
	}
	nodes, err := get(NodePart, -1)
	if err != nil {
		return err
	}
	if err := g.parseNodes(n, slots, nodes); err != nil {
		return err
	}
	vectors, err := get(VectorPart, 4*ChunkNodes*g.dim)
	if err != nil {
		return err
	}
	links, err := get(LinkPart, 4*ChunkNodes*g.capacity(0))
	if err != nil {
		return err
	}
	g.vectors.attach(wordsOf[float32](vectors), false)
	g.links.attach(wordsOf[uint32](links), false)
	return nil
}

func (g *Graph) parseNodes(n, slots int, b []byte) error {
	if len(b) < nodeLen*slots {
		return fmt.Errorf("%w: nodes chunk %d of %d bytes for %d slots", ErrCorrupt, n, len(b), slots)
	}
	words := b[nodeLen*slots:]
	for i := range slots {
		node := b[nodeLen*i:][:nodeLen]
		level := node[8]
		size := 4 * int(level) * g.options.M
		if level > maxLevel || len(words) < size {
			return fmt.Errorf("%w: nodes chunk %d: level %d", ErrCorrupt, n, level)
		}
		g.ids = append(g.ids, dataset.ID(binary.LittleEndian.Uint64(node)))
		g.levels = append(g.levels, level)
		g.parents = append(g.parents, binary.LittleEndian.Uint32(node[9:]))
		g.upperAt = append(g.upperAt, uint32(len(g.upper)))
		for ; size > 0; size -= 4 {
			g.upper = append(g.upper, binary.LittleEndian.Uint32(words))
			words = words[4:]
		}
	}
	if len(words) != 0 {
		return fmt.Errorf("%w: nodes chunk %d: %d bytes too many", ErrCorrupt, n, len(words))
	}
	return nil
}
