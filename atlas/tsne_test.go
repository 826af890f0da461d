package atlas

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"imgsearch/dataset"
	"imgsearch/index"
	"imgsearch/internal/kernel"
)

// clusters draws n embeddings around a few centres and returns them with ids that are not their positions, and the k
// nearest neighbours of each, itself among them.
func clusters(n, dim, centres, k int, metric index.Metric) (embeddings []float32, ids []dataset.ID, neighbors [][]index.Neighbor) {
	rng := rand.New(rand.NewPCG(11, 11))
	middle := make([]float32, centres*dim)
	for i := range middle {
		middle[i] = float32(3 * rng.NormFloat64())
	}
	embeddings = make([]float32, n*dim)
	ids = make([]dataset.ID, n)
	for i := range n {
		ids[i] = dataset.ID(1000 + 3*((i*13)%n))
		for c := range dim {
			embeddings[i*dim+c] = middle[i%centres*dim+c] + float32(rng.NormFloat64())
		}
	}
	neighbors = make([][]index.Neighbor, n)
	for i := range n {
		a := embeddings[i*dim:][:dim]
		for j := range n {
			b := embeddings[j*dim:][:dim]
			d := math.Sqrt(float64(kernel.SquaredL2(a, b)))
			if metric == index.Cosine {
				d = 1 - float64(kernel.Dot(a, b))/math.Sqrt(float64(kernel.Dot(a, a))*float64(kernel.Dot(b, b)))
			}
			neighbors[i] = append(neighbors[i], index.Neighbor{ID: ids[j], Distance: float32(d)})
		}
		slices.SortFunc(neighbors[i], func(a, b index.Neighbor) int {
			if a.Distance != b.Distance {
				return int(math.Copysign(1, float64(a.Distance-b.Distance)))
			}
			return int(a.ID) - int(b.ID)
		})
		neighbors[i] = neighbors[i][:min(k, n)]
	}
	return embeddings, ids, neighbors
}

// dense spreads affinities out as [n, n].
func (a *affinities) dense(n int) []float64 {
	out := make([]float64, n*n)
	for i := range n {
		for e := a.rows[i]; e < a.rows[i+1]; e++ {
			out[i*n+int(a.at[e])] = float64(a.values[e])
		}
	}
	return out
}

func TestAffinitiesHaveThePerplexity(t *testing.T) {
	for _, perplexity := range []float64{2, 15, 33} {
		squared := []float64{0, 0.1, 0.3, 0.31, 0.5}
		for i := range 95 {
			squared = append(squared, 0.5+float64(i)/20)
		}
		p := calibrate(squared, perplexity)
		entropy, sum := 0.0, 0.0
		for _, v := range p {
			sum += v
			if v > 0 {
				entropy -= v * math.Log(v)
			}
		}
		if math.Abs(sum-1) > 1e-12 || math.Abs(math.Exp(entropy)-perplexity) > 1e-4 {
			t.Errorf("perplexity %v: sum %v, perplexity %v", perplexity, sum, math.Exp(entropy))
		}
	}
	for _, test := range []struct{ squared, want []float64 }{
		{nil, nil},
		{[]float64{7}, []float64{1}},
		{[]float64{0, 0}, []float64{.5, .5}},
		{[]float64{2, 2, 9}, []float64{.5, .5, 0}}, // a perplexity of 1 is out of reach
	} {
		got := calibrate(slices.Clone(test.squared), 1)
		for i := range test.want {
			if math.Abs(got[i]-test.want[i]) > 1e-6 {
				t.Errorf("%v: %v, want %v", test.squared, got, test.want)
			}
		}
	}
}

func TestAffinitiesAreSymmetric(t *testing.T) {
	const n = 90
	_, ids, neighbors := clusters(n, 5, 3, 31, index.L2)
	a, err := newAffinities(ids, neighbors, index.L2, 10, 2)
	if err != nil {
		t.Fatal(err)
	}
	p := a.dense(n)
	sum, entropy := 0.0, 0.0
	for i := range n {
		if p[i*n+i] != 0 {
			t.Errorf("point %d is its own neighbour", i)
		}
		for j := range n {
			v := p[i*n+j]
			sum += v
			if v > 0 {
				entropy += v * math.Log(v)
			}
			if v != p[j*n+i] {
				t.Fatalf("p(%d, %d) = %v, p(%d, %d) = %v", i, j, v, j, i, p[j*n+i])
			}
		}
		if !slices.IsSorted(a.at[a.rows[i]:a.rows[i+1]]) {
			t.Errorf("row %d is not sorted", i)
		}
	}
	if math.Abs(sum-1) > 1e-6 || math.Abs(entropy-a.entropy) > 1e-5 {
		t.Errorf("sum %v, entropy %v, said to be %v", sum, entropy, a.entropy)
	}
}

// exact computes the gradient (without its factor of 4) and the divergence by definition.
func exact(p []float64, y []float32, exaggeration float64) (gradient []float64, divergence float64) {
	n := len(y) / 2
	w := make([]float64, n*n)
	sum := 0.0
	for i := range n {
		for j := range n {
			if i != j {
				dx, dy := float64(y[2*i])-float64(y[2*j]), float64(y[2*i+1])-float64(y[2*j+1])
				w[i*n+j] = 1 / (1 + dx*dx + dy*dy)
				sum += w[i*n+j]
			}
		}
	}
	gradient = make([]float64, 2*n)
	for i := range n {
		for j := range n {
			pij, wij := p[i*n+j], w[i*n+j]
			for c := range 2 {
				gradient[2*i+c] += (exaggeration*pij - wij/sum) * wij * (float64(y[2*i+c]) - float64(y[2*j+c]))
			}
			if pij > 0 {
				divergence += pij * math.Log(pij/(wij/sum))
			}
		}
	}
	return gradient, divergence
}

func TestGradientAgreesWithTheDefinition(t *testing.T) {
	const n = 300
	_, ids, neighbors := clusters(n, 6, 4, 31, index.L2)
	a, err := newAffinities(ids, neighbors, index.L2, 10, 1)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(2, 3))
	for _, size := range []float64{1e-4, 1, 40} {
		y := make([]float32, 2*n)
		for i := range y {
			y[i] = float32(size * rng.NormFloat64())
		}
		copy(y[10:40], y[100:130]) // points in one place
		want, divergence := exact(a.dense(n), y, 1)
		length := 0.0
		for _, v := range want {
			length += v * v
		}
		for _, test := range []struct{ theta, gradient, divergence float64 }{{1e-6, 2e-5, 1e-5}, {0.5, 0.03, 0.01}, {0.2, 0.005, 0.001}} {
			o, err := MapOptions{Theta: test.theta, Threads: 2}.withDefaults(n)
			if err != nil {
				t.Fatal(err)
			}
			s := newDescent(a, y, o)
			sum := s.gradient()
			wrong := 0.0
			for i := range want {
				d := float64(s.attraction[i]) - float64(s.repulsion[i])/sum - want[i]
				wrong += d * d
			}
			if relative := math.Sqrt(wrong / length); relative > test.gradient {
				t.Errorf("size %v, theta %v: the gradient is off by %v of its length", size, test.theta, relative)
			}
			if got := s.divergence(); math.Abs(got-divergence) > test.divergence*divergence {
				t.Errorf("size %v, theta %v: divergence %v, want %v", size, test.theta, got, divergence)
			}
		}
	}
}

func TestExactGradientIsThatOfTheDivergence(t *testing.T) {
	const n = 12
	_, ids, neighbors := clusters(n, 3, 2, n, index.L2)
	a, err := newAffinities(ids, neighbors, index.L2, 3, 1)
	if err != nil {
		t.Fatal(err)
	}
	p := a.dense(n)
	rng := rand.New(rand.NewPCG(5, 3))
	y := make([]float32, 2*n)
	for i := range y {
		y[i] = float32(rng.IntN(64)) / 16
	}
	gradient, _ := exact(p, y, 1)
	const step = 1.0 / 256
	for i := range y {
		at := y[i]
		y[i] = at + step
		_, up := exact(p, y, 1)
		y[i] = at - step
		_, down := exact(p, y, 1)
		y[i] = at
		if numeric := (up - down) / (2 * step); math.Abs(numeric-4*gradient[i]) > 1e-4*math.Max(1, math.Abs(numeric)) {
			t.Errorf("coordinate %d: %v, by differences %v", i, 4*gradient[i], numeric)
		}
	}
}

func TestQuadtreeHoldsEveryPointOnce(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 3))
	for _, n := range []int{1, 2, 9, 500, 3000} {
		y := make([]float32, 2*n)
		for i := range y {
			y[i] = float32(rng.NormFloat64())
		}
		copy(y[len(y)/2:], y[:len(y)/4]) // some twice
		for i := n; i < n+n/4; i++ {     // and many in one place
			y[i] = 0.25
		}
		tree := &quadtree{}
		for range 2 {
			tree.build(y, 2)
			seen := make([]bool, n)
			for s, i := range tree.order {
				if seen[i] || tree.x[s] != y[2*i] || tree.y[s] != y[2*i+1] {
					t.Fatalf("%d points: place %d holds point %d wrongly", n, s, i)
				}
				seen[i] = true
			}
			if tree.first[0] != 0 || int(tree.last[0]) != n || int(tree.skip[0]) != len(tree.skip) {
				t.Fatalf("%d points: root from %d to %d, behind it %d of %d", n, tree.first[0], tree.last[0], tree.skip[0], len(tree.skip))
			}
			for node := range tree.skip {
				x, z := 0.0, 0.0
				for s := tree.first[node]; s < tree.last[node]; s++ {
					x, z = x+float64(tree.x[s]), z+float64(tree.y[s])
				}
				count := float64(tree.last[node] - tree.first[node])
				if float64(tree.mass[node]) != count || math.Abs(x/count-float64(tree.nodeX[node])) > 1e-5 || math.Abs(z/count-float64(tree.nodeY[node])) > 1e-5 {
					t.Fatalf("%d points: node %d has mass %v at (%v, %v)", n, node, tree.mass[node], tree.nodeX[node], tree.nodeY[node])
				}
				if tree.leaf[node] {
					continue
				}
				at := tree.first[node]
				for child := int32(node) + 1; child < tree.skip[node]; child = tree.skip[child] {
					if tree.first[child] != at {
						t.Fatalf("%d points: child %d begins at %d, want %d", n, child, tree.first[child], at)
					}
					at = tree.last[child]
				}
				if at != tree.last[node] {
					t.Fatalf("%d points: the children of %d end at %d, want %d", n, node, at, tree.last[node])
				}
			}
			at := int32(0)
			for _, g := range tree.groups {
				if tree.first[g] != at {
					t.Fatalf("%d points: group begins at %d, want %d", n, tree.first[g], at)
				}
				at = tree.last[g]
			}
			if int(at) != n {
				t.Fatalf("%d points: groups end at %d", n, at)
			}
			for i := range y { // the order of the last time is where the next begins
				y[i] = -y[i]
			}
		}
	}
}

func TestTSNESeparatesClusters(t *testing.T) {
	for _, metric := range []index.Metric{index.L2, index.Cosine} {
		const n, centres = 400, 4
		embeddings, ids, neighbors := clusters(n, 8, centres, 61, metric)
		start, err := PrincipalStart(embeddings, 8, metric, 1, 2)
		if err != nil {
			t.Fatal(err)
		}
		var seen []MapProgress
		o := MapOptions{Metric: metric, Perplexity: 20, Iterations: 400, ExaggeratedIterations: 100, Threads: 2, ProgressEvery: 25, OnProgress: func(p MapProgress) { seen = append(seen, p) }}
		m, err := TSNE(context.Background(), ids, neighbors, start, o)
		if err != nil {
			t.Fatal(err)
		}
		// Nearly all of a point's nearest on the map are of its cluster.
		same := 0
		for i := range n {
			best, nearest := math.Inf(1), -1
			for j := range n {
				dx, dy := float64(m.Positions[2*i]-m.Positions[2*j]), float64(m.Positions[2*i+1]-m.Positions[2*j+1])
				if d := dx*dx + dy*dy; j != i && d < best {
					best, nearest = d, j
				}
			}
			if nearest%centres == i%centres {
				same++
			}
		}
		if same < n*95/100 {
			t.Errorf("%s: %d of %d points have their like beside them", metric, same, n)
		}
		if len(seen) != 400/25 || seen[len(seen)-1].Iteration != 400 || seen[len(seen)-1].Divergence != m.Divergence {
			t.Fatalf("%s: progress %v", metric, seen)
		}
		for i := 1; i < len(seen); i++ {
			if seen[i-1].Iteration >= 150 && seen[i].Divergence > seen[i-1].Divergence+1e-3 {
				t.Errorf("%s: the divergence rises: %v", metric, seen)
			}
		}
		a, err := newAffinities(ids, neighbors, metric, 20, 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, want := exact(a.dense(n), m.Positions, 1); math.Abs(want-m.Divergence) > .02*want {
			t.Errorf("%s: divergence %v, by definition %v", metric, m.Divergence, want)
		}
	}
}

func TestTSNEDoesNotDependOnThreads(t *testing.T) {
	embeddings, ids, neighbors := clusters(700, 8, 5, 91, index.L2)
	var maps []*Map
	for _, threads := range []int{1, 2, 5} {
		start, err := PrincipalStart(embeddings, 8, index.L2, 3, threads)
		if err != nil {
			t.Fatal(err)
		}
		m, err := TSNE(context.Background(), ids, neighbors, start, MapOptions{Metric: index.L2, Perplexity: 30, Iterations: 60, Threads: threads})
		if err != nil {
			t.Fatal(err)
		}
		maps = append(maps, m)
	}
	for _, m := range maps[1:] {
		if !reflect.DeepEqual(m, maps[0]) {
			t.Error("maps differ with the number of threads")
		}
	}
}

func TestTSNECancelled(t *testing.T) {
	_, ids, neighbors := clusters(100, 4, 2, 31, index.L2)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	o := MapOptions{Metric: index.L2, Perplexity: 10, ProgressEvery: 10, OnProgress: func(p MapProgress) {
		if p.Iteration == 30 {
			cancel()
		}
	}}
	m, err := TSNE(ctx, ids, neighbors, nil, o)
	if !errors.Is(err, context.Canceled) || m == nil || m.Iterations != 30 || len(m.Positions) != 200 || m.Divergence <= 0 {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestTSNEOfOddInput(t *testing.T) {
	ctx := context.Background()
	finite := func(name string, m *Map, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		for _, v := range append([]float32{float32(m.Divergence)}, m.Positions...) {
			if v-v != 0 {
				t.Errorf("%s: %v", name, m)
				return
			}
		}
	}
	m, err := TSNE(ctx, []dataset.ID{5}, [][]index.Neighbor{nil}, nil, MapOptions{})
	finite("one point", m, err)
	m, err = TSNE(ctx, []dataset.ID{5, 6}, [][]index.Neighbor{{{ID: 6, Distance: 1}}, {{ID: 5, Distance: 1}}}, nil, MapOptions{})
	finite("two points", m, err)
	// All equal: every distance is 0 and the neighbours are whichever come first.
	const n = 300
	ids, neighbors := make([]dataset.ID, n), make([][]index.Neighbor, n)
	for i := range n {
		ids[i] = dataset.ID(i)
		for j := range 31 {
			neighbors[i] = append(neighbors[i], index.Neighbor{ID: dataset.ID(j)})
		}
	}
	start, err := PrincipalStart(make([]float32, 4*n), 4, index.Cosine, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	m, err = TSNE(ctx, ids, neighbors, start, MapOptions{Iterations: 300})
	finite("all equal", m, err)
	m, err = TSNE(ctx, ids, neighbors, make([]float32, 2*n), MapOptions{Iterations: 50})
	finite("all in one place", m, err)
	for i := range n / 2 { // half of them nobody's neighbour
		neighbors[i] = nil
	}
	m, err = TSNE(ctx, ids, neighbors, nil, MapOptions{Iterations: 50})
	finite("points without neighbours", m, err)
}

func TestTSNERefuses(t *testing.T) {
	ctx := context.Background()
	_, ids, neighbors := clusters(20, 3, 2, 5, index.L2)
	changed := func(change func(n [][]index.Neighbor)) [][]index.Neighbor {
		out := make([][]index.Neighbor, len(neighbors))
		for i := range out {
			out[i] = slices.Clone(neighbors[i])
		}
		change(out)
		return out
	}
	for name, test := range map[string]struct {
		ids       []dataset.ID
		neighbors [][]index.Neighbor
		start     []float32
		o         MapOptions
		want      error
	}{
		"no points":            {nil, nil, nil, MapOptions{}, ErrNothing},
		"too few lists":        {ids, neighbors[:3], nil, MapOptions{}, ErrNeighbors},
		"an id twice":          {append(slices.Clone(ids[1:]), ids[1]), neighbors, nil, MapOptions{}, ErrNeighbors},
		"an unknown neighbour": {ids, changed(func(n [][]index.Neighbor) { n[3][2].ID = 1 }), nil, MapOptions{}, ErrNeighbors},
		"a NaN distance":       {ids, changed(func(n [][]index.Neighbor) { n[3][2].Distance = float32(math.NaN()) }), nil, MapOptions{}, ErrNeighbors},
		"a negative distance":  {ids, changed(func(n [][]index.Neighbor) { n[3][2].Distance = -1 }), nil, MapOptions{}, ErrNeighbors},
		"no neighbours at all": {ids, make([][]index.Neighbor, 20), nil, MapOptions{}, ErrNeighbors},
		"a short start":        {ids, neighbors, make([]float32, 3), MapOptions{}, ErrOption},
		"a NaN start":          {ids, neighbors, append(make([]float32, 39), float32(math.NaN())), MapOptions{}, ErrOption},
		"metric":               {ids, neighbors, nil, MapOptions{Metric: "manhattan"}, ErrOption},
		"perplexity":           {ids, neighbors, nil, MapOptions{Perplexity: 0.5}, ErrOption},
		"iterations":           {ids, neighbors, nil, MapOptions{Iterations: -1}, ErrOption},
		"exaggeration":         {ids, neighbors, nil, MapOptions{Exaggeration: 0.5}, ErrOption},
		"exaggerated steps":    {ids, neighbors, nil, MapOptions{ExaggeratedIterations: -1}, ErrOption},
		"theta":                {ids, neighbors, nil, MapOptions{Theta: -1}, ErrOption},
		"learning rate":        {ids, neighbors, nil, MapOptions{LearningRate: math.Inf(1)}, ErrOption},
		"progress":             {ids, neighbors, nil, MapOptions{ProgressEvery: -1}, ErrOption},
	} {
		if m, err := TSNE(ctx, test.ids, test.neighbors, test.start, test.o); !errors.Is(err, test.want) || m != nil {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
	if _, err := PrincipalStart(make([]float32, 5), 2, index.L2, 1, 1); !errors.Is(err, ErrOption) {
		t.Errorf("half an embedding: %v", err)
	}
	if _, err := PrincipalStart(nil, 2, index.L2, 1, 1); !errors.Is(err, ErrNothing) {
		t.Errorf("no embeddings: %v", err)
	}
}

func TestPrincipalStart(t *testing.T) {
	// Points in a flat ellipse far from the origin: long along (3, 4, 0)/5, short along (0, 0, 1).
	rng := rand.New(rand.NewPCG(8, 8))
	const n = 500
	embeddings := make([]float32, 3*n)
	long, short := make([]float64, n), make([]float64, n)
	for i := range n {
		long[i], short[i] = 5*rng.NormFloat64(), rng.NormFloat64()
		embeddings[3*i], embeddings[3*i+1], embeddings[3*i+2] = float32(10+.6*long[i]), float32(.8*long[i]-7), float32(short[i])
	}
	start, err := PrincipalStart(embeddings, 3, index.L2, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	variance, withLong, withShort := 0.0, 0.0, 0.0
	for i := range n {
		variance += float64(start[2*i]) * float64(start[2*i]) / n
		withLong += float64(start[2*i]) * long[i] / n
		withShort += float64(start[2*i+1]) * short[i] / n
	}
	if math.Abs(math.Sqrt(variance)-1e-4) > 1e-6 || withLong < 4.5e-4 || withShort < 1.8e-5 {
		t.Errorf("deviation %v, covariances %v, %v", math.Sqrt(variance), withLong, withShort)
	}
}

func BenchmarkTSNEStep(b *testing.B) {
	for _, n := range []int{2000} {
		embeddings, ids, neighbors := clusters(n, 16, 10, 121, index.L2)
		start, err := PrincipalStart(embeddings, 16, index.L2, 1, 1)
		if err != nil {
			b.Fatal(err)
		}
		a, err := newAffinities(ids, neighbors, index.L2, 40, 1)
		if err != nil {
			b.Fatal(err)
		}
		o, err := MapOptions{Threads: 1}.withDefaults(n)
		if err != nil {
			b.Fatal(err)
		}
		s := newDescent(a, start, o)
		for s.iteration < 300 {
			s.step()
		}
		b.Run(fmt.Sprint(n, " points"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.step()
			}
		})
	}
}
