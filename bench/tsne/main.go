// Command tsne puts the maps of package atlas beside those of scikit-learn and openTSNE, made of the same embeddings in the
// same run, on one thread each:
//
//	go run ./bench/tsne --index cifar.imgsearch --peers VENV
//
// VENV is a virtual environment with bench/peers/requirements.txt. The embeddings are the first --n of the collection,
// scaled to length one. Time is processor time from embeddings to positions, the search for neighbours included: ours builds
// the graph and asks it, the peers find neighbours in their own ways. All maps are judged alike: the divergence by its
// definition, over all pairs, from the exact neighbours; and trustworthiness at 12 neighbours (Venna & Kaski 2001).
package main

import (
	"context"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sbinet/npyio"

	"imgsearch/atlas"
	"imgsearch/dataset"
	"imgsearch/index"
	"imgsearch/index/exact"
	"imgsearch/index/hnsw"
	"imgsearch/internal/kernel"
	"imgsearch/internal/usage"
	"imgsearch/search"
)

const perplexity = 40

func main() {
	var (
		file  = flag.String("index", "", "collection `FILE` with the embeddings")
		venv  = flag.String("peers", "", "virtual environment `FOLDER` of the peers; without it only ours runs")
		with  = flag.String("with", "opentsne-fft,opentsne-bh,sklearn", "peers to run, a comma between")
		n     = flag.Int("n", 10_000, "number of embeddings; 0: all")
		judge = flag.Bool("judge", true, "compute divergence and trustworthiness, whose time grows with the square of n")
	)
	flag.Parse()
	if err := run(*file, *venv, *with, *n, *judge); err != nil {
		fmt.Fprintln(os.Stderr, "tsne:", err)
		os.Exit(1)
	}
}

// data is what all maps are made of.
type data struct {
	ids        []dataset.ID
	embeddings []float32 // of length one
	dim        int
	neighbors  [][]index.Neighbor // exact
}

func run(file, venv, with string, n int, judge bool) error {
	d, err := read(file, n)
	if err != nil {
		return err
	}
	fmt.Printf("%d embeddings of dim %d, perplexity %d, one thread, kernels %s\n\n", len(d.ids), d.dim, perplexity, kernel.Name())
	fmt.Println("| | processor time, s | divergence | trustworthiness (12) |")
	fmt.Println("|---|---|---|---|")
	if judge {
		if err := d.findNeighbors(); err != nil {
			return err
		}
	}
	row := func(name string, seconds float64, positions []float32) error {
		if !judge {
			fmt.Printf("| %s | %.1f | | |\n", name, seconds)
			return nil
		}
		divergence, err := atlas.Divergence(d.ids, d.neighbors, positions, atlas.MapOptions{Perplexity: perplexity})
		if err != nil {
			return err
		}
		fmt.Printf("| %s | %.1f | %.4f | %.4f |\n", name, seconds, divergence, d.trustworthiness(positions, 12))
		return nil
	}
	m, stages, err := ours(d)
	if err != nil {
		return err
	}
	if err := row(fmt.Sprintf("imgsearch (%s)", stages), stages.total(), m.Positions); err != nil {
		return err
	}
	if venv == "" {
		return nil
	}
	folder, err := os.MkdirTemp("", "tsne")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	source := filepath.Join(folder, "embeddings.npy")
	if err := d.write(source); err != nil {
		return err
	}
	for _, peer := range strings.Split(with, ",") {
		out := filepath.Join(folder, peer+".npy")
		cmd := exec.Command(filepath.Join(venv, "bin", "python"), filepath.Join("bench", "peers", "tsne_peer.py"), peer, source, out)
		cmd.Stderr = os.Stderr
		said, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("%s: %w", peer, err)
		}
		var seconds float64
		var version string
		if _, err := fmt.Sscan(string(said), &seconds, &version); err != nil {
			return fmt.Errorf("%s said %q: %w", peer, said, err)
		}
		positions, err := readPositions(out, len(d.ids))
		if err != nil {
			return fmt.Errorf("%s: %w", peer, err)
		}
		if err := row(peer+" "+version, seconds, positions); err != nil {
			return err
		}
	}
	return nil
}

func read(file string, n int) (*data, error) {
	c, err := search.Open(file, search.OpenOptions{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	d := &data{dim: c.Dim()}
	if d.ids, d.embeddings, err = c.Embeddings(context.Background()); err != nil {
		return nil, err
	}
	if n > 0 && n < len(d.ids) {
		d.ids, d.embeddings = d.ids[:n], d.embeddings[:n*d.dim]
	}
	for row := range slices.Chunk(d.embeddings, d.dim) {
		if length := math.Sqrt(float64(kernel.Dot(row, row))); length > 0 {
			kernel.Scale(float32(1/length), row)
		}
	}
	return d, nil
}

// findNeighbors finds the exact neighbours.
func (d *data) findNeighbors() error {
	all, err := exact.New(index.Cosine, d.dim)
	if err != nil {
		return err
	}
	if err := all.Add(d.ids, d.embeddings); err != nil {
		return err
	}
	d.neighbors, err = d.ask(all.Search)
	return err
}

func (d *data) ask(search func([]float32, int) ([]index.Neighbor, error)) ([][]index.Neighbor, error) {
	lists := make([][]index.Neighbor, len(d.ids))
	for i := range lists {
		found, err := search(d.embeddings[i*d.dim:][:d.dim], 3*perplexity+1)
		if err != nil {
			return nil, err
		}
		lists[i] = slices.DeleteFunc(found, func(n index.Neighbor) bool { return n.ID == d.ids[i] })
	}
	return lists, nil
}

// stages are processor times in seconds.
type stages struct{ graph, neighbors, layout float64 }

func (s stages) total() float64 { return s.graph + s.neighbors + s.layout }
func (s stages) String() string {
	return fmt.Sprintf("graph %.1f, neighbours %.1f, layout %.1f", s.graph, s.neighbors, s.layout)
}

// ours makes a map the way search.Collection.Map does.
func ours(d *data) (m *atlas.Map, s stages, err error) {
	timed := func(to *float64, fn func() error) {
		if err != nil {
			return
		}
		began := usage.SpentTime()
		err = fn()
		*to = (usage.SpentTime() - began).Seconds()
	}
	var graph *hnsw.Graph
	var lists [][]index.Neighbor
	timed(&s.graph, func() error {
		graph, err = hnsw.New(index.Cosine, d.dim, hnsw.Options{Threads: 1})
		if err != nil {
			return err
		}
		return graph.Add(d.ids, d.embeddings)
	})
	timed(&s.neighbors, func() error {
		lists, err = d.ask(graph.Search)
		return err
	})
	timed(&s.layout, func() error {
		start, err := atlas.PrincipalStart(d.embeddings, d.dim, index.Cosine, 1, 1)
		if err != nil {
			return err
		}
		m, err = atlas.TSNE(context.Background(), d.ids, lists, start, atlas.MapOptions{Perplexity: perplexity, Seed: 1, Threads: 1})
		return err
	})
	return m, s, err
}

// trustworthiness is 1 less a sum over the points' k nearest on the map that are not among the k nearest of the embeddings,
// of how far they are from being so.
func (d *data) trustworthiness(positions []float32, k int) float64 {
	n := len(d.ids)
	penalties := make([]float64, n)
	kernel.Parallel(0, n, func(i int) {
		px, py := positions[2*i], positions[2*i+1]
		nearest := index.NewNearest(k)
		distances := make([]float32, n)
		kernel.SquaredL2Rows(d.embeddings[i*d.dim:][:d.dim], d.embeddings, distances)
		for j := range n {
			dx, dy := positions[2*j]-px, positions[2*j+1]-py
			if j != i {
				nearest.Offer(index.Neighbor{ID: dataset.ID(j), Distance: dx*dx + dy*dy})
			}
		}
		for _, near := range nearest.Sorted() {
			rank := 1
			for j, v := range distances {
				if j != i && v < distances[near.ID] {
					rank++
				}
			}
			penalties[i] += float64(max(rank-k, 0))
		}
	})
	sum := 0.0
	for _, p := range penalties {
		sum += p
	}
	return 1 - 2/(float64(n)*float64(k)*float64(2*n-3*k-1))*sum
}

// write makes a NumPy file of the embeddings.
func (d *data) write(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	header := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }", len(d.ids), d.dim)
	header += strings.Repeat(" ", 63-(10+len(header))%64) + "\n"
	if _, err := f.Write(append([]byte{0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, byte(len(header)), byte(len(header) >> 8)}, header...)); err != nil {
		return err
	}
	for row := range slices.Chunk(d.embeddings, d.dim) {
		b := make([]byte, 0, 4*d.dim)
		for _, v := range row {
			bits := math.Float32bits(v)
			b = append(b, byte(bits), byte(bits>>8), byte(bits>>16), byte(bits>>24))
		}
		if _, err := f.Write(b); err != nil {
			return err
		}
	}
	return f.Close()
}

func readPositions(path string, n int) ([]float32, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var positions []float32
	if err := npyio.Read(f, &positions); err != nil {
		return nil, err
	}
	if len(positions) != 2*n {
		return nil, fmt.Errorf("%d values for %d points", len(positions), n)
	}
	return positions, nil
}
