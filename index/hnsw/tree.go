package hnsw

// Algorithm 4 can leave a node without a link that leads to it: whoever linked to it later prefers others. Such nodes
// are never found, whatever efSearch is; with embeddings whose lengths vary, more than 1 % of them are lost.
//
// So every node but the first has a parent, one of the nodes that it chose when it was inserted, the nearest that has
// not too many children yet. The links between parent and child, in both directions, are never dropped. The nodes are
// thus one tree whose edges are links on level 0, and from every node there is a way to every other.

// maxChildren is the most children of a node: half of its links, so that the other half stays free to choose.
func (g *Graph) maxChildren() int { return g.options.M }

// related reports whether the link between two nodes is an edge of the tree.
func (g *Graph) related(a, b uint32) bool { return g.parents[a] == b || g.parents[b] == a }

// setParent makes parent the parent of child, which has none that counts.
func (g *Graph) setParent(child, parent uint32) {
	g.parents[child] = parent
	g.nodes.mark(child)
	if parent != noSlot {
		g.children[parent]++
	}
}

// adopt gives a new node its parent: the first candidate of the lists that has room. Where none has, a node inserted
// earlier does.
func (g *Graph) adopt(child uint32, lists ...[]uint64) uint64 {
	for _, list := range lists {
		for _, word := range list {
			if slot := slotOf(word); int(g.children[slot]) < g.maxChildren() {
				g.setParent(child, slot)
				return word
			}
		}
	}
	// Every tree has nodes without children, and those inserted last are likely to be among them. Nodes that are not in the
	// tree yet have no parent; nor has the root, but when it has as many children as it may, these are there.
	for slot := uint32(len(g.ids)); slot > 0; {
		slot--
		if slot != child && g.parents[slot] != noSlot && int(g.children[slot]) < g.maxChildren() {
			g.setParent(child, slot)
			return packed(g.between(child, slot), slot)
		}
	}
	panic("hnsw: a tree without leaves")
}
