package hnsw

import (
	"math"
	"slices"

	"imgsearch/index"
	"imgsearch/internal/kernel"
)

// A search spends its time waiting for embeddings that lie all over the memory. Each has therefore a code beside it: its
// values rounded to 256 steps, a quarter of the bytes, one cache line for 64 values. Searches walk the graph by the
// distances of codes; what decides is measured again with the embeddings themselves: the answers of a search (see refine)
// and the candidates that a new node chooses its links from.
//
// Codes are values (v - low) * scale, with one scale for all values, so that distances of codes are distances of embeddings
// but for rounding. They are made when there are enough embeddings and anew each time their number has doubled, with the
// range that the values have then; later values out of the range are cut off. Where the embeddings lie so close together
// that codes could not tell them apart there are none, and searches use the embeddings alone.
const (
	minCoded    = 1024 // slots from which on there are codes
	minCodedDim = 24   // values of an embedding from which on a code is worth its memory
	codeSteps   = 255
	// minCodeDistance is the squared distance of codes that all but a tenth of the embeddings must have from their nearest
	// ones. Rounding changes a squared distance D by about 0.8 sqrt(D): 4 % here, less in the usual case.
	minCodeDistance = 400
	// overshoot is the part of the range by which a value may be out of it before the codes are made anew.
	overshoot = 0.125
)

// coding tells how codes are made.
type coding struct {
	at    int       // the number of slots when it was last decided; 0: never
	scale float32   // steps a unit; 0: there are no codes
	low   []float32 // [dim]: the value of step 0
}

// on reports whether there are codes.
func (c *coding) on() bool { return c.scale != 0 }

// codeWidth is the number of bytes of a code: dim, filled up with zeros.
func codeWidth(dim int) int {
	return (dim + kernel.CodeBlock - 1) / kernel.CodeBlock * kernel.CodeBlock
}

// encode writes the code of an embedding and returns by how many steps its values are out of the range at most.
func (c *coding) encode(code []uint8, embedding []float32) (out float32) {
	code = code[:len(embedding)]
	low := c.low[:len(embedding)]
	for i, v := range embedding {
		step := (v-low[i])*c.scale + 0.5
		if !(step >= 0) { // a value that is not a number, too, which only a damaged embedding has
			out = max(out, -step)
			step = 0
		} else if step >= codeSteps+1 {
			out = max(out, step-codeSteps)
			step = codeSteps
		}
		code[i] = uint8(int32(step))
	}
	return out
}

// updateCodes makes codes for the slots from on, or decides anew how codes are made.
func (g *Graph) updateCodes(from int) {
	if g.metric == index.InnerProduct || g.dim < minCodedDim || g.dim > kernel.MaxCodes || len(g.ids) < minCoded {
		return
	}
	if len(g.ids) < 2*g.coding.at {
		if !g.coding.on() || g.encodeFrom(from) <= overshoot*codeSteps {
			return
		}
	}
	g.chooseCoding()
	if g.coding.on() {
		g.encodeFrom(0)
	}
}

// encodeFrom makes the codes of the slots from on.
func (g *Graph) encodeFrom(from int) (out float32) {
	g.codes.grow(len(g.ids), 0)
	for slot := from; slot < len(g.ids); slot++ {
		if g.ids[slot] != empty {
			out = max(out, g.coding.encode(g.codes.write(uint32(slot)), g.vector(uint32(slot))))
		}
	}
	return out
}

// chooseCoding fits the range of the codes to the embeddings that there are, and looks whether codes can tell them apart.
func (g *Graph) chooseCoding() {
	low, high := make([]float32, g.dim), make([]float32, g.dim)
	for i := range low {
		low[i], high[i] = float32(math.Inf(1)), float32(math.Inf(-1))
	}
	for slot, id := range g.ids {
		if id != empty {
			for i, v := range g.vector(uint32(slot)) {
				low[i], high[i] = min(low[i], v), max(high[i], v)
			}
		}
	}
	width := float32(0)
	for i := range low {
		width = max(width, high[i]-low[i])
	}
	for i := range low { // each value's range in the middle of the steps
		low[i] -= (width - (high[i] - low[i])) / 2
	}
	g.coding = coding{at: len(g.ids)}
	if scale := codeSteps / width; scale > 0 && !math.IsInf(float64(scale), 0) && g.separable(scale) {
		g.coding.scale, g.coding.low = scale, low
	}
	g.codes = chunks[uint8]{width: codeWidth(g.dim)}
}

// The sample that shows how close embeddings lie: each of probes is compared with sampleLen others.
const (
	probes    = 128
	sampleLen = 2048
)

// separable reports whether codes of the given scale tell the embeddings apart.
func (g *Graph) separable(scale float32) bool {
	var live []uint32
	for slot, id := range g.ids {
		if id != empty {
			live = append(live, uint32(slot))
		}
	}
	if len(live) < 2 {
		return false
	}
	others := make([]uint32, min(sampleLen, len(live)))
	rows, distances := make([]*float32, len(others)), make([]float32, len(others))
	for i := range others {
		others[i] = live[i*len(live)/len(others)]
		rows[i] = g.vectors.pointer(others[i])
	}
	var nearest []float32
	for i := range probes {
		slot := live[(i*len(live)+len(live)/2)/probes%len(live)]
		kernel.SquaredL2Each(g.vector(slot), rows, distances)
		best := float32(math.Inf(1))
		for _, d := range distances {
			if d > 0 { // not itself, nor what equals it
				best = min(best, d)
			}
		}
		nearest = append(nearest, best)
	}
	slices.Sort(nearest)
	return nearest[probes/10]*scale*scale >= minCodeDistance
}

// surely is the number of steps' standard deviations that a refined search allows for the rounding of codes.
const surely = 4

// beyondRounding returns the squared distance of codes that a node must have to be, surely, farther than one at d: rounding
// two codes changes their squared distance by a deviation of sqrt(4 d / 6), both distances are rounded, and d itself is
// too large by a sixth of each value.
func (g *Graph) beyondRounding(d uint32) uint32 {
	limit := float64(d) + surely*math.Sqrt(4.0/6*2*float64(d)) + float64(g.dim)/6
	return uint32(min(limit, math.MaxUint32))
}

// refine replaces the distances of codes in s.pool, which is sorted, by those of the embeddings, for as many as could be
// among the k nearest, and drops the others.
func (g *Graph) refine(s *searcher, p probe, k int) {
	pool := s.pool
	if len(pool) > k {
		limit := g.beyondRounding(uint32(pool[k-1] >> 32))
		n := k
		for n < len(pool) && uint32(pool[n]>>32) <= limit {
			n++
		}
		pool = pool[:n]
	}
	g.exactly(s, p, pool)
	s.pool = pool
}

// exactly replaces the distances of codes by those of the embeddings, and sorts.
func (g *Graph) exactly(s *searcher, p probe, words []uint64) {
	s.fit(len(words))
	rows := s.rows[:len(words)]
	for i, word := range words {
		rows[i] = g.vectors.pointer(slotOf(word))
	}
	distances := s.distances[:len(words)]
	kernel.SquaredL2Each(p.embedding, rows, distances)
	for i, word := range words {
		words[i] = packed(distances[i], slotOf(word))
	}
	slices.Sort(words)
}
