package search

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	"imgsearch/dataset"
	"imgsearch/index"
	"imgsearch/store"
)

// hashPrefix is as much of a content hash as contents are told apart by: 128 bits, which no two files share by chance.
type hashPrefix [16]byte

func prefixOf(h dataset.Hash) hashPrefix { return hashPrefix(h[:16]) }

// contents are the images of a collection with those of equal content together. It takes 36 bytes an image.
type contents struct {
	ids    []dataset.ID // rising
	hashes []hashPrefix
	bytes  []int64
	// first holds for each image the position of the first one with its content; byHash the positions, equal contents
	// together and rising.
	first, byHash []int32
}

// readContents goes through the records; each may be nil.
func (c *Collection) readContents(ctx context.Context, each func(Record)) (*contents, error) {
	t := &contents{}
	for r, err := range c.Records(ctx) {
		if err != nil {
			return nil, err
		}
		t.ids = append(t.ids, r.ID)
		t.hashes = append(t.hashes, prefixOf(r.Hash))
		t.bytes = append(t.bytes, r.Size)
		if each != nil {
			each(r)
		}
	}
	t.byHash = make([]int32, len(t.ids))
	for i := range t.byHash {
		t.byHash[i] = int32(i)
	}
	slices.SortFunc(t.byHash, func(a, b int32) int {
		return cmp.Or(bytes.Compare(t.hashes[a][:], t.hashes[b][:]), cmp.Compare(a, b))
	})
	t.first = make([]int32, len(t.ids))
	for i, at := range t.byHash {
		t.first[at] = at
		if i > 0 && t.hashes[at] == t.hashes[t.byHash[i-1]] {
			t.first[at] = t.first[t.byHash[i-1]]
		}
	}
	return t, nil
}

// of returns the positions of the images with a content, rising.
func (t *contents) of(h hashPrefix) []int32 {
	compare := func(at int32, h hashPrefix) int { return bytes.Compare(t.hashes[at][:], h[:]) }
	from, found := slices.BinarySearchFunc(t.byHash, h, compare)
	if !found {
		return nil
	}
	to := from
	for to < len(t.byHash) && t.hashes[t.byHash[to]] == h {
		to++
	}
	return t.byHash[from:to]
}

// firsts returns the first image of each content, rising.
func (t *contents) firsts() []int32 {
	var firsts []int32
	for at, first := range t.first {
		if int(first) == at {
			firsts = append(firsts, first)
		}
	}
	return firsts
}

// position finds an id; ok is false for one that came or went since.
func (t *contents) position(id dataset.ID) (at int32, ok bool) {
	i, ok := slices.BinarySearch(t.ids, id)
	return int32(i), ok
}

// distinct are neighbours with contents of their own: each is the first image of its content.
type distinct struct {
	at       int32
	distance float32
}

// crowd is how many times more neighbours than asked for are looked at where copies of one image fill the first places.
const crowd = 16

// distinctNeighbors returns the k nearest contents to an embedding other than own, which has so many copies.
func (c *Collection) distinctNeighbors(v *store.View, t *contents, embedding []float32, k int, own hashPrefix, copies int) ([]distinct, error) {
	var nearest []distinct
	for want := k + copies; ; want *= 4 {
		found, all, err := c.nearest(v, embedding, want, QueryOptions{K: want, Ef: c.options.EfSearch})
		if err != nil {
			return nil, err
		}
		nearest = t.distinct(found, k, own)
		if all || len(nearest) == k || want >= crowd*k+copies {
			return nearest, nil
		}
	}
}

// distinct returns at most k of the neighbours: the nearest of each content but own.
func (t *contents) distinct(found []index.Neighbor, k int, own hashPrefix) []distinct {
	var nearest []distinct
	seen := make(map[int32]bool, k)
	for _, n := range found {
		at, ok := t.position(n.ID)
		if !ok || t.hashes[at] == own {
			continue
		}
		if first := t.first[at]; !seen[first] {
			seen[first] = true
			if nearest = append(nearest, distinct{first, n.Distance}); len(nearest) == k {
				break
			}
		}
	}
	return nearest
}
