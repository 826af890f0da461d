package atlas

import (
	"slices"

	"imgsearch/internal/kernel"
)

// links is an undirected graph with weights, as compressed rows: the neighbours of point i are at[rows[i]:rows[i+1]] with
// the weights beside them. No point is its own neighbour; what a point is linked with itself, once points were put
// together, is a part of its strength only.
type links struct {
	rows    []int
	at      []int32
	weights []float32
	// strengths are the sums of each point's weights, total is their sum: twice the weight of all links.
	strengths []float64
	total     float64
	// mutual tells which points are among the nearest of one of their own nearest; it is nil once points were put together.
	mutual []bool
}

func (g *links) points() int { return len(g.rows) - 1 }

// of returns the neighbours of a point and the weights of the links to them.
func (g *links) of(i int) ([]int32, []float32) {
	from, to := g.rows[i], g.rows[i+1]
	return g.at[from:to], g.weights[from:to]
}

// newLinks links points of which one is among the other's k nearest. The weight is the share of neighbours that the two
// have in common, each counted as its own neighbour: that of the intersection in the union of the two lists (Levine et
// al. 2015, "Data-driven phenotypic dissection of AML reveals progenitor-like cells that correlate with prognosis"). What other graphs
// gave is in docs/groups.md.
//
// Neighbours is [n, k] positions, -1 where there are fewer.
func newLinks(neighbors []int32, n, k, threads int) *links {
	// The closed neighbourhood of each point, rising.
	closed := make([]int32, n*(k+1))
	counts := make([]int, n)
	kernel.Parallel(threads, n, func(i int) {
		own := append(closed[i*(k+1):i*(k+1):(i+1)*(k+1)], int32(i))
		for _, j := range neighbors[i*k : (i+1)*k] {
			if j >= 0 && int(j) != i {
				own = append(own, j)
			}
		}
		slices.Sort(own)
		counts[i] = len(slices.Compact(own))
	})
	near := func(i int) []int32 { return closed[i*(k+1):][:counts[i]] }
	// Those that have a point in theirs, rising too, the point itself among them.
	first := make([]int, n+1)
	for i := range n {
		for _, j := range near(i) {
			first[j+1]++
		}
	}
	for i := range n {
		first[i+1] += first[i]
	}
	back, next := make([]int32, first[n]), slices.Clone(first)
	for i := range n {
		for _, j := range near(i) {
			back[next[j]] = int32(i)
			next[j]++
		}
	}
	g := &links{rows: make([]int, n+1), strengths: make([]float64, n), mutual: make([]bool, n)}
	kernel.Parallel(threads, n, func(i int) {
		both := shared(near(i), back[first[i]:first[i+1]])
		g.mutual[i] = both > 1
		g.rows[i+1] = counts[i] + first[i+1] - first[i] - both - 1
	})
	for i := range n {
		g.rows[i+1] += g.rows[i]
	}
	g.at, g.weights = make([]int32, g.rows[n]), make([]float32, g.rows[n])
	kernel.Parallel(threads, n, func(i int) {
		at := g.rows[i]
		a, b := near(i), back[first[i]:first[i+1]]
		for len(a)+len(b) > 0 {
			var j int32
			switch {
			case len(b) == 0 || len(a) > 0 && a[0] < b[0]:
				j, a = a[0], a[1:]
			case len(a) == 0 || b[0] < a[0]:
				j, b = b[0], b[1:]
			default:
				j, a, b = a[0], a[1:], b[1:]
			}
			if int(j) == i {
				continue
			}
			both := shared(near(i), near(int(j)))
			g.at[at] = j
			g.weights[at] = float32(both) / float32(counts[i]+counts[j]-both)
			g.strengths[i] += float64(g.weights[at])
			at++
		}
	})
	g.addUp()
	return g
}

// addUp sums the strengths.
func (g *links) addUp() {
	g.total = 0
	for _, s := range g.strengths {
		g.total += s
	}
}

// shared counts the values that are in both of two rising lists.
func shared(a, b []int32) int {
	count := 0
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case a[i] < b[j]:
			i++
		case a[i] > b[j]:
			j++
		default:
			count, i, j = count+1, i+1, j+1
		}
	}
	return count
}

// together returns the graph whose points are the communities of part, numbered from 0 to n-1: links between members of
// two of them become one.
func (g *links) together(part []int32, n int) *links {
	members, first := byCommunity(part, n)
	out := &links{rows: make([]int, n+1), strengths: make([]float64, n), total: g.total}
	sum := newSums(n)
	for c := range n {
		for _, v := range members[first[c]:first[c+1]] {
			out.strengths[c] += g.strengths[v]
			to, weights := g.of(int(v))
			for i, u := range to {
				if part[u] != int32(c) {
					sum.add(part[u], float64(weights[i]))
				}
			}
		}
		for _, d := range sum.seen {
			out.at = append(out.at, d)
			out.weights = append(out.weights, float32(sum.of[d]))
		}
		sum.clear()
		out.rows[c+1] = len(out.at)
	}
	return out
}

// byCommunity lists the points of each of n communities, rising: those of c are members[first[c]:first[c+1]].
func byCommunity(part []int32, n int) (members []int32, first []int) {
	first = make([]int, n+1)
	for _, c := range part {
		first[c+1]++
	}
	for c := range n {
		first[c+1] += first[c]
	}
	members = make([]int32, len(part))
	next := slices.Clone(first)
	for v, c := range part {
		members[next[c]] = int32(v)
		next[c]++
	}
	return members, first
}

// sums adds up values under a few of many numbers.
type sums struct {
	of   []float64
	has  []bool
	seen []int32
}

func newSums(n int) *sums { return &sums{of: make([]float64, n), has: make([]bool, n)} }

func (s *sums) add(at int32, value float64) {
	if !s.has[at] {
		s.has[at] = true
		s.seen = append(s.seen, at)
	}
	s.of[at] += value
}

func (s *sums) clear() {
	for _, at := range s.seen {
		s.of[at], s.has[at] = 0, false
	}
	s.seen = s.seen[:0]
}
