package evaluation

import (
	"math"
	"slices"
)

// topK keeps the k smallest of the keys pushed into it. A key holds a distance in its upper half and the rank of an id
// in its lower, so that equal distances order themselves by id and the result does not depend on the order of arrival.
//
// Keys gather in a buffer of several times k; when it is full, all but the k smallest are dropped and the largest of
// them becomes the limit. With random order of arrival that costs little more than the comparison with the limit.
type topK struct {
	k     int
	keys  []uint64
	limit float32 // values above are not among the k smallest
}

func newTopK(k int, buffer []uint64) topK {
	return topK{k: k, keys: buffer[:0], limit: float32(math.Inf(1))}
}

// topKBuffer is the capacity of buffer that serves k.
func topKBuffer(k int) int { return 3*k + 32 }

// pushRow offers value i with rank ranks[i], for all i except skip.
func (t *topK) pushRow(values []float32, ranks []uint32, skip int) {
	ranks = ranks[:len(values)]
	limit := t.limit
	for i, v := range values {
		if v > limit || i == skip {
			continue
		}
		if len(t.keys) == cap(t.keys) {
			t.shrink()
			limit = t.limit
			if v > limit {
				continue
			}
		}
		t.keys = append(t.keys, makeKey(v, ranks[i]))
	}
}

func (t *topK) shrink() {
	if len(t.keys) <= t.k {
		return
	}
	selectSmallest(t.keys, t.k)
	t.keys = t.keys[:t.k]
	t.limit, _ = splitKey(slices.Max(t.keys))
}

// sorted ends the collection and returns the keys by rising value.
func (t *topK) sorted() []uint64 {
	t.shrink()
	slices.Sort(t.keys)
	return t.keys
}

func makeKey(v float32, rank uint32) uint64 {
	bits := math.Float32bits(v + 0) // +0 turns a negative zero into the positive one
	if bits>>31 == 1 {
		bits = ^bits
	} else {
		bits |= 1 << 31
	}
	return uint64(bits)<<32 | uint64(rank)
}

func splitKey(key uint64) (v float32, rank uint32) {
	bits := uint32(key >> 32)
	if bits>>31 == 1 {
		bits &^= 1 << 31
	} else {
		bits = ^bits
	}
	return math.Float32frombits(bits), uint32(key)
}

// selectSmallest reorders keys so that the first k are the k smallest, in any order (Hoare's quickselect with the
// median of three; keys are all different, so that it cannot degenerate on equal ones).
func selectSmallest(keys []uint64, k int) {
	lo, hi := 0, len(keys)-1
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if keys[mid] < keys[lo] {
			keys[mid], keys[lo] = keys[lo], keys[mid]
		}
		if keys[hi] < keys[lo] {
			keys[hi], keys[lo] = keys[lo], keys[hi]
		}
		if keys[hi] < keys[mid] {
			keys[hi], keys[mid] = keys[mid], keys[hi]
		}
		pivot := keys[mid]
		i, j := lo, hi
		for i <= j {
			for keys[i] < pivot {
				i++
			}
			for keys[j] > pivot {
				j--
			}
			if i <= j {
				keys[i], keys[j] = keys[j], keys[i]
				i++
				j--
			}
		}
		switch {
		case k-1 <= j:
			hi = j
		case k-1 >= i:
			lo = i
		default:
			return
		}
	}
}
