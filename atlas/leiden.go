package atlas

import (
	"context"
	"math"
	"math/rand/v2"
)

// leiden finds communities of high modularity in a graph by the Leiden algorithm (Traag, Waltman & van Eck 2019, "From
// Louvain to Leiden: guaranteeing well-connected communities", arXiv 1810.08473, algorithm A.2). The quality of a
// partition is the sum over its communities of (inner weight) - resolution * (strength)^2 / total, over the total: the
// modularity of Reichardt & Bornholdt (2006, arXiv cond-mat/0603718).
type leiden struct {
	resolution float64
	rng        *rand.Rand
	// plain leaves out the refinement: the Louvain algorithm (Blondel et al. 2008, arXiv 0803.0476), to compare with.
	plain bool
}

const (
	// randomness is the paper's theta, in units of the mean weight of a link: how willingly the refinement takes a
	// community that is not the best.
	randomness = 0.01
	// maxPasses bounds how often the algorithm is begun again with what it found. Few gain anything after the second.
	maxPasses = 10
	// lookEvery is the number of points that are moved between two looks at the context.
	lookEvery = 1 << 16
)

// communities returns a community for each point, numbered from 0 in the order of their first points, and the quality.
func (l *leiden) communities(ctx context.Context, g *links) (part []int32, n int, quality float64, err error) {
	part = singletons(g.points())
	n, quality = g.points(), math.Inf(-1)
	for range maxPasses {
		next := part
		if next, err = l.pass(ctx, g, next); err != nil {
			return nil, 0, 0, err
		}
		count := renumber(next)
		q := l.quality(g, next, count)
		if q <= quality*(1+1e-9) && !math.IsInf(quality, -1) {
			break
		}
		part, n, quality = next, count, q
	}
	return part, n, quality, nil
}

func singletons(n int) []int32 {
	part := make([]int32, n)
	for i := range part {
		part[i] = int32(i)
	}
	return part
}

// renumber gives communities the numbers 0, 1, … in the order of their first points, and returns how many there are.
func renumber(part []int32) int {
	numbers := make([]int32, len(part))
	n := int32(0)
	for i, c := range part {
		if numbers[c] == 0 {
			n++
			numbers[c] = n
		}
		part[i] = numbers[c] - 1
	}
	return int(n)
}

// quality is the modularity of a partition into n communities.
func (l *leiden) quality(g *links, part []int32, n int) float64 {
	if g.total == 0 {
		return 0
	}
	inner, strengths := 0.0, make([]float64, n)
	for v, c := range part {
		strengths[c] += g.strengths[v]
		to, weights := g.of(v)
		for i, u := range to {
			if part[u] == c {
				inner += float64(weights[i])
			}
		}
	}
	expected := 0.0
	for _, s := range strengths {
		expected += s * s
	}
	return (inner - l.resolution*expected/g.total) / g.total
}

// pass runs the algorithm once, from a partition on.
func (l *leiden) pass(ctx context.Context, base *links, start []int32) ([]int32, error) {
	g := base
	part := append([]int32(nil), start...)
	at := singletons(g.points()) // the point of g that each point of base has become a part of
	for {
		if err := l.move(ctx, g, part); err != nil {
			return nil, err
		}
		n := renumber(part)
		if n == g.points() {
			break
		}
		refined, count := part, n
		if !l.plain {
			refined = l.refine(g, part, n)
			if count = renumber(refined); count == g.points() {
				refined, count = part, n // nothing came together: put together what was moved
			}
		}
		smaller := make([]int32, count)
		for v, c := range refined {
			smaller[c] = part[v]
		}
		for i, v := range at {
			at[i] = refined[v]
		}
		g, part = g.together(refined, count), smaller
	}
	out := make([]int32, len(at))
	for i, v := range at {
		out[i] = part[v]
	}
	return out, nil
}

// move moves single points to the community that gains most, until none gains: the paper's MoveNodesFast. Communities of
// part are numbered below the number of points; it is changed in place.
func (l *leiden) move(ctx context.Context, g *links, part []int32) error {
	n := g.points()
	strengths, sizes := make([]float64, n), make([]int32, n)
	for v, c := range part {
		strengths[c] += g.strengths[v]
		sizes[c]++
	}
	var empty []int32
	for c := n - 1; c >= 0; c-- {
		if sizes[c] == 0 {
			empty = append(empty, int32(c))
		}
	}
	queue := make([]int32, n)
	for i, v := range l.rng.Perm(n) {
		queue[i] = int32(v)
	}
	waiting := make([]bool, n)
	for i := range waiting {
		waiting[i] = true
	}
	sum := newSums(n)
	factor := l.resolution / max(g.total, math.SmallestNonzeroFloat64)
	for taken, head, length := 0, 0, n; length > 0; taken++ {
		if taken%lookEvery == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		v := queue[head]
		head, length, waiting[v] = (head+1)%n, length-1, false
		from, strength := part[v], g.strengths[v]
		to, weights := g.of(int(v))
		for i, u := range to {
			sum.add(part[u], float64(weights[i]))
		}
		strengths[from] -= strength
		best, most := from, sum.of[from]-factor*strength*strengths[from]
		for _, c := range sum.seen {
			if gain := sum.of[c] - factor*strength*strengths[c]; gain > most {
				best, most = c, gain
			}
		}
		if most < 0 && sizes[from] > 1 && len(empty) > 0 {
			best = empty[len(empty)-1]
			empty = empty[:len(empty)-1]
		}
		sum.clear()
		strengths[best] += strength
		if best == from {
			continue
		}
		part[v] = best
		sizes[best]++
		if sizes[from]--; sizes[from] == 0 {
			empty = append(empty, from)
		}
		for _, u := range to {
			if part[u] != best && !waiting[u] {
				queue[(head+length)%n] = u
				length++
				waiting[u] = true
			}
		}
	}
	return nil
}

// refine cuts each of the n communities of part into well-connected ones: the paper's RefinePartition. Each point begins
// alone and may join one community, within its own of part, of those that lose nothing by it.
func (l *leiden) refine(g *links, part []int32, n int) []int32 {
	refined := singletons(g.points())
	strengths := append([]float64(nil), g.strengths...) // of refined communities
	whole := make([]float64, n)                         // of those of part
	outward := make([]float64, g.points())              // from a refined community to the rest of its own of part
	for v, c := range part {
		whole[c] += g.strengths[v]
		to, weights := g.of(v)
		for i, u := range to {
			if part[u] == c {
				outward[v] += float64(weights[i])
			}
		}
	}
	joined := make([]bool, g.points()) // the community has more than one point
	factor := l.resolution / max(g.total, math.SmallestNonzeroFloat64)
	theta := randomness * g.total / max(float64(len(g.at)), 1)
	members, first := byCommunity(part, n)
	sum := newSums(g.points())
	var candidates []int32
	var gains []float64
	for c := range n {
		own := members[first[c]:first[c+1]]
		l.rng.Shuffle(len(own), func(i, j int) { own[i], own[j] = own[j], own[i] })
		for _, v := range own {
			strength := g.strengths[v]
			if joined[v] || refined[v] != v || outward[v] < factor*strength*(whole[c]-strength) {
				continue
			}
			to, weights := g.of(int(v))
			inward := outward[v]
			for i, u := range to {
				if part[u] == int32(c) {
					sum.add(refined[u], float64(weights[i]))
				}
			}
			candidates, gains = append(candidates[:0], v), append(gains[:0], 0)
			for _, t := range sum.seen {
				gain := sum.of[t] - factor*strength*strengths[t]
				if gain >= 0 && outward[t] >= factor*strengths[t]*(whole[c]-strengths[t]) {
					candidates, gains = append(candidates, t), append(gains, gain)
				}
			}
			t := candidates[l.draw(gains, theta)]
			if t != v {
				refined[v] = t
				strengths[t] += strength
				joined[t] = true
				outward[t] += inward - 2*sum.of[t]
			}
			sum.clear()
		}
	}
	return refined
}

// draw picks one of the gains with a probability that is proportional to exp(gain / theta).
func (l *leiden) draw(gains []float64, theta float64) int {
	most := 0.0
	for _, gain := range gains {
		most = max(most, gain)
	}
	total := 0.0
	for i, gain := range gains {
		gains[i] = math.Exp((gain - most) / max(theta, math.SmallestNonzeroFloat64))
		total += gains[i]
	}
	point := l.rng.Float64() * total
	for i, share := range gains {
		if point -= share; point < 0 {
			return i
		}
	}
	return 0
}
