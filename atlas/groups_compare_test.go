//go:build unix

package atlas

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/csv"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"syscall"
	"testing"

	"imgsearch/dataset"
	"imgsearch/evaluation"
	"imgsearch/index"
)

// TestCompareGroups measures ways of finding groups beside each other, on the embeddings and labels that "imgsearch
// export" wrote as F.npy and F.csv: IMGSEARCH_GROUPS names F. docs/groups.md has the table that it prints.
func TestCompareGroups(t *testing.T) {
	name := os.Getenv("IMGSEARCH_GROUPS")
	if name == "" {
		t.Skip("IMGSEARCH_GROUPS names no export")
	}
	embeddings, dim := readRows(t, name+".npy")
	labels := readLabels(t, name+".csv")
	n := len(labels)
	ids := make([]dataset.ID, n)
	for i := range ids {
		ids[i] = dataset.ID(i)
	}
	set := evaluation.Set{IDs: ids, Embeddings: embeddings, Dim: dim}
	const most = 30
	found, err := evaluation.Nearest(context.Background(), set, set, index.Cosine, most, true, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("| links | method | resolution | groups | nowhere | NMI | purity | ARI over seeds | seconds |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|")
	report := func(links, method, resolution string, seeds int, find func(seed uint64) []int32) {
		var runs [][]int32
		var seconds []float64
		for seed := range seeds {
			start := processorSeconds()
			runs = append(runs, find(uint64(seed)))
			seconds = append(seconds, processorSeconds()-start)
		}
		var nmi, purity, ari []float64
		groups, nowhere := 0, 0
		for i, run := range runs {
			sizes := map[int32]int{}
			for _, c := range run {
				sizes[c]++
			}
			for v, c := range run {
				if c < 0 || sizes[c] < 5 {
					run[v] = -1
					nowhere++
					delete(sizes, c)
				}
			}
			groups += len(sizes)
			nmi = append(nmi, MutualInformation(run, labels))
			purity = append(purity, Purity(run, labels))
			for j := range i {
				ari = append(ari, AdjustedRand(run, runs[j]))
			}
		}
		stable := "–"
		if seeds > 1 {
			stable = fmt.Sprintf("%.3f", mean(ari))
		}
		fmt.Printf("| %s | %s | %s | %.0f | %.2f %% | %.3f | %.3f | %s | %.2f |\n", links, method, resolution, float64(groups)/float64(seeds),
			100*float64(nowhere)/float64(seeds*n), mean(nmi), mean(purity), stable, slices.Min(seconds))
	}
	for _, k := range []int{15, 10, 30} {
		neighbors := make([]int32, n*k)
		distances := make([]float32, n*k)
		for i, list := range found {
			for j, neighbor := range list[:k] {
				neighbors[i*k+j], distances[i*k+j] = int32(neighbor.ID), neighbor.Distance
			}
		}
		g := newLinks(neighbors, n, k, 0)
		leidenOn := func(name string, g *links, resolution float64, louvain bool) {
			report(fmt.Sprintf("%d %s", k, name), map[bool]string{true: "Louvain", false: "Leiden"}[louvain], fmt.Sprint(resolution), 3,
				func(seed uint64) []int32 {
					l := &leiden{resolution: resolution, rng: rand.New(rand.NewPCG(seed, 1)), plain: louvain}
					part, _, _, err := l.communities(context.Background(), g)
					if err != nil {
						t.Fatal(err)
					}
					for v, mutual := range g.mutual {
						if !mutual {
							part[v] = -1
						}
					}
					return part
				})
		}
		leidenOn("either, shared", g, 1, false)
		if k != 15 {
			continue
		}
		leidenOn("either, shared", g, 1, true)
		for _, resolution := range []float64{0.5, 2, 4} {
			leidenOn("either, shared", g, resolution, false)
		}
		leidenOn("either, equal", someLinks(g, func(int, int32) bool { return true }, true), 1, false)
		mutual := func(i int, j int32) bool {
			return slices.Contains(neighbors[i*k:(i+1)*k], j) && slices.Contains(neighbors[int(j)*k:(int(j)+1)*k], int32(i))
		}
		leidenOn("mutual, shared", someLinks(g, mutual, false), 1, false)
		leidenOn("mutual, equal", someLinks(g, mutual, true), 1, false)
		for _, least := range []int{5, 25, 100} {
			report("15 either", "HDBSCAN", fmt.Sprintf("at least %d", least), 1, func(uint64) []int32 {
				return hdbscan(neighbors, distances, n, k, least)
			})
		}
	}
}

// someLinks keeps some of the links, with equal weights where that is wanted.
func someLinks(g *links, keep func(i int, j int32) bool, equal bool) *links {
	out := &links{rows: make([]int, len(g.rows)), strengths: make([]float64, g.points()), mutual: g.mutual}
	for i := range g.points() {
		to, weights := g.of(i)
		for at, j := range to {
			if keep(i, j) {
				w := weights[at]
				if equal {
					w = 1
				}
				out.at, out.weights = append(out.at, j), append(out.weights, w)
				out.strengths[i] += float64(w)
			}
		}
		out.rows[i+1] = len(out.at)
	}
	out.addUp()
	return out
}

// processorSeconds is the processor time that this process has used.
func processorSeconds() float64 {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

func readRows(t *testing.T, name string) (values []float32, dim int) {
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	head, data := data[:bytes.IndexByte(data, '\n')], data[bytes.IndexByte(data, '\n')+1:]
	shape := regexp.MustCompile(`\((\d+), (\d+)\)`).FindSubmatch(head)
	dim, _ = strconv.Atoi(string(shape[2]))
	values = make([]float32, len(data)/4)
	for i := range values {
		values[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return values, dim
}

func readLabels(t *testing.T, name string) []int32 {
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	numbers := map[string]int32{}
	var labels []int32
	for _, row := range rows[1:] {
		if _, ok := numbers[row[2]]; !ok {
			numbers[row[2]] = int32(len(numbers))
		}
		labels = append(labels, numbers[row[2]])
	}
	return labels
}

// hdbscan is Campello, Moulavi & Sander (2013), "Density-based clustering based on hierarchical density estimates", on the
// links from each point to its k nearest: mutual reachability, a spanning forest, the condensed tree, and the clusters of
// most excess of mass, none the whole. A cluster has at least so many points; what is in none has -1.
func hdbscan(neighbors []int32, distances []float32, n, k, least int) []int32 {
	type edge struct {
		a, b int32
		d    float32
	}
	edges := make([]edge, 0, n*k)
	core := func(i int32) float32 { return distances[int(i)*k+min(k, least)-1] }
	for i := range n {
		for j := range k {
			b := neighbors[i*k+j]
			edges = append(edges, edge{int32(i), b, max(distances[i*k+j], core(int32(i)), core(b))})
		}
	}
	slices.SortFunc(edges, func(x, y edge) int {
		return cmp.Or(cmp.Compare(x.d, y.d), cmp.Compare(x.a, y.a), cmp.Compare(x.b, y.b))
	})
	// The dendrogram: node n+i is the i-th merge. What is not connected is merged last, at an infinite distance.
	root := singletons(2 * n)
	find := func(v int32) int32 {
		for root[v] != v {
			root[v] = root[root[v]]
			v = root[v]
		}
		return v
	}
	size := slices.Repeat([]int{1}, 2*n)
	left, right, at := make([]int32, 2*n), make([]int32, 2*n), make([]float64, 2*n)
	next := int32(n)
	merge := func(a, b int32, d float64) {
		a, b = find(a), find(b)
		if a != b {
			left[next], right[next], at[next], size[next] = a, b, d, size[a]+size[b]
			root[a], root[b] = next, next
			next++
		}
	}
	for _, e := range edges {
		merge(e.a, e.b, float64(e.d))
	}
	for i := 1; i < n; i++ {
		merge(0, int32(i), math.Inf(1))
	}
	// Going down, a cluster lives on in a part of its points until it falls into two that are large enough.
	type cluster struct {
		node       int32
		birth, sum float64
		children   []int
		best       float64
		chosen     bool
	}
	clusters := []cluster{{node: next - 1}}
	density := func(d float64) float64 { return 1 / max(d, 1e-9) }
	for c := 0; c < len(clusters); c++ {
		for v := clusters[c].node; ; {
			if int(v) < n {
				break
			}
			l, r, lambda := left[v], right[v], density(at[v])
			lived := lambda - clusters[c].birth
			switch {
			case size[l] >= least && size[r] >= least:
				clusters[c].sum += float64(size[v]) * lived
				clusters[c].children = []int{len(clusters), len(clusters) + 1}
				clusters = append(clusters, cluster{node: l, birth: lambda}, cluster{node: r, birth: lambda})
				v = 0
			case size[l] >= least:
				clusters[c].sum += float64(size[r]) * lived
				v = l
			case size[r] >= least:
				clusters[c].sum += float64(size[l]) * lived
				v = r
			default:
				clusters[c].sum += float64(size[v]) * lived
				v = 0
			}
			if int(v) < n {
				break
			}
		}
	}
	for c := len(clusters) - 1; c >= 0; c-- {
		inner := 0.0
		for _, child := range clusters[c].children {
			inner += clusters[child].best
		}
		clusters[c].chosen = c > 0 && clusters[c].sum >= inner
		clusters[c].best = max(clusters[c].sum, inner)
	}
	part := slices.Repeat([]int32{-1}, n)
	var choose func(c int)
	choose = func(c int) {
		if !clusters[c].chosen {
			for _, child := range clusters[c].children {
				choose(child)
			}
			return
		}
		stack := []int32{clusters[c].node}
		for len(stack) > 0 {
			v := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			if int(v) < n {
				part[v] = int32(c)
			} else {
				stack = append(stack, left[v], right[v])
			}
		}
	}
	choose(0)
	return part
}
