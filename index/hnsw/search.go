package hnsw

import (
	"fmt"
	"math"

	"imgsearch/index"
	"imgsearch/internal/kernel"
)

// candidate is a node at a squared distance from the query.
type candidate struct {
	distance float32
	slot     uint32
}

func closer(a, b candidate) bool {
	return a.distance < b.distance || a.distance == b.distance && a.slot < b.slot
}

// searcher is the scratch memory of one search at a time.
type searcher struct {
	visited []uint32 // the epoch in which a slot was last seen
	epoch   uint32

	pool     []candidate // the nearest seen, closest first
	expanded []bool      // of each in pool

	slots     []uint32
	rows      []*float32
	distances []float32
}

func (g *Graph) searcher() *searcher {
	s, _ := g.searchers.Get().(*searcher)
	if s == nil {
		s = new(searcher)
	}
	if len(s.visited) < len(g.ids) {
		s.visited = make([]uint32, len(g.ids)+len(g.ids)/4)
		s.epoch = 0
	}
	return s
}

// Search implements index.Index with the graph's own EfSearch.
func (g *Graph) Search(query []float32, k int) ([]index.Neighbor, error) {
	return g.SearchEf(query, k, g.options.EfSearch)
}

// SearchEf is Search that keeps ef candidates, or k where ef is less: the larger, the more of the true nearest are
// found, and the longer it takes.
func (g *Graph) SearchEf(query []float32, k, ef int) ([]index.Neighbor, error) {
	if k < 1 {
		return nil, fmt.Errorf("%w: %d", index.ErrK, k)
	}
	q, err := index.Prepare(g.metric, g.dim, query)
	if err != nil {
		return nil, err
	}
	if g.live == 0 {
		return nil, nil
	}
	s := g.searcher()
	defer g.searchers.Put(s)
	entry, err := g.descend(s, q, 0)
	if err != nil {
		return nil, err
	}
	if err := g.searchLevel(s, q, entry, 0, min(max(ef, k), g.live)); err != nil {
		return nil, err
	}
	found := s.pool[:min(k, len(s.pool))]
	neighbors := make([]index.Neighbor, len(found))
	for i, c := range found {
		if g.ids[c.slot] == empty {
			return nil, fmt.Errorf("%w: a link to the empty slot %d", ErrCorrupt, c.slot)
		}
		neighbors[i] = index.Neighbor{ID: g.ids[c.slot], Distance: c.distance}
	}
	return index.Measure(g.metric, neighbors), nil
}

// descend walks greedily from the entry point down to the level above to and returns where it arrives.
func (g *Graph) descend(s *searcher, q []float32, to int) (candidate, error) {
	if int(g.entry) >= len(g.ids) {
		return candidate{}, fmt.Errorf("%w: entry point %d of %d slots", ErrCorrupt, g.entry, len(g.ids))
	}
	at := candidate{kernel.SquaredL2(q, g.vector(g.entry)), g.entry}
	for level := g.top; level > to; level-- {
		// Each round comes closer, so there are at most as many rounds as nodes.
		for improved := true; improved; {
			improved = false
			if err := g.measure(s, q, g.neighbors(at.slot, level), false); err != nil {
				return at, err
			}
			for i, slot := range s.slots {
				if next := (candidate{s.distances[i], slot}); closer(next, at) {
					at, improved = next, true
				}
			}
		}
	}
	return at, nil
}

// measure computes the distances from q to the given slots into s.slots and s.distances. With fresh, slots that were
// visited before are left out, and the others become visited.
func (g *Graph) measure(s *searcher, q []float32, slots []uint32, fresh bool) error {
	s.slots, s.rows = s.slots[:0], s.rows[:0]
	total := uint32(len(g.ids))
	for _, slot := range slots {
		if slot >= total {
			return fmt.Errorf("%w: link to slot %d of %d", ErrCorrupt, slot, total)
		}
		if fresh {
			if s.visited[slot] == s.epoch {
				continue
			}
			s.visited[slot] = s.epoch
		}
		s.slots = append(s.slots, slot)
		s.rows = append(s.rows, g.vectors.pointer(slot))
	}
	if cap(s.distances) < len(s.slots) {
		s.distances = make([]float32, max(len(s.slots), 2*maxM))
	}
	s.distances = s.distances[:len(s.slots)]
	kernel.SquaredL2Each(q, s.rows, s.distances)
	return nil
}

// searchLevel leaves in s.pool the nearest nodes to q that it finds on a level, at most ef, closest first.
//
// It is the paper's algorithm 2 with its two queues in one sorted list: the candidate to expand next is the closest that
// was not expanded, and the search ends when the ef closest all were.
func (g *Graph) searchLevel(s *searcher, q []float32, entry candidate, level, ef int) error {
	s.nextEpoch()
	s.visited[entry.slot] = s.epoch
	s.pool = append(s.pool[:0], entry)
	s.expanded = append(s.expanded[:0], false)
	for next := 0; next < len(s.pool); {
		if s.expanded[next] {
			next++
			continue
		}
		s.expanded[next] = true
		if err := g.measure(s, q, g.neighbors(s.pool[next].slot, level), true); err != nil {
			return err
		}
		first := next + 1
		for i, slot := range s.slots {
			if at := s.insert(candidate{s.distances[i], slot}, ef); at < first {
				first = at
			}
		}
		next = first
	}
	return nil
}

// insert puts c into the pool unless ef closer ones are there, and returns its place, or a place beyond the pool. A
// distance that is not a number, which only damaged embeddings have, is left out.
func (s *searcher) insert(c candidate, ef int) int {
	n := len(s.pool)
	if c.distance != c.distance || n == ef && !closer(c, s.pool[n-1]) {
		return math.MaxInt
	}
	low, high := 0, n
	for low < high {
		middle := int(uint(low+high) >> 1)
		if closer(s.pool[middle], c) {
			low = middle + 1
		} else {
			high = middle
		}
	}
	if n < ef {
		s.pool = append(s.pool, candidate{})
		s.expanded = append(s.expanded, false)
	}
	copy(s.pool[low+1:], s.pool[low:])
	copy(s.expanded[low+1:], s.expanded[low:])
	s.pool[low], s.expanded[low] = c, false
	return low
}

// nextEpoch makes all slots unvisited.
func (s *searcher) nextEpoch() {
	s.epoch++
	if s.epoch == 0 {
		clear(s.visited)
		s.epoch = 1
	}
}
