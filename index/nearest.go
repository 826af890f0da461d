package index

import (
	"cmp"
	"slices"
)

// Compare orders neighbours by rising distance, equal distances by rising id.
func Compare(a, b Neighbor) int {
	if c := cmp.Compare(a.Distance, b.Distance); c != 0 {
		return c
	}
	return cmp.Compare(a.ID, b.ID)
}

// Nearest keeps the k closest of the neighbours that are offered to it.
type Nearest struct {
	k    int
	heap []Neighbor // the farthest at the root
}

// NewNearest returns an empty Nearest for k >= 1 neighbours.
func NewNearest(k int) *Nearest { return &Nearest{k: k} }

// Offer considers one neighbour. Each id must be offered once.
func (n *Nearest) Offer(candidate Neighbor) {
	if len(n.heap) < n.k {
		n.heap = append(n.heap, candidate)
		n.up(len(n.heap) - 1)
		return
	}
	if Compare(candidate, n.heap[0]) < 0 {
		n.heap[0] = candidate
		n.down()
	}
}

// Bound is the distance beyond which an offer is in vain; ok is false while fewer than k were offered.
func (n *Nearest) Bound() (distance float32, ok bool) {
	if len(n.heap) < n.k {
		return 0, false
	}
	return n.heap[0].Distance, true
}

// Sorted empties n and returns what it held, closest first.
func (n *Nearest) Sorted() []Neighbor {
	out := n.heap
	for size := len(out); size > 1; size-- {
		out[0], out[size-1] = out[size-1], out[0]
		n.heap = out[:size-1]
		n.down()
	}
	n.heap = nil
	return out
}

func (n *Nearest) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if Compare(n.heap[i], n.heap[parent]) <= 0 {
			return
		}
		n.heap[i], n.heap[parent] = n.heap[parent], n.heap[i]
		i = parent
	}
}

func (n *Nearest) down() {
	for i := 0; ; {
		largest := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(n.heap); child++ {
			if Compare(n.heap[child], n.heap[largest]) > 0 {
				largest = child
			}
		}
		if largest == i {
			return
		}
		n.heap[i], n.heap[largest] = n.heap[largest], n.heap[i]
		i = largest
	}
}

// Measure turns neighbours with squared Euclidean distances into neighbours with distances of metric m, in order: two
// squares can have one root. For InnerProduct the distances must be those of the metric already, and are put in order.
func Measure(m Metric, neighbors []Neighbor) []Neighbor {
	if m != InnerProduct {
		for i := range neighbors {
			neighbors[i].Distance = FromSquaredL2(m, neighbors[i].Distance)
		}
	}
	slices.SortFunc(neighbors, Compare)
	return neighbors
}
