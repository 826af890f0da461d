package atlas

import (
	"fmt"
	"math"
	"slices"

	"imgsearch/dataset"
	"imgsearch/index"
	"imgsearch/internal/kernel"
)

// affinities are the symmetric input similarities of t-SNE, p(i, j) > 0 for the neighbours of a point, which sum to 1,
// as compressed rows: those of point i are at[rows[i]:rows[i+1]] with the values beside them.
type affinities struct {
	rows   []int
	at     []int32
	values []float32
	// entropy is the sum of p log p.
	entropy float64
}

// half is the distribution of a point over its neighbours, p(j|i): their positions in the list of points, and the values.
type half struct {
	at     []int32
	values []float64
}

// weigh fits a Gaussian to the nearest 3 * perplexity neighbours of a point so that the distribution has the perplexity, or
// a third of the number of neighbours where there are fewer.
func weigh(position map[dataset.ID]int32, own dataset.ID, neighbors []index.Neighbor, metric index.Metric, perplexity float64) (half, error) {
	most := int(3 * perplexity)
	at := make([]int32, 0, most)
	squared := make([]float64, 0, most)
	for _, neighbor := range neighbors {
		j, ok := position[neighbor.ID]
		d := float64(neighbor.Distance)
		switch {
		case !ok:
			return half{}, fmt.Errorf("%w: id %d is a neighbour of %d but no point of the map", ErrNeighbors, neighbor.ID, own)
		case !(d >= -1e-4) || math.IsInf(d, 0):
			return half{}, fmt.Errorf("%w: id %d is a neighbour of %d at distance %v", ErrNeighbors, neighbor.ID, own, d)
		case neighbor.ID == own || len(at) == most:
			continue
		}
		d = max(d, 0)
		if metric == index.Cosine {
			d = 2 * d // the squared distance of vectors of length one
		} else {
			d *= d
		}
		at, squared = append(at, j), append(squared, d)
	}
	return half{at, calibrate(squared, min(perplexity, float64(len(at))/3))}, nil
}

// newAffinities fits a Gaussian to each point's neighbours so that the distribution over them has the perplexity
// (van der Maaten & Hinton 2008, section 2) and makes it symmetric: p(i, j) = (p(j|i) + p(i|j)) / 2n. Only the nearest
// 3 * perplexity neighbours count (van der Maaten 2014, section 4.1). A point with few neighbours gets at most a third
// of their number as perplexity.
func newAffinities(ids []dataset.ID, neighbors [][]index.Neighbor, metric index.Metric, perplexity float64, threads int) (*affinities, error) {
	n := len(ids)
	position := make(map[dataset.ID]int32, n)
	for i, id := range ids {
		if _, ok := position[id]; ok {
			return nil, fmt.Errorf("%w: id %d is given twice", ErrNeighbors, id)
		}
		position[id] = int32(i)
	}
	halves := make([]half, n)
	problems := make([]error, n)
	kernel.Parallel(threads, n, func(i int) {
		halves[i], problems[i] = weigh(position, ids[i], neighbors[i], metric, perplexity)
	})
	for _, err := range problems {
		if err != nil {
			return nil, err
		}
	}
	// Every entry goes to its own row and to the transposed one.
	a := &affinities{rows: make([]int, n+1)}
	for i, h := range halves {
		for _, j := range h.at {
			a.rows[i+1]++
			a.rows[j+1]++
		}
	}
	for i := range n {
		a.rows[i+1] += a.rows[i]
	}
	type entry struct {
		at    int32
		value float64
	}
	entries := make([]entry, a.rows[n])
	next := slices.Clone(a.rows[:n])
	for i, h := range halves {
		for e, j := range h.at {
			entries[next[i]] = entry{j, h.values[e]}
			entries[next[j]] = entry{int32(i), h.values[e]}
			next[i]++
			next[j]++
		}
	}
	lengths := make([]int, n)
	kernel.Parallel(threads, n, func(i int) {
		row := entries[a.rows[i]:a.rows[i+1]]
		slices.SortFunc(row, func(x, y entry) int { return int(x.at) - int(y.at) })
		out := 0
		for e := range row {
			if out > 0 && row[out-1].at == row[e].at {
				// Two at most, so that the order of this sum is of no account.
				row[out-1].value += row[e].value
				continue
			}
			row[out] = row[e]
			out++
		}
		lengths[i] = out
	})
	total, points := 0.0, 0
	for i := range n {
		from := a.rows[i]
		a.rows[i] = points
		for _, e := range entries[from : from+lengths[i]] {
			entries[points] = e
			total += e.value
			points++
		}
	}
	a.rows[n] = points
	if total == 0 {
		return nil, fmt.Errorf("%w: no point has a neighbour", ErrNeighbors)
	}
	a.at, a.values = make([]int32, points), make([]float32, points)
	for e, v := range entries[:points] {
		p := v.value / total
		a.at[e], a.values[e] = v.at, float32(p)
		if p > 0 {
			a.entropy += p * math.Log(p)
		}
	}
	return a, nil
}

// calibrate returns the distribution exp(-beta d) over the squared distances, normalised, with the beta that gives it
// the perplexity; it takes over the slice. A perplexity of 1 or less puts equal weight on all that are nearest.
func calibrate(squared []float64, perplexity float64) []float64 {
	if len(squared) == 0 {
		return squared
	}
	least := slices.Min(squared)
	spread := 0.0
	for i := range squared {
		squared[i] -= least
		spread += squared[i]
	}
	if spread == 0 { // all equally far
		for i := range squared {
			squared[i] = 1 / float64(len(squared))
		}
		return squared
	}
	spread /= float64(len(squared))
	want := math.Log(max(perplexity, 1))
	low, high := 0.0, math.Inf(1)
	beta := 1 / spread
	for range 100 {
		// Entropy of the distribution: log(sum) + beta * mean distance. Its slope is -beta times the distances' variance.
		sum, weighted, squares := 0.0, 0.0, 0.0
		for _, d := range squared {
			w := math.Exp(-beta * d)
			sum += w
			weighted += w * d
			squares += w * d * d
		}
		mean := weighted / sum
		entropy := math.Log(sum) + beta*mean
		if math.Abs(entropy-want) < 1e-7 {
			break
		}
		if entropy > want {
			low = beta
		} else {
			high = beta
		}
		// Newton's step, or where it leads out of what is left, half the way.
		next := beta + (entropy-want)/(beta*(squares/sum-mean*mean))
		if !(next > low && next < high) {
			next = min((low+high)/2, 2*beta)
		}
		beta = next
		if beta*spread > 1e12 { // equal nearest distances hold the entropy above
			break
		}
	}
	sum := 0.0
	for i, d := range squared {
		squared[i] = math.Exp(-beta * d)
		sum += squared[i]
	}
	for i := range squared {
		squared[i] /= sum
	}
	return squared
}
