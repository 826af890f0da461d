package hnsw

import (
	"fmt"
	"math/rand/v2"

	"imgsearch/index"
)

// Measured is what [Graph.MeasureEf] found.
type Measured struct {
	// Ef is the least efSearch that reaches the target, or the largest that was tried.
	Ef int
	// Recall is the ANN recall@k at Ef.
	Recall float64
}

// largestEf is the largest efSearch that MeasureEf tries.
const largestEf = 8192

// MeasureEf finds the least efSearch whose ANN recall@k is at least target, in (0, 1], on a sample of the graph's own
// embeddings: each is searched for as if it were not in the graph, and comparing with everything gives the truth. sample is
// their number, 0 for 500. The same seed takes the same sample. With a sample of 500 and k = 10 the recall is exact to
// about .003 around .99. Where no efSearch reaches the target, the result has the largest and what it reached.
func (g *Graph) MeasureEf(target float64, k, sample int, seed uint64) (Measured, error) {
	g.state.RLock()
	defer g.state.RUnlock()
	if !(target > 0 && target <= 1) {
		return Measured{}, fmt.Errorf("target recall %v: must be above 0 and at most 1", target)
	}
	if k < 1 {
		return Measured{}, fmt.Errorf("%w: %d", index.ErrK, k)
	}
	if sample == 0 {
		sample = 500
	}
	m := measurement{g: g, k: k}
	m.draw(min(sample, g.live), seed)
	if len(m.slots) == 0 || g.live <= k+1 {
		return Measured{Ef: k, Recall: 1}, nil
	}
	low, high := k-1, k // the recall at low is too little
	var at Measured
	for {
		recall, err := m.recall(high)
		if err != nil {
			return Measured{}, err
		}
		at = Measured{high, recall}
		if recall >= target {
			break
		}
		if high >= min(largestEf, g.live) {
			return at, nil
		}
		low, high = high, min(2*high, largestEf, g.live)
	}
	for high-low > max(1, high/32) {
		middle := (low + high) / 2
		recall, err := m.recall(middle)
		if err != nil {
			return Measured{}, err
		}
		if recall >= target {
			high, at = middle, Measured{middle, recall}
		} else {
			low = middle
		}
	}
	return at, nil
}

// SetEfSearch changes the graph's EfSearch, which is stored with it.
func (g *Graph) SetEfSearch(ef int) error {
	g.writer.Lock()
	defer g.writer.Unlock()
	options := g.options
	options.EfSearch = ef
	if err := options.validate(); err != nil {
		return err
	}
	g.state.Lock()
	defer g.state.Unlock()
	g.options = options
	return nil
}

// measurement is a sample of nodes and their nearest.
type measurement struct {
	g     *Graph
	k     int
	slots []uint32
	bound []float32 // of each: the distance of its k-th nearest
}

// draw takes n nodes at random and finds their nearest.
func (m *measurement) draw(n int, seed uint64) {
	g := m.g
	rng := rand.New(rand.NewPCG(seed, 0xEF))
	taken := make(map[uint32]bool, n)
	for tries := 0; len(m.slots) < n && tries < 1000*n; tries++ {
		slot := uint32(rng.IntN(len(g.ids)))
		if taken[slot] || g.ids[slot] == empty || slot == g.entry {
			continue
		}
		taken[slot] = true
		p := g.probeOf(slot)
		p.height = 0
		nearest := g.scan(p, m.k+1, nil)
		bound, others := float32(0), 0
		for _, n := range nearest {
			if n.ID != g.ids[slot] && others < m.k {
				bound = n.Distance
				others++
			}
		}
		m.slots, m.bound = append(m.slots, slot), append(m.bound, bound)
	}
}

// recall is the ANN recall@k of searches with ef for the sample, each of which does not see the node that it is for.
func (m *measurement) recall(ef int) (float64, error) {
	g := m.g
	s := g.searcher()
	defer g.release(s)
	hits, total := 0, 0
	for i, slot := range m.slots {
		p := g.probeOf(slot)
		p.height = 0
		s.hidden = slot + 1
		entry, err := g.descend(s, p, g.top, 0)
		if err == nil {
			err = g.searchLevel(s, p, entry, 0, min(ef, g.live))
		}
		s.hidden = 0
		if err != nil {
			return 0, err
		}
		if p.code != nil {
			g.refine(s, p, m.k)
		}
		found, err := g.answers(p, s.pool, m.k)
		if err != nil {
			return 0, err
		}
		for _, n := range found {
			if n.Distance <= m.bound[i] {
				hits++
			}
		}
		total += min(m.k, g.live-1)
	}
	return float64(hits) / float64(total), nil
}
