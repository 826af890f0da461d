package hnsw

import (
	"fmt"
	"slices"

	"imgsearch/dataset"
	"imgsearch/index"
	"imgsearch/internal/kernel"
)

// Remove implements index.Index. The nodes' slots stay empty. Every node that linked to a removed one chooses its links
// anew among the ones it keeps and those that the removed ones had, so that paths through them close up. When fewer
// than half of the nodes remain, the graph is linked from scratch instead.
func (g *Graph) Remove(ids ...dataset.ID) error {
	gone := make(map[uint32]bool, len(ids))
	for _, id := range ids {
		slot, ok := g.slotOf(id)
		if !ok {
			return fmt.Errorf("%w: %d", index.ErrNotFound, id)
		}
		gone[slot] = true
	}
	if len(gone) == 0 {
		return nil
	}
	rebuild := 2*(g.live-len(gone)) < g.live
	if !rebuild {
		if err := g.closeUp(gone); err != nil {
			return err
		}
	}
	for slot := range gone {
		delete(g.slots, g.ids[slot])
		g.ids[slot] = empty
		g.levels[slot], g.upper[slot] = 0, nil
		g.setNeighbors(slot, 0, nil)
		g.nodes.mark(slot)
	}
	g.live -= len(gone)
	if rebuild {
		return g.relink()
	}
	if gone[g.entry] {
		g.chooseEntry()
	}
	return nil
}

// closeUp gives the nodes that link to one of gone other links.
func (g *Graph) closeUp(gone map[uint32]bool) error {
	type list struct {
		slot  uint32
		level int
	}
	var lists []list
	for slot := range uint32(len(g.ids)) {
		if g.ids[slot] == empty || gone[slot] {
			continue
		}
		for level := range int(g.levels[slot]) + 1 {
			for _, other := range g.neighbors(slot, level) {
				if int(other) >= len(g.ids) {
					return fmt.Errorf("%w: link to slot %d of %d", ErrCorrupt, other, len(g.ids))
				}
				if gone[other] {
					lists = append(lists, list{slot, level})
					break
				}
			}
		}
	}
	changed := make([][]uint32, len(lists))
	kernel.Parallel(g.options.Threads, len(lists), func(i int) {
		changed[i] = g.bridged(lists[i].slot, lists[i].level, gone)
	})
	for i, l := range lists {
		g.setNeighbors(l.slot, l.level, changed[i])
	}
	return nil
}

// bridged returns new links of a node: chosen among its own and those of the removed nodes it links to, following
// removed ones as far as they lead to removed ones.
func (g *Graph) bridged(slot uint32, level int, gone map[uint32]bool) []uint32 {
	v := g.vector(slot)
	seen := map[uint32]bool{slot: true}
	var candidates []candidate
	queue := slices.Clone(g.neighbors(slot, level))
	limit := 4 * g.options.EfConstruction
	for i := 0; i < len(queue) && len(candidates) < limit; i++ {
		other := queue[i]
		if int(other) >= len(g.ids) || seen[other] || g.ids[other] == empty {
			continue
		}
		seen[other] = true
		if gone[other] {
			queue = append(queue, g.neighbors(other, level)...)
			continue
		}
		candidates = append(candidates, candidate{kernel.SquaredL2(v, g.vector(other)), other})
	}
	slices.SortFunc(candidates, compareCandidates)
	return g.diverse(candidates, g.capacity(level), nil)
}

// chooseEntry makes the first node of the highest level the entry point.
func (g *Graph) chooseEntry() {
	g.entry, g.top = noSlot, 0
	for slot, id := range g.ids {
		if id != empty && (g.entry == noSlot || int(g.levels[slot]) > g.top) {
			g.entry, g.top = uint32(slot), int(g.levels[slot])
		}
	}
}

// relink drops all links and inserts every node again, in the order of slots.
func (g *Graph) relink() error {
	fresh := newGraph(g.metric, g.dim, g.options)
	var slots []uint32
	for slot, id := range g.ids {
		if id == empty {
			if err := fresh.Skip(1); err != nil {
				return err
			}
			continue
		}
		slots = append(slots, fresh.appendNodes([]dataset.ID{id}, g.vector(uint32(slot)))...)
	}
	if err := fresh.insertAll(slots); err != nil {
		return err
	}
	g.ids, g.levels, g.upper = fresh.ids, fresh.levels, fresh.upper
	g.live, g.entry, g.top = fresh.live, fresh.entry, fresh.top
	g.vectors, g.links, g.nodes = fresh.vectors, fresh.links, fresh.nodes
	return nil
}
