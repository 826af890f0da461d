package hnsw

import (
	"math/bits"

	"imgsearch/dataset"
	"imgsearch/index"
)

// Filter is the set of embeddings that a search may answer with. It belongs to one graph, and knows the embeddings that the
// graph held when it was made: what was added later is not in it, what was removed no longer is. It may serve any number of
// searches at once.
type Filter struct {
	bits  []uint64 // by slot
	count int
}

// Filter returns the set of embeddings that allow says yes to. It asks once for each.
func (g *Graph) Filter(allow func(dataset.ID) bool) *Filter {
	g.state.RLock()
	defer g.state.RUnlock()
	f := &Filter{bits: make([]uint64, (len(g.ids)+63)/64)}
	for slot, id := range g.ids {
		if id != empty && allow(id) {
			f.add(uint32(slot))
		}
	}
	return f
}

// FilterIDs returns the set of the given embeddings, those left out that the graph does not hold.
func (g *Graph) FilterIDs(ids ...dataset.ID) *Filter {
	g.state.RLock()
	defer g.state.RUnlock()
	f := &Filter{bits: make([]uint64, (len(g.ids)+63)/64)}
	for _, id := range ids {
		if slot, ok := g.slotByID(id); ok {
			f.add(slot)
		}
	}
	return f
}

// Len is the number of embeddings in the set when it was made.
func (f *Filter) Len() int { return f.count }

func (f *Filter) add(slot uint32) {
	if bit := uint64(1) << (slot % 64); f.bits[slot/64]&bit == 0 {
		f.bits[slot/64] |= bit
		f.count++
	}
}

func (f *Filter) has(slot uint32) bool {
	word := slot / 64
	return int(word) < len(f.bits) && f.bits[word]>>(slot%64)&1 != 0
}

// slots returns the nodes of the set that the graph still holds.
func (f *Filter) slots(g *Graph) []uint32 {
	out := make([]uint32, 0, f.count)
	for i, word := range f.bits {
		for ; word != 0; word &= word - 1 {
			if slot := uint32(64*i + bits.TrailingZeros64(word)); g.ids[slot] != empty {
				out = append(out, slot)
			}
		}
	}
	return out
}

// SearchFiltered is [Graph.SearchEf] among the embeddings of a filter. It walks the graph through all embeddings and keeps
// the ef nearest of those that the filter lets through, or compares with each of these, whichever takes less time: see
// [Graph.MeasureScan]. Answers that the query is far from, because the filter leaves nothing near it, are found as well as
// others.
func (g *Graph) SearchFiltered(query []float32, k, ef int, f *Filter) ([]index.Neighbor, error) {
	g.state.RLock()
	defer g.state.RUnlock()
	if err := g.checkQuery(query, k); err != nil || g.live == 0 {
		return nil, err
	}
	s := g.searcher()
	defer g.release(s)
	p, err := g.probe(s, query)
	if err != nil || f.count == 0 {
		return nil, err
	}
	ef = min(g.efOf(k, ef), f.count)
	if g.scanPaysAmong(ef, f) {
		return g.scan(p, k, f), nil
	}
	entry, err := g.descend(s, p, g.top, 0)
	if err != nil {
		return nil, err
	}
	// Where nothing near the query is let through, the walk becomes one over everything, which is not worth its while.
	complete, err := g.walkFiltered(s, p, entry, ef, f)
	if err != nil {
		return nil, err
	}
	if !complete {
		return g.scan(p, k, f), nil
	}
	s.pool = append(s.pool[:0], s.found...)
	if p.code != nil {
		g.refine(s, p, k)
	}
	return g.answers(p, s.pool, k)
}

// scanPaysAmong reports whether comparing with all of a filter takes less time than a search that keeps ef of them.
func (g *Graph) scanPaysAmong(ef int, f *Filter) bool {
	return float64(f.count) <= g.scanWorth()*float64(ef)*float64(g.live)/float64(f.count) || ef >= f.count
}

// scanWorth is the number of embeddings that are compared in the time that a search takes for one candidate.
func (g *Graph) scanWorth() float64 {
	if g.scanAt == 0 {
		return unmeasured
	}
	return float64(g.scanRows)
}

// walkFiltered leaves in s.found the ef nearest nodes that it finds and the filter lets through, closest first. complete is
// false where it gave up because comparing with everything is faster by now.
func (g *Graph) walkFiltered(s *searcher, p probe, entry uint64, ef int, f *Filter) (complete bool, err error) {
	s.nextEpoch()
	s.visited[slotOf(entry)] = s.epoch
	s.pool, s.found = append(s.pool[:0], entry&^expanded), s.found[:0]
	farthest := p.bound()
	bound := farthest
	if f.has(slotOf(entry)) {
		s.found, _ = insert(s.found, entry&^expanded, ef)
	}
	most := int(float64(f.count)/g.scanWorth()) + 2*ef // expansions
	for next := 0; next < len(s.pool) && s.pool[next] < bound; {
		n, from, err := g.expand(s, p, 0, next, bound)
		if err != nil {
			return false, err
		}
		if most -= beam; most < 0 {
			return false, nil
		}
		next = from
		g.distances(s, p, n)
		for _, word := range s.words[:n] {
			if word >= bound {
				continue
			}
			var at int
			s.pool, at = insert(s.pool, word, len(s.pool)+1)
			next = min(next, at)
			if f.has(slotOf(word)) {
				s.found, _ = insert(s.found, word, ef)
				if len(s.found) == ef {
					bound = min(s.found[ef-1], farthest)
				}
			}
		}
	}
	return true, nil
}
