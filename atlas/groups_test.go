package atlas

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"imgsearch/dataset"
	"imgsearch/index"
)

// nearestOf returns the k nearest of points, by looking at all.
func nearestOf(points []float32, dim, k int) []int32 {
	n := len(points) / dim
	out := slices.Repeat([]int32{-1}, n*k)
	for i := range n {
		order := make([]int32, 0, n)
		for j := range n {
			if j != i {
				order = append(order, int32(j))
			}
		}
		squared := func(j int32) (s float64) {
			for d := range dim {
				v := float64(points[i*dim+d] - points[int(j)*dim+d])
				s += v * v
			}
			return s
		}
		slices.SortStableFunc(order, func(a, b int32) int {
			switch da, db := squared(a), squared(b); {
			case da < db:
				return -1
			case da > db:
				return 1
			}
			return 0
		})
		copy(out[i*k:(i+1)*k], order)
	}
	return out
}

// blobs are points around centres that lie far from each other, of the sizes given.
func blobs(seed uint64, dim int, sizes ...int) (points []float32, of []int32) {
	rng := rand.New(rand.NewPCG(seed, 3))
	for c, size := range sizes {
		for range size {
			for d := range dim {
				v := rng.NormFloat64()
				if d == c%dim {
					v += float64(20 * (1 + c/dim))
				}
				points = append(points, float32(v))
			}
			of = append(of, int32(c))
		}
	}
	return points, of
}

func TestFindGroupsOfBlobs(t *testing.T) {
	points, want := blobs(1, 6, 90, 70, 50, 40, 30, 3)
	k := 8
	neighbors := nearestOf(points, 6, k)
	// The last three are linked only with each other, if their lists do not reach the others.
	for i := len(want) - 3; i < len(want); i++ {
		for j := range neighbors[i*k : (i+1)*k] {
			if neighbors[i*k+j] < int32(len(want)-3) {
				neighbors[i*k+j] = -1
			}
		}
	}
	g, err := FindGroups(context.Background(), neighbors, k, GroupOptions{MinSize: 5, Resolution: 0.2})
	if err != nil {
		t.Fatal(err)
	}
	if len(g.Sizes) != 5 || !slices.IsSortedFunc(g.Sizes, func(a, b int) int { return b - a }) {
		t.Fatalf("sizes %v", g.Sizes)
	}
	lonely := 0
	for i, c := range g.Of {
		if c == -1 && want[i] < 5 {
			lonely++ // at the rim, nobody's neighbour
			continue
		}
		if c != want[i] && want[i] < 5 || want[i] == 5 && c != -1 {
			t.Errorf("point %d of blob %d is in group %d", i, want[i], c)
		}
		if fit := g.Fit[i]; want[i] < 5 && !(fit > 0.5) || want[i] == 5 && fit != 0 {
			t.Errorf("point %d fits its group by %v", i, fit)
		}
	}
	if lonely > len(want)/20 {
		t.Errorf("%d points of blobs fit nowhere", lonely)
	}
	if !(g.Modularity > 0.6 && g.Modularity < 1) || g.Agreement < 0.999 || g.Resolution != 0.2 {
		t.Errorf("modularity %v, agreement %v, resolution %v", g.Modularity, g.Agreement, g.Resolution)
	}
}

func TestFindGroupsCount(t *testing.T) {
	points, _ := blobs(2, 4, 60, 60, 60, 60)
	neighbors := nearestOf(points, 4, 10)
	for _, count := range []int{1, 2, 4, 8, 12} {
		g, err := FindGroups(context.Background(), neighbors, 10, GroupOptions{Count: count})
		if err != nil {
			t.Fatal(err)
		}
		// Blobs are not linked with each other: there cannot be fewer.
		if want := max(count, 4); max(len(g.Sizes)-want, want-len(g.Sizes)) > want/4 {
			t.Errorf("asked for %d groups, got %d", count, len(g.Sizes))
		}
	}
}

// TestFindGroupsRepeats holds equal seeds to equal groups on any number of threads.
func TestFindGroupsRepeats(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	points := make([]float32, 700*3)
	for i := range points {
		points[i] = rng.Float32()
	}
	neighbors := nearestOf(points, 3, 7)
	var first *Grouping
	for _, threads := range []int{1, 2, 3, 8} {
		g, err := FindGroups(context.Background(), neighbors, 7, GroupOptions{Threads: threads, Seed: 9})
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = g
		} else if !reflect.DeepEqual(first, g) {
			t.Errorf("%d threads: other groups", threads)
		}
	}
	if len(first.Sizes) < 3 {
		t.Errorf("sizes %v", first.Sizes)
	}
}

func TestFindGroupsOfFew(t *testing.T) {
	for name, test := range map[string]struct {
		neighbors []int32
		k         int
		o         GroupOptions
		sizes     []int
	}{
		"nothing":           {nil, 0, GroupOptions{}, nil},
		"one":               {nil, 0, GroupOptions{Copies: []int32{1}}, nil},
		"copies of one":     {nil, 0, GroupOptions{Copies: []int32{7}}, []int{7}},
		"two":               {[]int32{1, 0}, 1, GroupOptions{}, []int{2}},
		"two, three wanted": {[]int32{1, 0}, 1, GroupOptions{MinSize: 3}, nil},
		"without neighbour": {[]int32{-1, -1, -1}, 1, GroupOptions{MinSize: 1}, nil},
		"one side only":     {[]int32{1, 2, 1}, 1, GroupOptions{}, []int{2}},
	} {
		g, err := FindGroups(context.Background(), test.neighbors, test.k, test.o)
		if err != nil || !slices.Equal(g.Sizes, test.sizes) {
			t.Errorf("%s: %+v, %v", name, g, err)
		}
	}
	for name, test := range map[string]struct {
		neighbors []int32
		k         int
		o         GroupOptions
		want      error
	}{
		"lists cut":   {[]int32{1, 0, 1}, 2, GroupOptions{}, ErrNeighbors},
		"no lists":    {[]int32{1, 0}, 0, GroupOptions{}, ErrNeighbors},
		"beyond":      {[]int32{2, 0}, 1, GroupOptions{}, ErrNeighbors},
		"before":      {[]int32{-2, 0}, 1, GroupOptions{}, ErrNeighbors},
		"resolution":  {[]int32{1, 0}, 1, GroupOptions{Resolution: math.NaN()}, ErrOption},
		"count":       {[]int32{1, 0}, 1, GroupOptions{Count: -1}, ErrOption},
		"size":        {[]int32{1, 0}, 1, GroupOptions{MinSize: -1}, ErrOption},
		"runs":        {[]int32{1, 0}, 1, GroupOptions{Runs: -1}, ErrOption},
		"copies":      {[]int32{1, 0}, 1, GroupOptions{Copies: []int32{1}}, ErrOption},
		"interrupted": {[]int32{1, 0}, 1, GroupOptions{}, context.Canceled},
	} {
		ctx, cancel := context.WithCancel(context.Background())
		if name == "interrupted" {
			cancel()
		}
		if _, err := FindGroups(ctx, test.neighbors, test.k, test.o); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
		cancel()
	}
}

// TestLinks holds the links to their definition.
func TestLinks(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	for range 30 {
		n, k := 1+rng.IntN(40), 1+rng.IntN(6)
		neighbors := make([]int32, n*k)
		closed := make([]map[int32]bool, n)
		for i := range n {
			closed[i] = map[int32]bool{int32(i): true}
			for j := range k {
				neighbors[i*k+j] = int32(rng.IntN(n+1)) - 1 // the point itself and repetitions among them
				if neighbors[i*k+j] >= 0 {
					closed[i][neighbors[i*k+j]] = true
				}
			}
		}
		g := newLinks(neighbors, n, k, 2)
		total := 0.0
		for i := range n {
			to, weights := g.of(i)
			if !slices.IsSorted(to) || len(slices.Compact(slices.Clone(to))) != len(to) {
				t.Fatalf("neighbours of %d: %v", i, to)
			}
			at, mutual := 0, false
			for j := range n {
				if i == j || !closed[i][int32(j)] && !closed[j][int32(i)] {
					continue
				}
				mutual = mutual || closed[i][int32(j)] && closed[j][int32(i)]
				both, either := 0, len(closed[j])
				for v := range closed[i] {
					if closed[j][v] {
						both++
					} else {
						either++
					}
				}
				if to[at] != int32(j) || weights[at] != float32(both)/float32(either) {
					t.Fatalf("link %d-%d: %d with %v, want %d / %d", i, j, to[at], weights[at], both, either)
				}
				total += float64(weights[at])
				at++
			}
			if at != len(to) || mutual != g.mutual[i] {
				t.Fatalf("point %d: %d links, want %d; mutual %v", i, len(to), at, mutual)
			}
		}
		if math.Abs(total-g.total) > 1e-4 {
			t.Fatalf("total %v, want %v", g.total, total)
		}
	}
}

// TestLeidenFindsTheBest compares with all partitions of small graphs.
func TestLeidenFindsTheBest(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	missed := 0
	const graphs = 40
	for range graphs {
		n, k := 4+rng.IntN(4), 1+rng.IntN(2)
		neighbors := make([]int32, n*k)
		for i := range neighbors {
			neighbors[i] = int32(rng.IntN(n))
		}
		g := newLinks(neighbors, n, k, 1)
		if g.total == 0 {
			continue
		}
		best := math.Inf(-1)
		part := make([]int32, n)
		measure := &leiden{resolution: 1}
		var try func(i int, used int32)
		try = func(i int, used int32) {
			if i == n {
				best = max(best, measure.quality(g, part, n))
				return
			}
			for c := range used + 1 {
				part[i] = c
				try(i+1, max(used, c+1))
			}
		}
		try(0, 0)
		found := math.Inf(-1)
		for seed := range uint64(4) {
			l := &leiden{resolution: 1, rng: rand.New(rand.NewPCG(seed, 1))}
			p, count, quality, err := l.communities(context.Background(), g)
			if err != nil {
				t.Fatal(err)
			}
			if q := l.quality(g, p, count); math.Abs(q-quality) > 1e-9 || q > best+1e-9 {
				t.Fatalf("quality %v, measured %v, best possible %v", quality, q, best)
			}
			mustBeConnected(t, g, p, count)
			found = max(found, quality)
		}
		if found < best-1e-6 {
			missed++
		}
	}
	if missed > graphs/10 {
		t.Errorf("missed the best partition of %d graphs of %d", missed, graphs)
	}
}

// mustBeConnected walks through each community, which Leiden guarantees to be one piece.
func mustBeConnected(t *testing.T, g *links, part []int32, n int) {
	t.Helper()
	members, first := byCommunity(part, n)
	seen := make([]bool, g.points())
	for c := range n {
		reached := 0
		stack := []int32{members[first[c]]}
		seen[stack[0]] = true
		for len(stack) > 0 {
			v := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			reached++
			to, _ := g.of(int(v))
			for _, u := range to {
				if part[u] == int32(c) && !seen[u] {
					seen[u] = true
					stack = append(stack, u)
				}
			}
		}
		if reached != first[c+1]-first[c] {
			t.Fatalf("community %d has %d points, %d are connected", c, first[c+1]-first[c], reached)
		}
	}
}

func TestLeidenCommunitiesAreConnected(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	for _, resolution := range []float64{0.2, 1, 5} {
		points := make([]float32, 2*1000)
		for i := range points {
			points[i] = rng.Float32()
		}
		g := newLinks(nearestOf(points, 2, 5), 1000, 5, 2)
		l := &leiden{resolution: resolution, rng: rng}
		part, n, quality, err := l.communities(context.Background(), g)
		if err != nil {
			t.Fatal(err)
		}
		mustBeConnected(t, g, part, n)
		if n < 5 || quality < 0.4 {
			t.Errorf("resolution %v: %d communities of quality %v", resolution, n, quality)
		}
	}
}

func TestAgreement(t *testing.T) {
	a := []int32{0, 0, 0, 1, 1, 1, -1}
	b := []int32{0, 0, 1, 1, 2, 2, 0}
	// Pairs together in both: 1 + 1; in a: 3 + 3; in b: 1 + 1 + 1; of 15. Expected 6*3/15.
	if got, want := AdjustedRand(a, b), (2-1.2)/(4.5-1.2); math.Abs(got-want) > 1e-12 {
		t.Errorf("AdjustedRand %v, want %v", got, want)
	}
	if AdjustedRand(a, a) != 1 || AdjustedRand(nil, nil) != 1 || MutualInformation(a, a) != 1 || MutualInformation(nil, nil) != 0 {
		t.Error("of equal lists")
	}
	// H(a) = ln 2, H(b) = ln 3, H(a, b) = 2 * (1/3 ln 3) + 2 * (1/6 ln 6).
	joint := 2*math.Log(3)/3 + math.Log(6)/3
	if got, want := MutualInformation(a, b), 2*(math.Log(2)+math.Log(3)-joint)/(math.Log(2)+math.Log(3)); math.Abs(got-want) > 1e-8 {
		t.Errorf("MutualInformation %v, want %v", got, want)
	}
	if got, want := Purity(a, b), 4.0/6; got != want {
		t.Errorf("Purity %v, want %v", got, want)
	}
}

// TestDescribeGroups compares with the definitions, over all pairs.
func TestDescribeGroups(t *testing.T) {
	for _, metric := range []index.Metric{index.L2, index.Cosine} {
		points, of := blobs(8, 5, 20, 13, 1, 6)
		of[4], of[25] = -1, -1
		if metric == index.Cosine {
			for i := range len(of) {
				norm := 0.0
				for _, v := range points[5*i : 5*i+5] {
					norm += float64(v) * float64(v)
				}
				for d := range 5 {
					points[5*i+d] /= float32(math.Sqrt(norm))
				}
			}
		}
		row := func(i int) []float32 { return points[5*i : 5*i+5] }
		squared := func(a, b int32) (s float64) {
			for d := range 5 {
				v := float64(row(int(a))[d] - row(int(b))[d])
				s += v * v
			}
			return s
		}
		average := func(members []int32) float64 {
			sum, pairs := 0.0, 0
			for _, a := range members {
				for _, b := range members {
					if a != b {
						sum += squared(a, b)
						pairs++
					}
				}
			}
			return sum / float64(max(pairs, 1))
		}
		var all []int32
		for i := range of {
			all = append(all, int32(i))
		}
		groups := DescribeGroups(of, 4, row, 5, metric, 2, 2)
		for c, g := range groups {
			if want := 1 - average(g.Members)/average(all); math.Abs(g.Tightness-want) > 1e-5 {
				t.Errorf("%s: tightness %v, want %v", metric, g.Tightness, want)
			}
			sum := func(a int32) (s float64) {
				for _, b := range g.Members {
					s += squared(a, b)
				}
				return s
			}
			for i, at := range g.Members {
				if of[at] != int32(c) || sum(at) < sum(g.Members[0])-1e-6 {
					t.Errorf("%s: group %d: member %d, medoid %d", metric, c, at, g.Members[0])
				}
				if want := index.FromSquaredL2(metric, float32(squared(g.Members[0], at))); math.Abs(float64(g.Distances[i]-want)) > 1e-4 {
					t.Errorf("%s: distance %v, want %v", metric, g.Distances[i], want)
				}
			}
			if !slices.IsSorted(g.Distances) || len(g.Nearest) != 2 || g.Nearest[0].Distance > g.Nearest[1].Distance || g.Nearest[0].Group == c {
				t.Errorf("%s: distances %v, nearest %v", metric, g.Distances, g.Nearest)
			}
		}
		if n := len(groups[0].Members) + len(groups[1].Members); n != 31 {
			t.Errorf("%d members", n)
		}
	}
	equal := DescribeGroups([]int32{0, 0, 0}, 1, func(int) []float32 { return []float32{1, 2} }, 2, index.L2, 3, 1)
	if equal[0].Tightness != 1 || !slices.Equal(equal[0].Members, []int32{0, 1, 2}) || len(equal[0].Nearest) > 0 {
		t.Errorf("of equal points: %+v", equal)
	}
}

// groupsPageOf is a page of n groups of k images with so many labels.
func groupsPageOf(n, k, labels int) GroupsPage {
	page := GroupsPage{Title: "Groups of <b>photos</b>", Facts: []string{"a fact & another"}, NowhereCount: 2}
	name := func(i int) string {
		return []string{"кошка", "日本語", "שלום עולם", `"quoted" & <i>tagged</i>`, strings.Repeat("a long name ", 20)}[i%5] + fmt.Sprint(" ", i)
	}
	image := func(i int) PageImage {
		out := PageImage{Image: ramp(32, 32-i%9), ID: dataset.ID(i), Source: "dir/" + name(i) + ".jpg", Distance: float32(i) / 1000}
		if labels > 0 {
			out.Label = name(i % labels)
		}
		if i%7 == 3 {
			out.Image = nil
		}
		if i%7 == 5 {
			out.Image = ramp(200, 130)
		}
		return out
	}
	for g := range n {
		group := PageGroup{Number: g + 1, Size: 1000 - 10*g, Tightness: 0.1 * float64(g%9), Nearest: []NearGroup{{(g+1)%n + 1, 0.25}, {n + 5, 0.5}}}
		for l := range labels {
			group.Labels = append(group.Labels, PageLabel{name(l), labels - l})
		}
		for i := range k {
			group.Images = append(group.Images, image(g*k+i))
		}
		page.Groups = append(page.Groups, group)
	}
	page.Nowhere = []PageImage{image(n*k + 1), image(n*k + 2)}
	return page
}

func TestWriteGroupsPage(t *testing.T) {
	for _, test := range []struct{ groups, images, labels int }{{0, 0, 0}, {1, 1, 0}, {3, 5, 2}, {2, 3, 1000}} {
		var b bytes.Buffer
		if err := WriteGroupsPage(&b, groupsPageOf(test.groups, test.images, test.labels)); err != nil {
			t.Fatalf("%+v: %v", test, err)
		}
		page := b.String()
		if strings.Contains(page, "<i>tagged") || strings.Contains(page, "<b>photos") || strings.Contains(page, "ZgotmplZ") {
			t.Errorf("%+v: names are not escaped, or something was refused", test)
		}
		if strings.Contains(page, "http:") || strings.Contains(page, "https:") {
			t.Errorf("%+v: the page needs something else", test)
		}
		if n := strings.Count(page, `<section id="group-`); n != test.groups {
			t.Errorf("%+v: %d sections", test, n)
		}
		if n := strings.Count(page, `class="thumb"`); n != test.groups*test.images+2 {
			t.Errorf("%+v: %d images", test, n)
		}
	}
}

func TestMontage(t *testing.T) {
	one := ramp(32, 32)
	for _, n := range [][2]int{{1, 0}, {1, 1}, {3, 0}, {2, 3}, {20, 20}, {1, 30}} {
		m := Montage(slices.Repeat([]*dataset.Image{one}, n[0]), slices.Repeat([]*dataset.Image{nil}, n[1]), 96)
		if m.Width != 96 || m.Height != 96 {
			t.Errorf("%v: %d x %d", n, m.Width, m.Height)
		}
		struck := false
		for p := 0; p < len(m.Pix); p += 3 {
			struck = struck || m.Pix[p] == mismatchColour.R && m.Pix[p+1] == mismatchColour.G && m.Pix[p+2] == mismatchColour.B
		}
		if struck != (n[1] > 0) {
			t.Errorf("%v: struck out %v", n, struck)
		}
	}
}
