package hnsw

import (
	"fmt"
	"math"

	"imgsearch/index"
	"imgsearch/internal/kernel"
)

// A candidate, a node at a squared distance, is one word, so that it is compared and moved as one: the bits of the distance
// (which are in the order of distances, as none is negative) or the squared distance of two codes, the slot, and in the
// lowest bit whether a search expanded it.
const expanded = 1

func packed(distance float32, slot uint32) uint64 {
	return uint64(math.Float32bits(distance))<<32 | uint64(slot)<<1
}

func distanceOf(word uint64) float32 { return math.Float32frombits(uint32(word >> 32)) }

func slotOf(word uint64) uint32 { return uint32(word) >> 1 }

// beyond is the word of a distance that is infinite. Distances that are not numbers, which only damaged embeddings have,
// are beyond it.
const beyond = 0x7F800000 << 32

// probe is what is looked for.
type probe struct {
	embedding []float32
	code      []uint8 // nil where there are no codes
	height    float32 // see lift
}

// bound is the word below which all distances are.
func (p *probe) bound() uint64 {
	if p.code != nil {
		return math.MaxUint64
	}
	return beyond
}

// searcher is the scratch memory of one search at a time.
type searcher struct {
	visited []uint8 // the epoch in which a slot was last seen
	epoch   uint8

	pool  []uint64 // the nearest seen, closest first
	found []uint64 // the nearest seen that a filter lets through, closest first

	slots     []uint32
	words     []uint64
	rows      []*float32
	distances []float32
	codeRows  []*uint8
	codes     []uint32
	prepared  []float32
	code      []uint8

	hidden uint32 // a slot that is not to be found, plus 1; 0: none
}

func (g *Graph) searcher() *searcher {
	s, _ := g.searchers.Get().(*searcher)
	if s == nil {
		s = new(searcher)
	}
	if len(s.visited) < len(g.ids) {
		s.visited = make([]uint8, len(g.ids)+len(g.ids)/4)
		s.epoch = 0
	}
	s.fit(beam * g.capacity(0))
	return s
}

// fit makes room for n distances at once.
func (s *searcher) fit(n int) {
	if len(s.slots) < n {
		s.slots, s.words = make([]uint32, n), make([]uint64, n)
		s.rows, s.distances = make([]*float32, n), make([]float32, n)
		s.codeRows, s.codes = make([]*uint8, n), make([]uint32, n)
	}
}

// release gives a searcher back. Its addresses are forgotten: they may point into a file that is about to be closed.
func (g *Graph) release(s *searcher) {
	clear(s.rows)
	clear(s.codeRows)
	g.searchers.Put(s)
}

// probe prepares a query of the caller.
func (g *Graph) probe(s *searcher, query []float32) (probe, error) {
	if len(s.prepared) != g.dim {
		s.prepared, s.code = make([]float32, g.dim), make([]uint8, codeWidth(g.dim))
	}
	if len(query) != g.dim {
		_, err := index.Prepare(g.metric, g.dim, query)
		return probe{}, err
	}
	p := probe{embedding: s.prepared}
	if err := index.PrepareTo(s.prepared, g.metric, query); err != nil {
		return probe{}, err
	}
	if g.coding.on() {
		g.coding.encode(s.code, s.prepared)
		p.code = s.code
	}
	return p, nil
}

// probeOf is a node as a query.
func (g *Graph) probeOf(slot uint32) probe {
	p := probe{embedding: g.vector(slot)}
	if g.coding.on() {
		p.code = g.codes.row(slot)
	}
	if g.heights != nil {
		p.height = g.heights[slot]
	}
	return p
}

// Search implements index.Index with the graph's own EfSearch.
func (g *Graph) Search(query []float32, k int) ([]index.Neighbor, error) {
	return g.SearchEf(query, k, 0)
}

// SearchEf is Search that keeps ef candidates, or k where ef is less: the larger, the more of the true nearest are
// found, and the longer it takes. Where ef is 0 the graph's EfSearch counts. Where comparing with everything takes less
// time, as [Graph.MeasureScan] found, that is done instead, whatever ef is.
func (g *Graph) SearchEf(query []float32, k, ef int) ([]index.Neighbor, error) {
	g.state.RLock()
	defer g.state.RUnlock()
	if err := g.checkQuery(query, k); err != nil || g.live == 0 {
		return nil, err
	}
	s := g.searcher()
	defer g.release(s)
	p, err := g.probe(s, query)
	if err != nil {
		return nil, err
	}
	return g.search(s, p, k, g.efOf(k, ef))
}

// checkQuery refuses what no search can answer.
func (g *Graph) checkQuery(query []float32, k int) error {
	if k < 1 {
		return fmt.Errorf("%w: %d", index.ErrK, k)
	}
	if g.live == 0 { // nothing else looks at the query
		_, err := index.Prepare(g.metric, g.dim, query)
		return err
	}
	return nil
}

// efOf is the number of candidates that a search for k keeps.
func (g *Graph) efOf(k, ef int) int {
	if ef < 1 {
		ef = g.options.EfSearch
	}
	return min(max(ef, k), g.live)
}

func (g *Graph) search(s *searcher, p probe, k, ef int) ([]index.Neighbor, error) {
	if g.scanPays(ef) {
		return g.scan(p, k, nil), nil
	}
	return g.walk(s, p, k, ef)
}

// walk is a search of the graph.
func (g *Graph) walk(s *searcher, p probe, k, ef int) ([]index.Neighbor, error) {
	entry, err := g.descend(s, p, g.top, 0)
	if err != nil {
		return nil, err
	}
	if err := g.searchLevel(s, p, entry, 0, ef); err != nil {
		return nil, err
	}
	if p.code != nil {
		g.refine(s, p, k)
	}
	return g.answers(p, s.pool, k)
}

// answers turns the first k words, at squared distances of embeddings, into neighbours.
func (g *Graph) answers(p probe, words []uint64, k int) ([]index.Neighbor, error) {
	neighbors := make([]index.Neighbor, min(k, len(words)))
	for i := range neighbors {
		word := words[i]
		id := g.ids[slotOf(word)]
		if id == empty {
			return nil, fmt.Errorf("%w: a link to the empty slot %d", ErrCorrupt, slotOf(word))
		}
		neighbors[i] = index.Neighbor{ID: id, Distance: distanceOf(word)}
		if g.heights != nil {
			neighbors[i].Distance = 1 - kernel.Dot(p.embedding, g.vector(slotOf(word)))
		}
	}
	return index.Measure(g.metric, neighbors), nil
}

// descend walks greedily from the entry point, which is on level top, down to the level above the given one, and returns
// where it arrives.
func (g *Graph) descend(s *searcher, p probe, top, above int) (at uint64, err error) {
	if int(g.entry) >= len(g.ids) {
		return 0, fmt.Errorf("%w: entry point %d of %d slots", ErrCorrupt, g.entry, len(g.ids))
	}
	s.slots[0] = g.entry
	g.measure(s, p, 1)
	at = s.words[0]
	for level := top; level > above; level-- {
		// Each round comes closer, so there are at most as many rounds as nodes.
		for improved := true; improved; {
			improved = false
			slots := g.neighbors(slotOf(at), level)
			for _, slot := range slots {
				if int(slot) >= len(g.ids) {
					return 0, fmt.Errorf("%w: link to slot %d of %d", ErrCorrupt, slot, len(g.ids))
				}
			}
			copy(s.slots, slots)
			g.measure(s, p, len(slots))
			for _, word := range s.words[:len(slots)] {
				if word < at && slotOf(word)+1 != s.hidden {
					at, improved = word, true
				}
			}
		}
	}
	return at, nil
}

// measure computes the words of the first n of s.slots, which are slots of the graph, into s.words.
func (g *Graph) measure(s *searcher, p probe, n int) {
	for i, slot := range s.slots[:n] {
		if p.code != nil {
			s.codeRows[i] = g.codes.pointer(slot)
		} else {
			s.rows[i] = g.vectors.pointer(slot)
		}
	}
	g.distances(s, p, n)
}

// distances computes the words of the first n of s.slots, whose rows are in s, into s.words.
func (g *Graph) distances(s *searcher, p probe, n int) {
	slots, words := s.slots[:n], s.words[:n]
	if p.code != nil {
		distances := s.codes[:n]
		kernel.SquaredL2Codes(p.code, s.codeRows[:n], distances)
		for i, d := range distances {
			words[i] = uint64(d)<<32 | uint64(slots[i])<<1
		}
		return
	}
	distances := s.distances[:n]
	kernel.SquaredL2Each(p.embedding, s.rows[:n], distances)
	g.lift(p.height, slots, distances)
	for i, d := range distances {
		words[i] = packed(d, slots[i])
	}
}

// gather puts those of a node's links that the search has not seen behind the first n of s.slots, with their rows, and
// returns how many there are then. The links at ahead will be wanted next.
func (g *Graph) gather(s *searcher, p probe, list []uint32, n int, ahead *uint32) (int, error) {
	visited := s.visited[:len(g.ids)]
	var more int
	if p.code != nil {
		to := kernel.Gathered[uint8]{Slots: s.slots[n:], Rows: s.codeRows[n:]}
		more = kernel.GatherRows(list, visited, s.epoch, g.codes.first, g.codes.width, to, ahead)
	} else {
		to := kernel.Gathered[float32]{Slots: s.slots[n:], Rows: s.rows[n:]}
		more = kernel.GatherRows(list, visited, s.epoch, g.vectors.first, 4*g.dim, to, ahead)
	}
	if more < 0 {
		return 0, fmt.Errorf("%w: a link to a slot beyond the %d there are", ErrCorrupt, len(g.ids))
	}
	return n + more, nil
}

// beam is how many candidates are expanded at once, so that the processor waits for the memory of all of them at the same
// time. Those after the first would most often have been expanded next.
const beam = 3

// expand marks the nearest candidates from next on that are not expanded, at most beam and all below bound, and gathers
// their links. It returns their number, and the place from which on candidates may not be expanded.
func (g *Graph) expand(s *searcher, p probe, level, next int, bound uint64) (n, from int, err error) {
	var chosen [beam]uint32
	count := 0
	for ; next < len(s.pool) && count < beam && s.pool[next] < bound; next++ {
		if word := s.pool[next]; word&expanded == 0 {
			s.pool[next] = word | expanded
			chosen[count] = slotOf(word)
			count++
		}
	}
	for _, slot := range chosen[:count] {
		list := g.list(slot, level)
		if len(list) == 0 {
			continue
		}
		ahead := &list[0]
		if level == 0 && next < len(s.pool) {
			ahead = g.links.pointer(slotOf(s.pool[next]))
		}
		if n, err = g.gather(s, p, list, n, ahead); err != nil {
			return 0, 0, err
		}
	}
	return n, next, nil
}

// searchLevel leaves in s.pool the nearest nodes to p that it finds on a level, at most ef, closest first.
//
// It is the paper's algorithm 2 with its two queues in one sorted list: the candidates to expand next are the closest that
// were not expanded, and the search ends when the ef closest all were.
func (g *Graph) searchLevel(s *searcher, p probe, entry uint64, level, ef int) error {
	s.nextEpoch()
	s.visited[slotOf(entry)] = s.epoch
	if s.hidden != 0 {
		s.visited[s.hidden-1] = s.epoch
	}
	s.pool = append(s.pool[:0], entry&^expanded)
	farthest := p.bound()
	bound := farthest
	if ef == 1 {
		bound = min(bound, s.pool[0])
	}
	for next := 0; next < len(s.pool); {
		n, from, err := g.expand(s, p, level, next, math.MaxUint64)
		if err != nil {
			return err
		}
		next = from
		g.distances(s, p, n)
		for _, word := range s.words[:n] {
			if word >= bound {
				continue
			}
			var at int
			s.pool, at = insert(s.pool, word, ef)
			if at <= next {
				next = at
				if level == 0 {
					kernel.Prefetch(g.links.pointer(slotOf(word)))
				}
			}
			if len(s.pool) == ef {
				bound = min(s.pool[ef-1], farthest)
			}
		}
	}
	return nil
}

// insert puts a word that is below the last one into a sorted pool, or any where the pool has less than ef, and returns
// its place. Where there were ef, the last one falls out.
func insert(pool []uint64, word uint64, ef int) ([]uint64, int) {
	if len(pool) < ef {
		pool = append(pool, 0)
	}
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
	return pool, at
}

// nextEpoch makes all slots unvisited.
func (s *searcher) nextEpoch() {
	s.epoch++
	if s.epoch == 0 {
		clear(s.visited)
		s.epoch = 1
	}
}

// SearchAll is [Graph.SearchEf] for each of the queries, [len(queries)/Dim, Dim] float32, on the given number of threads
// (0: all cores). The error is that of the first query that has one.
func (g *Graph) SearchAll(queries []float32, k, ef, threads int) ([][]index.Neighbor, error) {
	if len(queries)%g.dim != 0 {
		return nil, fmt.Errorf("%w: %d values for queries of dim %d", index.ErrVector, len(queries), g.dim)
	}
	answers := make([][]index.Neighbor, len(queries)/g.dim)
	errs := make([]error, len(answers))
	kernel.Parallel(threads, len(answers), func(i int) {
		answers[i], errs[i] = g.SearchEf(queries[i*g.dim:(i+1)*g.dim], k, ef)
	})
	for i, err := range errs {
		if err != nil {
			return nil, fmt.Errorf("query %d: %w", i, err)
		}
	}
	return answers, nil
}

// SearchRange returns all embeddings that a search finds within a distance of the query, the distance included, in the
// order of Search. It begins with ef candidates (0: the graph's EfSearch) and keeps more, until the farthest of them is
// farther away.
func (g *Graph) SearchRange(query []float32, distance float32, ef int) ([]index.Neighbor, error) {
	g.state.RLock()
	defer g.state.RUnlock()
	if err := g.checkQuery(query, 1); err != nil || g.live == 0 {
		return nil, err
	}
	s := g.searcher()
	defer g.release(s)
	p, err := g.probe(s, query)
	if err != nil {
		return nil, err
	}
	for ef = g.efOf(1, ef); ; ef = min(4*ef, g.live) {
		found, err := g.search(s, p, ef, ef)
		if err != nil {
			return nil, err
		}
		within := 0
		for within < len(found) && found[within].Distance <= distance {
			within++
		}
		if within < len(found) || ef == g.live {
			return found[:within], nil
		}
	}
}
