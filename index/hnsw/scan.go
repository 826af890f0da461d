package hnsw

import (
	"math"
	"slices"
	"time"

	"imgsearch/index"
	"imgsearch/internal/kernel"
)

// Comparing with everything reads memory in order, and is right. It takes less time than a search where embeddings are few,
// where ef is large, or where a filter leaves few. How few depends on the processor, so that it is measured.

// unmeasured is the number of embeddings that are compared in the time that a search takes for each of its ef candidates,
// as long as that was not measured. It counts for filters only.
const unmeasured = 40

// scanPays reports whether comparing with everything takes less time than a search that keeps ef candidates.
func (g *Graph) scanPays(ef int) bool {
	return ef >= g.live || float64(g.live) <= float64(g.scanRows)*float64(ef)
}

// MeasureScan measures how long a search and how long comparing with everything take on this graph, on one thread; from
// then on the faster of the two serves. The finding is stored with the graph. Nothing is done where it was measured and the
// number of slots has not doubled since, or where there are fewer than 256 embeddings.
func (g *Graph) MeasureScan() error {
	g.writer.Lock()
	defer g.writer.Unlock()
	if g.live < 256 || g.scanAt > 0 && len(g.ids) < 2*g.scanAt {
		return nil
	}
	const rounds, perRound = 5, 4
	s := g.searcher()
	defer g.release(s)
	var searching, scanning []float64
	ef := g.efOf(10, 0)
	slot := 0
	for range rounds {
		var took [2]time.Duration
		for range perRound {
			for slot = (slot + 7919) % len(g.ids); g.ids[slot] == empty; {
				slot = (slot + 1) % len(g.ids)
			}
			p := g.probeOf(uint32(slot))
			begun := time.Now()
			if _, err := g.walk(s, p, 10, ef); err != nil {
				return err
			}
			middle := time.Now()
			g.scan(p, 10, nil)
			took[0] += middle.Sub(begun)
			took[1] += time.Since(middle)
		}
		searching = append(searching, took[0].Seconds()/float64(perRound*ef))
		scanning = append(scanning, took[1].Seconds()/float64(perRound*g.live))
	}
	g.state.Lock()
	defer g.state.Unlock()
	g.scanRows = float32(median(searching) / max(median(scanning), 1e-12))
	g.scanAt = len(g.ids)
	return nil
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// scan compares p with every embedding, or with those that a filter lets through.
func (g *Graph) scan(p probe, k int, f *Filter) []index.Neighbor {
	nearest := index.NewNearest(min(k, g.live))
	bound := float32(math.Inf(1))
	offer := func(slot uint32, d float32) {
		if d <= bound {
			nearest.Offer(index.Neighbor{ID: g.ids[slot], Distance: d})
			if farthest, full := nearest.Bound(); full {
				bound = farthest
			}
		}
	}
	var distances [ChunkNodes]float32
	measure := func(v []float32, rows []float32, n int) {
		if g.heights == nil {
			kernel.SquaredL2Rows(v, rows, distances[:n])
			return
		}
		kernel.DotRows(v, rows, distances[:n])
		for i, dot := range distances[:n] {
			distances[i] = 1 - dot
		}
	}
	if f != nil && f.count*8 < len(g.ids) {
		for _, slot := range f.slots(g) {
			measure(p.embedding, g.vector(slot), 1)
			offer(slot, distances[0])
		}
		return index.Measure(g.metric, nearest.Sorted())
	}
	for n, chunk := range g.vectors.data {
		first := uint32(n) << chunkShift
		rows := min(ChunkNodes, len(g.ids)-int(first))
		measure(p.embedding, chunk[:rows*g.dim], rows)
		for i, d := range distances[:rows] {
			if slot := first + uint32(i); d <= bound && g.ids[slot] != empty && (f == nil || f.has(slot)) {
				offer(slot, d)
			}
		}
	}
	return index.Measure(g.metric, nearest.Sorted())
}
