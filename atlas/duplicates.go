package atlas

import (
	"cmp"
	"slices"
)

// NearPair is two pictures, as positions in a list of the caller's, that are near-duplicates.
type NearPair struct {
	A, B int32
	Alignment
}

// DuplicateGroup is a picture to keep and the copies of it.
type DuplicateGroup struct {
	Keep   int32
	Copies []GroupedCopy
}

// GroupedCopy is a copy with how it lies on the picture that is kept.
type GroupedCopy struct {
	Position int32
	Alignment
}

// GroupDuplicates makes groups of near-duplicate pictures such that every copy is a near-duplicate of the one to keep
// itself, not only of another copy: a film whose pictures change little from one to the next does not become one group.
//
// Better orders pictures, the one to keep first, as cmp.Compare does. The best picture of all takes its partners in the
// pairs as copies, then, wherever align says that they lie on it within maxDifference, their partners too, and so on; the
// best of those left makes the next group. Align is called about once a pair. Groups come in the order of better, copies by
// rising difference.
func GroupDuplicates(pairs []NearPair, better func(a, b int32) int, maxDifference float64,
	align func(keep, other int32) (Alignment, error)) ([]DuplicateGroup, error) {
	partners := map[int32][]int32{}
	known := make(map[[2]int32]Alignment, len(pairs))
	for _, p := range pairs {
		partners[p.A] = append(partners[p.A], p.B)
		partners[p.B] = append(partners[p.B], p.A)
		known[[2]int32{p.A, p.B}] = p.Alignment
	}
	order := make([]int32, 0, len(partners))
	for position := range partners {
		order = append(order, position)
	}
	slices.SortFunc(order, func(a, b int32) int { return cmp.Or(better(a, b), cmp.Compare(a, b)) })

	var groups []DuplicateGroup
	taken := make(map[int32]bool, len(order))
	for _, keep := range order {
		if taken[keep] {
			continue
		}
		taken[keep] = true
		group := DuplicateGroup{Keep: keep}
		asked := map[int32]bool{keep: true}
		reached := []int32{keep}
		for len(reached) > 0 {
			from := reached[0]
			reached = reached[1:]
			for _, other := range partners[from] {
				if taken[other] || asked[other] {
					continue
				}
				asked[other] = true
				a, ok := known[[2]int32{keep, other}]
				if !ok {
					a, ok = known[[2]int32{other, keep}]
					a = a.inverted()
				}
				if !ok {
					var err error
					if a, err = align(keep, other); err != nil {
						return nil, err
					}
				}
				if a.Difference <= maxDifference {
					taken[other] = true
					group.Copies = append(group.Copies, GroupedCopy{other, a})
					reached = append(reached, other)
				}
			}
		}
		if len(group.Copies) > 0 {
			slices.SortStableFunc(group.Copies, func(a, b GroupedCopy) int {
				return cmp.Or(cmp.Compare(a.Difference, b.Difference), cmp.Compare(a.Position, b.Position))
			})
			groups = append(groups, group)
		}
	}
	return groups, nil
}

// inverted is the alignment seen from the other picture.
func (a Alignment) inverted() Alignment {
	if a.ScaleX == 0 || a.ScaleY == 0 {
		return a
	}
	b := a
	b.ScaleX, b.ScaleY = 1/a.ScaleX, 1/a.ScaleY
	b.ShiftX, b.ShiftY = -a.ShiftX*a.ScaleX, -a.ShiftY*a.ScaleY
	if a.Mirrored {
		b.ShiftX = -b.ShiftX
	}
	return b
}
