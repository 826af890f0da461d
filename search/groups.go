package search

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"imgsearch/atlas"
	"imgsearch/dataset"
	"imgsearch/index/hnsw"
	"imgsearch/internal/kernel"
	"imgsearch/store"
)

// GroupOptions say how groups are found. The zero value means the defaults.
type GroupOptions struct {
	// Resolution is that of atlas.GroupOptions; default 1. Larger values make more and smaller groups.
	Resolution float64
	// Count asks for about so many groups, whatever the resolution; 0 takes the resolution.
	Count int
	// K is the number of neighbours that an image may be linked with, at most 200. Default: 15, but no more than a tenth of
	// the images and no fewer than 3. More join what lies apart.
	K int
	// MinSize is the fewest images of a group: those of smaller ones fit nowhere. Default: a two-hundredth of the images,
	// but 2 to 5.
	MinSize int
	// Seed draws the order in which images are looked at.
	Seed uint64
	// Threads is the number of threads; 0 means all cores. The report does not depend on it.
	Threads int
	// OnProgress hears what is being done and how far it is; a total of 0 is unknown.
	OnProgress func(stage string, done, total int)
}

const (
	defaultGroupK = 15
	leastGroupK   = 3
	maxGroupK     = 200
	// nearGroups is how many other groups a Group names.
	nearGroups = 5
	// groupSlice is the number of images that are looked up between two looks at the context.
	groupSlice = 4096
	// copiesCrowd is how many times more neighbours than wanted are looked at where copies fill the first places.
	copiesCrowd = 16
)

// GroupReport is what Groups found.
type GroupReport struct {
	// Images is the number of images in the collection, Labelled that of those with a label, Labels that of labels.
	Images   int `json:"images"`
	Labelled int `json:"labelled"`
	Labels   int `json:"labels"`
	// K is the number of neighbours that each image could be linked with.
	K int `json:"k"`
	// Resolution, Modularity and Agreement are those of atlas.Grouping.
	Resolution float64 `json:"resolution"`
	Modularity float64 `json:"modularity"`
	Agreement  float64 `json:"agreement"`
	// Purity is the share of grouped images that have the commonest label of their group, MutualInformation what groups
	// and labels tell of each other (atlas.MutualInformation). Both are nil where there are not at least two labels.
	Purity            *float64 `json:"purity,omitempty"`
	MutualInformation *float64 `json:"nmi,omitempty"`
	// Groups are by falling size.
	Groups []Group `json:"groups"`
	// Nowhere are the images that fit nowhere, those first whose nearest neighbour is farthest.
	Nowhere []LonelyImage `json:"nowhere"`
}

// Group is a group of images that the encoder sees together.
type Group struct {
	// Group counts from 1.
	Group int `json:"group"`
	Size  int `json:"size"`
	// Medoid is the image with the smallest mean squared distance to all others.
	Medoid GroupImage `json:"medoid"`
	// Tightness is that of atlas.GroupSummary.
	Tightness float64 `json:"tightness"`
	// Labels are the labels of the images, commonest first.
	Labels []LabelCount `json:"labels"`
	// Nearest are other groups by rising distance of the means, at most five.
	Nearest []NearGroup `json:"nearest"`
	// Members are all images of the group by rising distance to the medoid, which is the first.
	Members []GroupMember `json:"members"`
}

// GroupImage is an image of the collection.
type GroupImage struct {
	ID     dataset.ID    `json:"id"`
	Source string        `json:"source"`
	Label  dataset.Label `json:"label"`
}

// LabelCount is a label and the number of images that have it.
type LabelCount struct {
	Label dataset.Label `json:"label"`
	Count int           `json:"count"`
}

// NearGroup is another group and the distance between the means of the two.
type NearGroup struct {
	Group    int     `json:"group"`
	Distance float32 `json:"distance"`
}

// GroupMember is an image of a group.
type GroupMember struct {
	ID dataset.ID `json:"id"`
	// Distance is that to the medoid, Fit that of atlas.Grouping.
	Distance float32 `json:"distance"`
	Fit      float32 `json:"fit"`
}

// LonelyImage is an image that fits nowhere, and the distance to the nearest that is not its copy; 0 where there is none.
type LonelyImage struct {
	ID       dataset.ID `json:"id"`
	Distance float32    `json:"distance"`
}

// Groups finds the groups that the encoder sees: see [atlas.FindGroups]. Neighbours come from the collection's graph; a
// stale one is made up to date first, in memory only. Images with equal embeddings count as one and share a group. Labels
// choose nothing: groups are only described by them.
//
// It takes some 600 bytes an image at the default K beside a copy of the embeddings and the graph. The errors to test for:
// ErrOptions, ErrLocked, ErrCorrupt. An empty collection gives an empty report.
func (c *Collection) Groups(ctx context.Context, o GroupOptions) (*GroupReport, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	if o.OnProgress == nil {
		o.OnProgress = func(string, int, int) {}
	}
	g := &grouping{c: c, options: o, report: &GroupReport{Groups: []Group{}, Nowhere: []LonelyImage{}}}
	if err := g.read(ctx); err != nil {
		return nil, err
	}
	if len(g.ids) == 0 {
		return g.report, nil
	}
	g.tellCopies()
	if err := g.findNeighbors(ctx); err != nil {
		return nil, err
	}
	o.OnProgress("grouping", len(g.ids), 0)
	found, err := atlas.FindGroups(ctx, g.neighbors, g.k, atlas.GroupOptions{
		Resolution: o.Resolution, Count: o.Count, MinSize: o.MinSize, Copies: g.copies, Seed: o.Seed, Threads: o.Threads,
	})
	if err != nil {
		return nil, err
	}
	return g.report, g.describe(ctx, found)
}

func (o GroupOptions) validate() error {
	switch {
	case o.K < 0 || o.K > maxGroupK:
		return fmt.Errorf("%w: K %d: must be 0 to %d", ErrOptions, o.K, maxGroupK)
	case !(o.Resolution == 0 || o.Resolution >= 1e-4 && o.Resolution <= 1e6):
		return fmt.Errorf("%w: Resolution %v: must be 0.0001 to 1,000,000", ErrOptions, o.Resolution)
	case o.Count < 0:
		return fmt.Errorf("%w: Count %d: must not be negative", ErrOptions, o.Count)
	case o.MinSize < 0:
		return fmt.Errorf("%w: MinSize %d: must not be negative", ErrOptions, o.MinSize)
	case o.Threads < 0 || o.Threads > 4096:
		return fmt.Errorf("%w: Threads %d: must be 0 to 4096", ErrOptions, o.Threads)
	}
	return nil
}

// grouping is one call of Groups.
type grouping struct {
	c       *Collection
	options GroupOptions
	report  *GroupReport

	content *content
	graph   *hnsw.Graph
	ids     []dataset.ID // rising; what follows goes by their positions
	classes []int32      // -1: no label
	labels  []dataset.Label

	// Images with equal embeddings are one point: that of an image is point[position], its first image first[point].
	point, first, copies []int32
	k                    int
	neighbors            []int32   // [points, k] points, -1 where there are fewer
	nearest              []float32 // distance of each point's nearest
}

// read copies what the groups are found in.
func (g *grouping) read(ctx context.Context) error {
	var err error
	g.graph, g.content, err = g.c.freshGraph(ctx, g.options.Threads, func(done, total int) {
		if total > 0 {
			g.options.OnProgress("linking", done, total)
		}
	})
	if err != nil {
		return err
	}
	for id := range g.content.ids.All() {
		g.ids = append(g.ids, id)
	}
	g.classes = slices.Repeat([]int32{-1}, len(g.ids))
	numbers := map[dataset.Label]int32{}
	for r, err := range g.c.Records(ctx) {
		if err != nil {
			return err
		}
		at, ok := slices.BinarySearch(g.ids, r.ID)
		if !ok || r.Label == "" {
			continue
		}
		number, known := numbers[r.Label]
		if !known {
			number = int32(len(g.labels))
			numbers[r.Label] = number
			g.labels = append(g.labels, r.Label)
		}
		g.classes[at] = number
		g.report.Labelled++
	}
	g.report.Images, g.report.Labels = len(g.ids), len(g.labels)
	return nil
}

// row returns the embedding of an image, by its position.
func (g *grouping) row(at int) []float32 {
	id, dim := g.ids[at], g.c.dim
	from := int(id%store.ChunkRows) * dim
	return g.content.chunks[id/store.ChunkRows][from : from+dim : from+dim]
}

// tellCopies makes one point of images with equal embeddings.
func (g *grouping) tellCopies() {
	order := make([]int32, len(g.ids))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int {
		return cmp.Or(slices.Compare(g.row(int(a)), g.row(int(b))), cmp.Compare(a, b))
	})
	g.point = make([]int32, len(g.ids))
	for i, at := range order {
		g.point[at] = at
		if i > 0 && slices.Equal(g.row(int(at)), g.row(int(order[i-1]))) {
			g.point[at] = g.point[order[i-1]]
		}
	}
	for at, first := range g.point {
		if int(first) == at {
			g.first = append(g.first, first)
			g.copies = append(g.copies, 0)
			g.point[at] = int32(len(g.first) - 1)
		} else {
			g.point[at] = g.point[first]
		}
		g.copies[g.point[at]]++
	}
}

// findNeighbors looks up the nearest points of each.
func (g *grouping) findNeighbors(ctx context.Context) error {
	points := len(g.first)
	if g.k = g.options.K; g.k == 0 {
		g.k = min(defaultGroupK, max(leastGroupK, points/10))
	}
	g.k = min(g.k, points-1)
	g.report.K = g.k
	g.neighbors = slices.Repeat([]int32{-1}, points*g.k)
	g.nearest = make([]float32, points)
	if g.k == 0 {
		return nil
	}
	for from := 0; from < points; from += groupSlice {
		if err := ctx.Err(); err != nil {
			return err
		}
		to := min(from+groupSlice, points)
		errs := make([]error, to-from)
		kernel.Parallel(g.options.Threads, to-from, func(i int) { errs[i] = g.lookUp(from + i) })
		if err := firstError(errs); err != nil {
			return asCorrupt(err)
		}
		g.options.OnProgress("searching", to, points)
	}
	return nil
}

// lookUp finds the k nearest other points of one.
func (g *grouping) lookUp(p int) error {
	own := g.neighbors[p*g.k : p*g.k : (p+1)*g.k]
	for want := g.k + int(g.copies[p]); ; want *= 4 {
		found, err := g.graph.SearchEf(g.row(int(g.first[p])), want, max(want, g.c.options.EfSearch))
		if err != nil {
			return err
		}
		own = own[:0]
		for _, n := range found {
			at, ok := slices.BinarySearch(g.ids, n.ID)
			if !ok || int(g.point[at]) == p || slices.Contains(own, g.point[at]) {
				continue
			}
			if len(own) == 0 {
				g.nearest[p] = n.Distance
			}
			if own = append(own, g.point[at]); len(own) == g.k {
				return nil
			}
		}
		if len(found) < want || want >= copiesCrowd*g.k+int(g.copies[p]) {
			return nil
		}
	}
}

// describe makes the report of what was found.
func (g *grouping) describe(ctx context.Context, found *atlas.Grouping) error {
	r := g.report
	r.Resolution, r.Modularity, r.Agreement = found.Resolution, found.Modularity, found.Agreement
	of := make([]int32, len(g.ids))
	for at, p := range g.point {
		of[at] = found.Of[p]
	}
	if len(g.labels) > 1 {
		purity, information := atlas.Purity(of, g.classes), atlas.MutualInformation(of, g.classes)
		r.Purity, r.MutualInformation = &purity, &information
	}
	summaries := atlas.DescribeGroups(of, len(found.Sizes), g.row, g.c.dim, g.c.metric, nearGroups, g.options.Threads)
	for number, s := range summaries {
		medoid, err := g.c.Record(ctx, g.ids[s.Members[0]])
		if err != nil {
			return err
		}
		group := Group{
			Group: number + 1, Size: len(s.Members), Tightness: s.Tightness, Labels: g.mix(s.Members), Nearest: []NearGroup{},
			Medoid: GroupImage{medoid.ID, medoid.Source, medoid.Label},
		}
		for _, near := range s.Nearest {
			group.Nearest = append(group.Nearest, NearGroup{near.Group + 1, near.Distance})
		}
		group.Members = make([]GroupMember, len(s.Members))
		for i, at := range s.Members {
			group.Members[i] = GroupMember{g.ids[at], s.Distances[i], found.Fit[g.point[at]]}
		}
		r.Groups = append(r.Groups, group)
	}
	for at, c := range of {
		if c < 0 {
			r.Nowhere = append(r.Nowhere, LonelyImage{g.ids[at], g.nearest[g.point[at]]})
		}
	}
	slices.SortFunc(r.Nowhere, func(a, b LonelyImage) int {
		return cmp.Or(cmp.Compare(b.Distance, a.Distance), cmp.Compare(a.ID, b.ID))
	})
	return nil
}

// mix counts the labels of some images.
func (g *grouping) mix(members []int32) []LabelCount {
	counts := map[int32]int{}
	for _, at := range members {
		if g.classes[at] >= 0 {
			counts[g.classes[at]]++
		}
	}
	mix := []LabelCount{}
	for class, n := range counts {
		mix = append(mix, LabelCount{g.labels[class], n})
	}
	slices.SortFunc(mix, func(a, b LabelCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Label, b.Label))
	})
	return mix
}
