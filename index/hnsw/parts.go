package hnsw

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math"
	"slices"

	"imgsearch/dataset"
	"imgsearch/index"
	"imgsearch/internal/kernel"
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
	// CodePart holds the codes of the embeddings of ChunkNodes slots, [ChunkNodes, Dim rounded up to 64] uint8: their values
	// rounded to 256 steps. There are none in a graph without codes: of few embeddings, of embeddings of few values, or of
	// such as lie too close together.
	CodePart PartKind = "codes"
)

// formatVersion is the version of the parts.
//
//   - 1 (first release): header, embeddings, links and nodes as described in this file; little-endian.
//   - 2: the header tells how codes are made, and there are parts with codes; inner product; what MeasureScan found.
//
// Version 1 is read: such a graph has no codes until it changes.
const formatVersion = 2

// headerLen is the length of the header part of version 1: version, metric, dim, M, efConstruction, efSearch, slots, nodes,
// entry point, top level as uint32, and the seed as uint64.
const headerLen = 10*4 + 8

// moreLen is the length of what version 2 adds: the number of slots when codes were decided on, as uint32, their scale and
// the reach of heights as float32, the number of embeddings that are compared in the time of a candidate as float32 and the
// number of slots when that was measured as uint32. Where the scale is not 0, [Dim] float32 follow: the values of step 0.
const moreLen = 5 * 4

// Parts yields the graph as it is to be stored: everything, or with changedOnly what changed since [Graph.Saved] or
// [Load]. The bytes are valid until the graph changes, which it must not do meanwhile.
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
		for n := range g.codes.data {
			if changedOnly && !g.codes.isChanged(n) {
				continue
			}
			if !yield(Part{CodePart, uint32(n)}, g.codes.data[n]) {
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
	clear(g.codes.changed)
	clear(g.nodes.changed)
}

func (g *Graph) header() []byte {
	metric := uint32(slices.Index(storedMetrics, g.metric))
	b := make([]byte, 0, headerLen)
	for _, word := range []uint32{
		formatVersion, metric, uint32(g.dim), uint32(g.options.M), uint32(g.options.EfConstruction),
		uint32(g.options.EfSearch), uint32(len(g.ids)), uint32(g.live), g.entry, uint32(g.top),
	} {
		b = binary.LittleEndian.AppendUint32(b, word)
	}
	b = binary.LittleEndian.AppendUint64(b, g.options.Seed)
	for _, word := range []uint32{
		uint32(g.coding.at), math.Float32bits(g.coding.scale), math.Float32bits(g.reach), math.Float32bits(g.scanRows),
		uint32(g.scanAt),
	} {
		b = binary.LittleEndian.AppendUint32(b, word)
	}
	for _, v := range g.coding.low {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

// storedMetrics are the metrics by their numbers in the header.
var storedMetrics = []index.Metric{index.L2, index.Cosine, index.InnerProduct}

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
	g.updateHeights(0)
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
	if len(b) < headerLen {
		return nil, 0, fmt.Errorf("%w: header of %d bytes, not %d and more", ErrCorrupt, len(b), headerLen)
	}
	var words [10]uint32
	for i := range words {
		words[i] = binary.LittleEndian.Uint32(b[4*i:])
	}
	if words[0] < 1 || words[0] > formatVersion {
		return nil, 0, fmt.Errorf("%w: version %d, this program reads 1 to %d", ErrCorrupt, words[0], formatVersion)
	}
	if words[1] >= uint32(len(storedMetrics)) {
		return nil, 0, fmt.Errorf("%w: metric %d", ErrCorrupt, words[1])
	}
	metric := storedMetrics[words[1]]
	options := Options{
		M: int(words[3]), EfConstruction: int(words[4]), EfSearch: int(words[5]), Seed: binary.LittleEndian.Uint64(b[40:]),
	}
	if err := index.CheckNew(metric, int(words[2])); err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if err := options.validate(); err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if words[6] > maxSlots || words[7] > words[6] || words[9] > maxLevel {
		return nil, 0, fmt.Errorf("%w: header out of range", ErrCorrupt)
	}
	g = newGraph(metric, int(words[2]), options)
	g.live, g.entry, g.top = int(words[7]), words[8], int(words[9])
	if err := g.parseMore(words[0], b[headerLen:]); err != nil {
		return nil, 0, err
	}
	return g, int(words[6]), nil
}

// parseMore reads what the header of a version has beyond that of version 1.
func (g *Graph) parseMore(version uint32, b []byte) error {
	if version == 1 {
		if len(b) != 0 {
			return fmt.Errorf("%w: header of version 1 with %d bytes too many", ErrCorrupt, len(b))
		}
		return nil
	}
	var words [moreLen / 4]uint32
	if len(b) < moreLen {
		return fmt.Errorf("%w: header too short by %d bytes", ErrCorrupt, moreLen-len(b))
	}
	for i := range words {
		words[i] = binary.LittleEndian.Uint32(b[4*i:])
	}
	b = b[moreLen:]
	g.coding = coding{at: int(words[0]), scale: math.Float32frombits(words[1])}
	g.reach, g.scanRows, g.scanAt = math.Float32frombits(words[2]), math.Float32frombits(words[3]), int(words[4])
	for _, v := range []float32{g.coding.scale, g.reach, g.scanRows} {
		if !(v >= 0) || math.IsInf(float64(v), 0) {
			return fmt.Errorf("%w: a number of the header is %v", ErrCorrupt, v)
		}
	}
	if g.coding.on() {
		if g.dim > kernel.MaxCodes || g.metric == index.InnerProduct || len(b) != 4*g.dim {
			return fmt.Errorf("%w: header with %d bytes about codes of dim %d", ErrCorrupt, len(b), g.dim)
		}
		g.coding.low = make([]float32, g.dim)
		for i := range g.coding.low {
			g.coding.low[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
		}
		return nil
	}
	if len(b) != 0 {
		return fmt.Errorf("%w: header with %d bytes too many", ErrCorrupt, len(b))
	}
	return nil
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
	if !g.coding.on() {
		return nil
	}
	codes, err := get(CodePart, ChunkNodes*codeWidth(g.dim))
	if err != nil {
		return err
	}
	g.codes.attach(codes, false)
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
