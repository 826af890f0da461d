package hnsw

import (
	"errors"
	"fmt"

	"imgsearch/dataset"
)

// maxFindings is the number of faults after which Verify stops.
const maxFindings = 20

// Verify walks the whole graph and returns ErrCorrupt with what is wrong: links out of range, to itself, twice, to an
// empty slot or to a node that is not on the level; ids held twice; an entry point that is not on the top level.
func (g *Graph) Verify() error {
	var found []error
	report := func(format string, args ...any) {
		found = append(found, fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...)))
	}
	ids := make(map[dataset.ID]uint32, len(g.ids))
	live, top := 0, 0
	for slot := uint32(0); int(slot) < len(g.ids) && len(found) < maxFindings; slot++ {
		id := g.ids[slot]
		if id == empty {
			continue
		}
		live++
		top = max(top, int(g.levels[slot]))
		if other, ok := ids[id]; ok {
			report("slots %d and %d both have id %d", other, slot, id)
		}
		ids[id] = slot
		for level := range int(g.levels[slot]) + 1 {
			g.verifyList(slot, level, report)
		}
	}
	switch {
	case len(found) >= maxFindings:
	case live != g.live:
		report("%d nodes, counted %d", g.live, live)
	case live > 0 && (int(g.entry) >= len(g.ids) || g.ids[g.entry] == empty || g.top != top || int(g.levels[g.entry]) != top):
		report("entry point %d at level %d, the top level is %d", g.entry, g.top, top)
	}
	return errors.Join(found...)
}

func (g *Graph) verifyList(slot uint32, level int, report func(string, ...any)) {
	list := g.list(slot, level)
	if int(list[0]) > len(list)-1 {
		report("node %d, level %d: %d links, at most %d", slot, level, list[0], len(list)-1)
	}
	seen := make(map[uint32]bool, len(list))
	for _, other := range g.neighbors(slot, level) {
		switch {
		case int(other) >= len(g.ids):
			report("node %d, level %d: link to slot %d of %d", slot, level, other, len(g.ids))
		case other == slot:
			report("node %d, level %d: link to itself", slot, level)
		case seen[other]:
			report("node %d, level %d: two links to %d", slot, level, other)
		case g.ids[other] == empty:
			report("node %d, level %d: link to the empty slot %d", slot, level, other)
		case int(g.levels[other]) < level:
			report("node %d, level %d: link to %d, which is on level %d", slot, level, other, g.levels[other])
		}
		seen[other] = true
	}
}

// Reachable returns how many nodes a walk over level 0 from the entry point meets.
func (g *Graph) Reachable() int {
	if g.live == 0 {
		return 0
	}
	seen := make([]bool, len(g.ids))
	seen[g.entry] = true
	queue := []uint32{g.entry}
	for i := 0; i < len(queue); i++ {
		for _, other := range g.neighbors(queue[i], 0) {
			if int(other) < len(seen) && !seen[other] {
				seen[other] = true
				queue = append(queue, other)
			}
		}
	}
	return len(queue)
}
