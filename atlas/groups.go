package atlas

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"imgsearch/index"
	"imgsearch/internal/kernel"
)

// GroupOptions say how groups are found. The zero value is usable.
type GroupOptions struct {
	// Resolution is how strongly a group must be linked within itself; default 1. Larger values make more and smaller
	// groups.
	Resolution float64
	// Count asks for about so many groups: the resolution is looked for, Resolution being where the search begins. 0 takes
	// Resolution as it is.
	Count int
	// MinSize is the fewest images of a group: those of smaller ones fit nowhere. Default: a two-hundredth of the images,
	// but 2 to 5.
	MinSize int
	// Copies holds how many images each point stands for. Nil stands for one each.
	Copies []int32
	// Runs is how often groups are looked for, each time in another order, of which the best are taken; default 4.
	Runs int
	// Seed draws the orders.
	Seed uint64
	// Threads is the number of threads; default all cores. The groups do not depend on it.
	Threads int
}

// maxCountRuns bounds the search for a resolution, and resolutionStep is by how much it changes until the wanted number
// lies between two.
const (
	maxCountRuns   = 16
	resolutionStep = 4
	minResolution  = 1e-4
	maxResolution  = 1e6
	maxRuns        = 1000
)

func (o GroupOptions) withDefaults(images int) (GroupOptions, error) {
	setDefault(&o.Resolution, 1)
	setDefault(&o.MinSize, min(max(images/200, 2), 5))
	setDefault(&o.Runs, 4)
	switch {
	case !(o.Resolution >= minResolution && o.Resolution <= maxResolution):
		return o, fmt.Errorf("%w: Resolution is %v, %v to %v is possible", ErrOption, o.Resolution, minResolution, float64(maxResolution))
	case o.Count < 0:
		return o, fmt.Errorf("%w: Count is %d, at least 0 is needed", ErrOption, o.Count)
	case o.MinSize < 1:
		return o, fmt.Errorf("%w: MinSize is %d, at least 1 is needed", ErrOption, o.MinSize)
	case o.Runs < 1 || o.Runs > maxRuns:
		return o, fmt.Errorf("%w: Runs is %d, 1 to %d is possible", ErrOption, o.Runs, maxRuns)
	}
	return o, nil
}

// Grouping is a division of points into groups.
type Grouping struct {
	// Of is the group of each point, 0 being the largest, -1 where a point fits nowhere.
	Of []int32
	// Fit is the share of each point's links, by weight, that lead into its own group; 0 where it fits nowhere.
	Fit []float32
	// Sizes are the numbers of images of the groups, falling.
	Sizes []int
	// Resolution is what the groups were found at, Modularity how much more weight lies within them than by chance, at
	// resolution 1: 0 to 1.
	Resolution, Modularity float64
	// Agreement is how well the groups of the other runs agree with these, on the average (AdjustedRand); 1 for one run.
	Agreement float64
}

// FindGroups finds the groups that lists of neighbours make: communities of high modularity (Traag et al. 2019, arXiv
// 1810.08473) in the graph of nearest neighbours, where points are linked the more strongly the more neighbours they have
// in common. A point that none of its own nearest has among its nearest fits nowhere, and so do those of groups that are
// too small.
//
// Neighbors is [n, k]: the positions of each point's nearest, in any order, -1 where there are fewer. Equal input and
// options give equal groups, whatever the number of threads. It takes some 32k bytes a point. When ctx ends, its error is
// returned.
func FindGroups(ctx context.Context, neighbors []int32, k int, options GroupOptions) (*Grouping, error) {
	if k < 0 || k == 0 && len(neighbors) > 0 || k > 0 && len(neighbors)%k != 0 {
		return nil, fmt.Errorf("%w: %d neighbours in lists of %d", ErrNeighbors, len(neighbors), k)
	}
	n := len(options.Copies)
	if k > 0 {
		n = len(neighbors) / k
	}
	if options.Copies != nil && len(options.Copies) != n {
		return nil, fmt.Errorf("%w: Copies of %d points, there are %d", ErrOption, len(options.Copies), n)
	}
	images := n
	if options.Copies != nil {
		images = 0
		for _, copies := range options.Copies {
			images += int(copies)
		}
	}
	o, err := options.withDefaults(images)
	if err != nil {
		return nil, err
	}
	for i, j := range neighbors {
		if j < -1 || int(j) >= n {
			return nil, fmt.Errorf("%w: point %d has the neighbour %d, there are %d points", ErrNeighbors, i/k, j, n)
		}
	}
	f := &finder{GroupOptions: o, links: newLinks(neighbors, n, k, o.Threads)}
	if err := f.searchResolution(ctx); err != nil {
		return nil, err
	}
	return f.best(ctx)
}

// finder is one search for groups.
type finder struct {
	GroupOptions
	links *links
}

// found is what one run gave: the groups of at least MinSize images, by falling size, and the quality of all communities.
type found struct {
	of      []int32
	sizes   []int
	quality float64
}

// run looks for groups at a resolution.
func (f *finder) run(ctx context.Context, resolution float64, number int) (*found, error) {
	l := &leiden{resolution: resolution, rng: rand.New(rand.NewPCG(f.Seed, uint64(number)))}
	part, n, quality, err := l.communities(ctx, f.links)
	if err != nil {
		return nil, err
	}
	sizes := make([]int, n)
	for v, c := range part {
		if !f.lonely(v) {
			sizes[c] += f.copies(v)
		}
	}
	var kept []int32
	for c := range sizes {
		if sizes[c] >= f.MinSize {
			kept = append(kept, int32(c))
		}
	}
	// Communities are numbered by their first points, which order equal sizes.
	slices.SortStableFunc(kept, func(a, b int32) int { return cmp.Compare(sizes[b], sizes[a]) })
	out := &found{of: part, quality: quality}
	numbers := slices.Repeat([]int32{-1}, n)
	for number, c := range kept {
		numbers[c] = int32(number)
		out.sizes = append(out.sizes, sizes[c])
	}
	for v, c := range part {
		if out.of[v] = numbers[c]; f.lonely(v) {
			out.of[v] = -1
		}
	}
	return out, nil
}

// lonely reports whether none of a point's nearest has it among its own. Copies have each other.
func (f *finder) lonely(v int) bool { return !f.links.mutual[v] && f.copies(v) == 1 }

func (f *finder) copies(v int) int {
	if f.Copies == nil {
		return 1
	}
	return int(f.Copies[v])
}

// searchResolution looks for the resolution that gives Count groups: in steps until it lies between two, then between them.
func (f *finder) searchResolution(ctx context.Context) error {
	if f.Count == 0 {
		return nil
	}
	best, nearest := f.Resolution, math.MaxInt
	low, high := 0.0, math.Inf(1)
	for at, runs := f.Resolution, 0; runs < maxCountRuns && at >= minResolution && at <= maxResolution; runs++ {
		run, err := f.run(ctx, at, 0)
		if err != nil {
			return err
		}
		off := len(run.sizes) - f.Count
		if max(off, -off) < nearest {
			best, nearest = at, max(off, -off)
		}
		switch {
		case off == 0:
			f.Resolution = best
			return nil
		case off < 0:
			low = at
		default:
			high = at
		}
		switch {
		case math.IsInf(high, 1):
			at *= resolutionStep
		case low == 0:
			at /= resolutionStep
		default:
			at = math.Sqrt(low * high)
		}
	}
	f.Resolution = best
	return nil
}

// best runs several times and takes the groups of the highest quality, or nearest to the wanted number.
func (f *finder) best(ctx context.Context) (*Grouping, error) {
	runs := make([]*found, f.Runs)
	errs := make([]error, f.Runs)
	kernel.Parallel(f.Threads, f.Runs, func(i int) { runs[i], errs[i] = f.run(ctx, f.Resolution, i) })
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	off := func(r *found) int {
		if f.Count == 0 {
			return 0
		}
		return max(len(r.sizes)-f.Count, f.Count-len(r.sizes))
	}
	best := slices.MinFunc(runs, func(a, b *found) int {
		return cmp.Or(cmp.Compare(off(a), off(b)), cmp.Compare(b.quality, a.quality))
	})
	g := &Grouping{Of: best.of, Sizes: best.sizes, Resolution: f.Resolution, Agreement: 1, Fit: make([]float32, len(best.of))}
	if f.Runs > 1 {
		g.Agreement = 0
		for _, r := range runs {
			if r != best {
				g.Agreement += AdjustedRand(best.of, r.of) / float64(f.Runs-1)
			}
		}
	}
	f.measure(g)
	return g, nil
}

// measure sums up what links lead into the groups.
func (f *finder) measure(g *Grouping) {
	strengths := make([]float64, len(g.Sizes))
	inner, expected := 0.0, 0.0
	for v, c := range g.Of {
		if c < 0 {
			continue
		}
		strengths[c] += f.links.strengths[v]
		own := 0.0
		to, weights := f.links.of(v)
		for i, u := range to {
			if g.Of[u] == c {
				own += float64(weights[i])
			}
		}
		inner += own
		if g.Fit[v] = 1; f.links.strengths[v] > 0 { // a point without links stands for copies that are a group
			g.Fit[v] = float32(own / f.links.strengths[v])
		}
	}
	if f.links.total > 0 {
		for _, s := range strengths {
			expected += s / f.links.total * s / f.links.total
		}
		g.Modularity = inner/f.links.total - expected
	}
}

// GroupSummary describes a group by its embeddings.
type GroupSummary struct {
	// Members are the positions of the images, by rising distance to the first, the medoid: the member with the smallest
	// mean squared distance to all others. Distances are theirs.
	Members   []int32
	Distances []float32
	// Tightness is 1 less the mean squared distance between two members over that between any two images: 1 where all are
	// equal, 0 where they are as far from each other as images are anyway.
	Tightness float64
	// Nearest are other groups by rising distance.
	Nearest []NearGroup
}

// NearGroup is another group and the distance between the means of the two.
type NearGroup struct {
	Group    int
	Distance float32
}

// DescribeGroups describes each of n groups: of holds the group of each image, -1 for none, and row returns the image's
// embedding, for the cosine distance one of length 1. At most nearest other groups are named for each.
func DescribeGroups(of []int32, n int, row func(i int) []float32, dim int, metric index.Metric, nearest, threads int) []GroupSummary {
	inside := make([]int32, 0, len(of))
	part := make([]int32, 0, len(of))
	for i, c := range of {
		if c >= 0 {
			inside, part = append(inside, int32(i)), append(part, c)
		}
	}
	members, first := byCommunity(part, n)
	for i, at := range members {
		members[i] = inside[at]
	}
	everything := make([]int32, len(of))
	for i := range everything {
		everything[i] = int32(i)
	}
	_, whole := meanAndSpread(everything, row, dim)
	means := make([][]float64, n)
	out := make([]GroupSummary, n)
	kernel.Parallel(threads, n, func(c int) {
		own := members[first[c]:first[c+1]:first[c+1]]
		mean, within := meanAndSpread(own, row, dim)
		means[c] = mean
		out[c] = GroupSummary{Members: own, Tightness: 1}
		if whole > 0 {
			out[c].Tightness = 1 - within/whole
		}
		out[c].order(mean, row, metric)
	})
	kernel.Parallel(threads, n, func(c int) {
		for other := range n {
			if other != c {
				out[c].Nearest = append(out[c].Nearest, NearGroup{other, meansDistance(metric, means[c], means[other])})
			}
		}
		slices.SortFunc(out[c].Nearest, func(a, b NearGroup) int {
			return cmp.Or(cmp.Compare(a.Distance, b.Distance), cmp.Compare(a.Group, b.Group))
		})
		out[c].Nearest = slices.Clone(out[c].Nearest[:min(nearest, len(out[c].Nearest))])
	})
	return out
}

// meanAndSpread returns the mean of some embeddings and the mean squared distance between two of them.
func meanAndSpread(members []int32, row func(i int) []float32, dim int) (mean []float64, squared float64) {
	mean = make([]float64, dim)
	for _, i := range members {
		for d, v := range row(int(i)) {
			mean[d] += float64(v)
		}
	}
	for d := range mean {
		mean[d] /= float64(max(len(members), 1))
	}
	for _, i := range members {
		for d, v := range row(int(i)) {
			squared += (float64(v) - mean[d]) * (float64(v) - mean[d])
		}
	}
	return mean, 2 * squared / float64(max(len(members)-1, 1))
}

// order puts the medoid first and the other members behind it, nearest first.
func (s *GroupSummary) order(mean []float64, row func(i int) []float32, metric index.Metric) {
	medoid, least := int32(0), math.Inf(1)
	for _, i := range s.Members {
		squared := 0.0
		for d, v := range row(int(i)) {
			squared += (float64(v) - mean[d]) * (float64(v) - mean[d])
		}
		if squared < least {
			medoid, least = i, squared
		}
	}
	type member struct {
		at       int32
		distance float32
	}
	all := make([]member, len(s.Members))
	for i, at := range s.Members {
		all[i] = member{at, index.FromSquaredL2(metric, kernel.SquaredL2(row(int(medoid)), row(int(at))))}
	}
	slices.SortFunc(all, func(a, b member) int {
		switch {
		case a.at == medoid:
			return -1
		case b.at == medoid:
			return 1
		}
		return cmp.Or(cmp.Compare(a.distance, b.distance), cmp.Compare(a.at, b.at))
	})
	s.Distances = make([]float32, len(all))
	for i, m := range all {
		s.Members[i], s.Distances[i] = m.at, m.distance
	}
}

func meansDistance(metric index.Metric, a, b []float64) float32 {
	var dot, aa, bb float64
	for d := range a {
		dot += a[d] * b[d]
		aa += a[d] * a[d]
		bb += b[d] * b[d]
	}
	if metric == index.Cosine {
		if aa == 0 || bb == 0 {
			return 1
		}
		return float32(max(1-dot/math.Sqrt(aa*bb), 0))
	}
	return float32(math.Sqrt(max(aa+bb-2*dot, 0)))
}
