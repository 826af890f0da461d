package hnsw

import (
	"fmt"
	"slices"

	"imgsearch/dataset"
	"imgsearch/index"
)

// Replace gives held ids other embeddings, [len(ids), Dim()] float32. The nodes keep their slots and levels; they are
// unlinked as by Remove, with all that this does for their neighbours, and linked again where they belong now. An id that is
// not held is ErrNotFound, one that is given twice ErrExists, an embedding that cannot be used ErrVector; nothing is changed
// then. Searches go on meanwhile; between the two steps they do not find the replaced ones.
func (g *Graph) Replace(ids []dataset.ID, embeddings []float32) error {
	g.writer.Lock()
	defer g.writer.Unlock()
	if err := index.CheckAdd(ids, embeddings, g.dim, func(dataset.ID) bool { return false }); err != nil {
		return err
	}
	slots := make([]uint32, len(ids))
	for i, id := range ids {
		slot, ok := g.slotByID(id)
		if !ok {
			return fmt.Errorf("%w: %d", index.ErrNotFound, id)
		}
		slots[i] = slot
	}
	prepared, err := g.prepare(ids, embeddings)
	if err != nil || len(ids) == 0 {
		return err
	}
	if err := g.trust(); err != nil {
		return err
	}
	if 2*(g.live-len(ids)) < g.live { // the links that would remain are not worth their repair
		var gone []uint32
		for slot, id := range g.ids {
			if id != empty {
				gone = append(gone, uint32(slot))
			}
		}
		held, levels := g.takeOut(gone)
		g.overwrite(slots, prepared)
		return g.putBack(gone, held, levels)
	}
	sorted := slices.Sorted(slices.Values(slots))
	held, levels := g.takeOut(sorted)
	g.overwrite(slots, prepared)
	return g.putBack(sorted, held, levels)
}

// takeOut unlinks nodes, in the order of slots, and returns their ids and levels.
func (g *Graph) takeOut(sorted []uint32) (ids []dataset.ID, levels []uint8) {
	for _, slot := range sorted {
		ids, levels = append(ids, g.ids[slot]), append(levels, g.levels[slot])
	}
	if len(sorted) < g.live {
		g.unlink(sorted)
		return ids, levels
	}
	g.state.Lock()
	defer g.state.Unlock()
	for _, slot := range sorted {
		g.emptySlot(slot)
	}
	clear(g.children)
	g.entry, g.top = noSlot, 0
	return ids, levels
}

// overwrite stores embeddings in slots, and their codes.
func (g *Graph) overwrite(slots []uint32, embeddings []float32) {
	g.state.Lock()
	defer g.state.Unlock()
	for i, slot := range slots {
		v := g.vectors.write(slot)
		copy(v, embeddings[i*g.dim:(i+1)*g.dim])
		if g.coding.on() {
			g.coding.encode(g.codes.write(slot), v)
		}
	}
	if g.heights != nil {
		g.updateHeights(0)
	}
}

// putBack links nodes again that were taken out.
func (g *Graph) putBack(sorted []uint32, ids []dataset.ID, levels []uint8) error {
	g.state.Lock()
	for i, slot := range sorted {
		g.ids[slot], g.levels[slot] = ids[i], levels[i]
		if g.slots != nil {
			g.slots[ids[i]] = slot
		}
		g.upperAt[slot] = uint32(len(g.upper))
		for range int(levels[i]) * g.options.M {
			g.upper = append(g.upper, noSlot)
		}
		g.nodes.mark(slot)
	}
	g.state.Unlock()
	return g.insertAll(sorted)
}
