package hnsw

// A removed node leaves its slot empty: 350 bytes and more that nothing uses. Where ids are the numbers of slots, as in a
// collection, that must stay so. Elsewhere slots are numbered anew when more than half are empty, and at least
// compactFrom, and the memory is given back.
const compactFrom = 2 * ChunkNodes

// compactIfSparse numbers the slots anew where too many are empty. It must be called by a writer.
func (g *Graph) compactIfSparse() {
	if gone := len(g.ids) - g.live; g.slots != nil && gone >= compactFrom && gone > g.live {
		g.compact()
	}
}

// Compact numbers the slots anew, in their order, so that none is empty. [Graph.SlotIsID] is false after that unless no slot
// was empty. Links, levels and answers stay as they are. Remove does the same by itself when more than half of the slots are
// empty, where ids are not the numbers of slots.
func (g *Graph) Compact() error {
	g.writer.Lock()
	defer g.writer.Unlock()
	if err := g.trust(); err != nil {
		return err
	}
	g.slotByID(0) // decides on the map of slots
	if len(g.ids) > g.live {
		g.compact()
	}
	return nil
}

func (g *Graph) compact() {
	fresh := newGraph(g.metric, g.dim, g.options)
	fresh.coding = g.coding
	fresh.coding.at = min(g.coding.at, g.live)
	slots := make([]uint32, len(g.ids)) // the new slot of each old one
	var live []uint32
	for slot, id := range g.ids {
		if id != empty {
			slots[slot] = uint32(len(live))
			live = append(live, uint32(slot))
		}
	}
	for _, slot := range live {
		to := fresh.newSlot(g.ids[slot], g.levels[slot])
		copy(fresh.vectors.write(to), g.vector(slot))
		if g.coding.on() {
			copy(fresh.codes.write(to), g.codes.row(slot))
		}
		if g.heights != nil {
			fresh.heights = append(fresh.heights, g.heights[slot])
		}
		if parent := g.parents[slot]; parent != noSlot {
			fresh.parents[to] = slots[parent]
		}
		fresh.children[to] = g.children[slot]
		for level := range int(g.levels[slot]) + 1 {
			links := append([]uint32(nil), g.neighbors(slot, level)...)
			for i, other := range links {
				links[i] = slots[other]
			}
			fresh.setNeighbors(to, level, links)
		}
	}
	entry := uint32(noSlot)
	if g.entry != noSlot {
		entry = slots[g.entry]
	}
	g.state.Lock()
	defer g.state.Unlock()
	g.vectors, g.links, g.codes, g.coding, g.heights = fresh.vectors, fresh.links, fresh.codes, fresh.coding, fresh.heights
	g.ids, g.levels, g.parents, g.children = fresh.ids, fresh.levels, fresh.parents, fresh.children
	g.upperAt, g.upper, g.nodes = fresh.upperAt, fresh.upper, fresh.nodes
	g.entry = entry
	g.scanAt = min(g.scanAt, len(g.ids))
	g.mapSlots()
}
