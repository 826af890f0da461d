package hnsw

import (
	"fmt"
	"math"

	"imgsearch/index"
	"imgsearch/internal/kernel"
)

// A candidate, a node at a squared distance, is one word, so that it is compared and moved as one: the bits of the distance
// (which are in the order of distances, as none is negative), the slot, and in the lowest bit whether a search expanded it.
const expanded = 1

func packed(distance float32, slot uint32) uint64 {
	return uint64(math.Float32bits(distance))<<32 | uint64(slot)<<1
}

func distanceOf(word uint64) float32 { return math.Float32frombits(uint32(word >> 32)) }

func slotOf(word uint64) uint32 { return uint32(word) >> 1 }

// beyond is the word of a distance that is infinite. Distances that are not numbers, which only damaged embeddings have,
// are beyond it.
const beyond = 0x7F800000 << 32

// searcher is the scratch memory of one search at a time.
type searcher struct {
	visited []uint16 // the epoch in which a slot was last seen
	epoch   uint16

	pool []uint64 // the nearest seen, closest first

	slots     []uint32
	rows      []*float32
	distances []float32

	ahead uint32 // what reading ahead found, of no meaning
}

func (g *Graph) searcher() *searcher {
	s, _ := g.searchers.Get().(*searcher)
	if s == nil {
		s = new(searcher)
	}
	if len(s.visited) < len(g.ids) {
		s.visited = make([]uint16, len(g.ids)+len(g.ids)/4)
		s.epoch = 0
	}
	if n := g.capacity(0); len(s.slots) < n {
		s.slots, s.rows, s.distances = make([]uint32, n), make([]*float32, n), make([]float32, n)
	}
	return s
}

// release gives a searcher back. Its addresses are forgotten: they may point into a file that is about to be closed.
func (g *Graph) release(s *searcher) {
	clear(s.rows)
	g.searchers.Put(s)
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
	defer g.release(s)
	entry, err := g.descend(s, q, g.top, 0)
	if err != nil {
		return nil, err
	}
	if err := g.searchLevel(s, q, entry, 0, min(max(ef, k), g.live)); err != nil {
		return nil, err
	}
	neighbors := make([]index.Neighbor, min(k, len(s.pool)))
	for i := range neighbors {
		word := s.pool[i]
		id := g.ids[slotOf(word)]
		if id == empty {
			return nil, fmt.Errorf("%w: a link to the empty slot %d", ErrCorrupt, slotOf(word))
		}
		neighbors[i] = index.Neighbor{ID: id, Distance: distanceOf(word)}
	}
	return index.Measure(g.metric, neighbors), nil
}

// descend walks greedily from the entry point, which is on level top, down to the level above the given one, and returns
// where it arrives.
func (g *Graph) descend(s *searcher, q []float32, top, above int) (at uint64, err error) {
	if int(g.entry) >= len(g.ids) {
		return 0, fmt.Errorf("%w: entry point %d of %d slots", ErrCorrupt, g.entry, len(g.ids))
	}
	at = packed(kernel.SquaredL2(q, g.vector(g.entry)), g.entry)
	for level := top; level > above; level-- {
		// Each round comes closer, so there are at most as many rounds as nodes.
		for improved := true; improved; {
			improved = false
			slots := g.neighbors(slotOf(at), level)
			if err := g.distances(s, q, slots); err != nil {
				return 0, err
			}
			for i, slot := range slots {
				if word := packed(s.distances[i], slot); word < at {
					at, improved = word, true
				}
			}
		}
	}
	return at, nil
}

// distances computes the squared distances from q to the given slots, at most as many as a node has links, into
// s.distances.
func (g *Graph) distances(s *searcher, q []float32, slots []uint32) error {
	total := uint32(len(g.ids))
	rows := s.rows[:len(slots)]
	for i, slot := range slots {
		if slot >= total {
			return fmt.Errorf("%w: link to slot %d of %d", ErrCorrupt, slot, total)
		}
		rows[i] = g.vectors.pointer(slot)
	}
	kernel.SquaredL2Each(q, rows, s.distances[:len(slots)])
	return nil
}

// searchLevel leaves in s.pool the nearest nodes to q that it finds on a level, at most ef, closest first.
//
// It is the paper's algorithm 2 with its two queues in one sorted list: the candidate to expand next is the closest that
// was not expanded, and the search ends when the ef closest all were.
func (g *Graph) searchLevel(s *searcher, q []float32, entry uint64, level, ef int) error {
	visited, epoch := s.nextEpoch()
	visited[slotOf(entry)] = epoch
	s.pool = append(s.pool[:0], entry&^expanded)
	total := uint32(len(g.ids))
	slots, rows, distances := s.slots, s.rows, s.distances
	bound := uint64(beyond)
	if ef == 1 {
		bound = min(bound, s.pool[0])
	}
	for next := 0; next < len(s.pool); {
		word := s.pool[next]
		if word&expanded != 0 {
			next++
			continue
		}
		s.pool[next] = word | expanded
		n := 0
		for _, slot := range g.list(slotOf(word), level) {
			if slot >= total {
				if slot == noSlot {
					break
				}
				return fmt.Errorf("%w: link to slot %d of %d", ErrCorrupt, slot, total)
			}
			if visited[slot] != epoch {
				visited[slot] = epoch
				slots[n], rows[n] = slot, g.vectors.pointer(slot)
				n++
			}
		}
		next++
		if level == 0 && next < len(s.pool) {
			// Probably the next to be expanded: its links come into the cache while the distances are computed.
			list := g.links.row(slotOf(s.pool[next]))
			s.ahead ^= list[0] ^ list[len(list)/2] ^ list[len(list)-1]
		}
		kernel.SquaredL2Each(q, rows[:n], distances[:n])
		for i, d := range distances[:n] {
			word := packed(d, slots[i])
			if word >= bound {
				continue
			}
			at := s.insert(word, ef)
			next = min(next, at)
			if len(s.pool) == ef {
				bound = min(s.pool[ef-1], beyond)
			}
		}
	}
	return nil
}

// insert puts a word that is below the last one into the pool, or any where the pool has less than ef, and returns its
// place. Where there were ef, the last one falls out.
func (s *searcher) insert(word uint64, ef int) int {
	if len(s.pool) < ef {
		s.pool = append(s.pool, 0)
	}
	pool := s.pool
	// The place is the number of words below this one, among all but the last, which is free or falls out.
	at, n := 0, len(pool)-1
	for n > 0 {
		half := (n + 1) / 2
		if pool[at+half-1] < word {
			at += half
		}
		n -= half
	}
	copy(pool[at+1:], pool[at:])
	pool[at] = word
	return at
}

// nextEpoch makes all slots unvisited.
func (s *searcher) nextEpoch() (visited []uint16, epoch uint16) {
	s.epoch++
	if s.epoch == 0 {
		clear(s.visited)
		s.epoch = 1
	}
	return s.visited, s.epoch
}
