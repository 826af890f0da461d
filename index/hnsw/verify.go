package hnsw

import (
	"errors"
	"fmt"
	"slices"

	"imgsearch/dataset"
)

// maxFindings is the number of faults after which Verify stops.
const maxFindings = 20

// Verify walks the whole graph and returns ErrCorrupt with what is wrong, at most 20 faults: links out of range, to
// itself, twice, to an empty slot or to a node that is not on the level; ids held twice; an entry point that is not on
// the top level; nodes that cannot be reached from each other.
func (g *Graph) Verify() error {
	g.writer.Lock()
	defer g.writer.Unlock()
	return g.verify()
}

func (g *Graph) verify() error {
	v := verifier{g: g}
	v.nodes()
	if len(v.found) == 0 {
		v.tree()
	}
	return errors.Join(v.found...)
}

type verifier struct {
	g     *Graph
	found []error
}

func (v *verifier) report(format string, args ...any) {
	v.found = append(v.found, fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...)))
}

func (v *verifier) full() bool { return len(v.found) >= maxFindings }

// nodes looks at each node and its links by themselves.
func (v *verifier) nodes() {
	g := v.g
	ids := make(map[dataset.ID]uint32, g.live)
	live, top := 0, 0
	for slot := uint32(0); int(slot) < len(g.ids) && !v.full(); slot++ {
		id := g.ids[slot]
		if id == empty {
			if g.levels[slot] != 0 || g.parents[slot] != noSlot || len(g.neighbors(slot, 0)) != 0 {
				v.report("slot %d is empty but has links", slot)
			}
			continue
		}
		live++
		top = max(top, int(g.levels[slot]))
		if other, ok := ids[id]; ok {
			v.report("slots %d and %d both have id %d", other, slot, id)
		}
		ids[id] = slot
		for level := range int(g.levels[slot]) + 1 {
			v.links(slot, level)
		}
	}
	switch {
	case v.full():
	case live != g.live:
		v.report("%d nodes, counted %d", g.live, live)
	case live > 0 && (int(g.entry) >= len(g.ids) || g.ids[g.entry] == empty || g.top != top || int(g.levels[g.entry]) != top):
		v.report("entry point %d at level %d, the top level is %d", g.entry, g.top, top)
	}
}

func (v *verifier) links(slot uint32, level int) {
	g := v.g
	links := g.neighbors(slot, level)
	for i, other := range links {
		switch {
		case int(other) >= len(g.ids):
			v.report("node %d, level %d: link to slot %d of %d", slot, level, other, len(g.ids))
		case other == slot:
			v.report("node %d, level %d: link to itself", slot, level)
		case slices.Contains(links[:i], other):
			v.report("node %d, level %d: two links to %d", slot, level, other)
		case g.ids[other] == empty:
			v.report("node %d, level %d: link to the empty slot %d", slot, level, other)
		case int(g.levels[other]) < level:
			v.report("node %d, level %d: link to %d, which is on level %d", slot, level, other, g.levels[other])
		}
	}
	for _, word := range g.list(slot, level)[len(links):] {
		if word != noSlot {
			v.report("node %d, level %d: a link after the last one", slot, level)
		}
	}
}

// tree checks that all nodes are one tree of parents and that its edges are links in both directions, so that there is a
// way from every node to every other.
func (v *verifier) tree() {
	g := v.g
	children := make([]int, len(g.ids))
	roots := 0
	for slot := uint32(0); int(slot) < len(g.ids) && !v.full(); slot++ {
		parent := g.parents[slot]
		switch {
		case g.ids[slot] == empty:
		case parent == noSlot:
			roots++
		case int(parent) >= len(g.ids) || g.ids[parent] == empty:
			v.report("node %d: its parent is slot %d of %d", slot, parent, len(g.ids))
			continue
		case !slices.Contains(g.neighbors(parent, 0), slot) || !slices.Contains(g.neighbors(slot, 0), parent):
			v.report("node %d: no links to and from its parent %d", slot, parent)
		default:
			if children[parent]++; children[parent] == g.maxChildren()+1 {
				v.report("node %d: more than %d children", parent, g.maxChildren())
			}
		}
	}
	if len(v.found) > 0 {
		return
	}
	if g.live > 0 && roots != 1 {
		v.report("%d nodes without parent", roots)
		return
	}
	if n := g.belowRoot(); n != g.live {
		v.report("%d of %d nodes cannot be reached", g.live-n, g.live)
	}
}

// belowRoot counts the nodes whose line of parents ends at one without parent.
func (g *Graph) belowRoot() int {
	const unknown, reached, current = 0, 1, 2
	state := make([]uint8, len(g.ids))
	var line []uint32
	n := 0
	for slot, id := range g.ids {
		if id == empty {
			continue
		}
		at := uint32(slot)
		for line = line[:0]; at != noSlot && state[at] == unknown; at = g.parents[at] {
			state[at] = current
			line = append(line, at)
		}
		if at != noSlot && state[at] == current {
			continue // a ring: stays current, as does what leads to it
		}
		for _, slot := range line {
			state[slot] = reached
		}
		n += len(line)
	}
	return n
}
