package main

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"sort"
	"strings"

	"imgsearch/atlas"
	"imgsearch/dataset"
	"imgsearch/index"
	"imgsearch/index/exact"
	"imgsearch/internal/kernel"
)

// pair is a test image and a training image, as positions in their parts.
type pair struct {
	test, train int
	difference  float64
}

const (
	side      = 32 // of CIFAR-10's images
	roughSide = 8  // of what is compared with everything
	roughDim  = roughSide * roughSide
	// roughNeighbors is how many training images each variant of a test image is compared with on the pixels, unless they
	// are farther than roughDistance.
	roughNeighbors = 6
	roughDistance  = 0.35
)

// variants are the ways in which test images are laid over training images for the rough comparison, in pixels.
var variants = []struct {
	dx, dy   int
	mirrored bool
}{{0, 0, false}, {3, 3, false}, {3, -3, false}, {-3, 3, false}, {-3, -3, false}, {0, 0, true}}

// parts are the images of both parts of CIFAR-10.
type parts struct{ test, train []*dataset.Image }

func readParts(ctx context.Context, name string) (p parts, err error) {
	ds, err := dataset.Open(ctx, name, dataset.Options{})
	if err != nil {
		return p, err
	}
	defer ds.Close()
	err = dataset.Each(ctx, ds, 0, func(i int, s dataset.Sample, err error) error {
		switch {
		case err != nil:
			return err
		case s.Image.Width != side || s.Image.Height != side:
			return fmt.Errorf("%s: has %dx%d pixels: CIFAR-10 is needed", ds.Entry(i).Source, s.Image.Width, s.Image.Height)
		case ds.Entry(i).Split == "test":
			p.test = append(p.test, s.Image)
		default:
			p.train = append(p.train, s.Image)
		}
		return nil
	})
	return p, err
}

// findPairs finds near-duplicates between the parts of CIFAR-10 without an encoder.
func findPairs(ctx context.Context, o options, stdout io.Writer) error {
	p, err := readParts(ctx, o.data)
	if err != nil {
		return err
	}
	found, err := pairsBetween(ctx, p, o.threads)
	if err != nil {
		return err
	}
	writeSpread(stdout, found)
	near := sort.Search(len(found), func(i int) bool { return found[i].difference > atlas.NearDuplicate })
	if o.out == "" {
		return nil
	}
	return atlas.WriteFile(o.out, func(w io.Writer) error { return writePairs(w, found[:near]) })
}

// pairsBetween returns the pairs that were compared on the pixels, the most alike first.
func pairsBetween(ctx context.Context, p parts, threads int) ([]pair, error) {
	gallery, err := exact.New(index.Cosine, roughDim)
	if err != nil {
		return nil, err
	}
	ids := make([]dataset.ID, len(p.train))
	embeddings := make([]float32, 0, len(p.train)*roughDim)
	for i, m := range p.train {
		ids[i] = dataset.ID(i)
		embeddings = append(embeddings, rough(m, 0, 0, false)...)
	}
	if err := gallery.Add(ids, embeddings); err != nil {
		return nil, err
	}
	pixels := make([]*atlas.Pixels, len(p.train))
	kernel.Parallel(threads, len(p.train), func(i int) { pixels[i] = atlas.NewPixels(p.train[i]) })

	found := make([][]pair, len(p.test))
	problems := make([]error, len(p.test))
	kernel.Parallel(threads, len(p.test), func(i int) {
		if problems[i] = ctx.Err(); problems[i] != nil {
			return
		}
		partners := map[dataset.ID]bool{}
		for _, v := range variants {
			neighbors, err := gallery.Search(rough(p.test[i], v.dx, v.dy, v.mirrored), roughNeighbors)
			if err != nil {
				problems[i] = err
				return
			}
			for _, n := range neighbors {
				if n.Distance <= roughDistance {
					partners[n.ID] = true
				}
			}
		}
		test := atlas.NewPixels(p.test[i])
		for id := range partners {
			found[i] = append(found[i], pair{i, int(id), atlas.Align(test, pixels[id]).Difference})
		}
	})
	for _, err := range problems {
		if err != nil {
			return nil, err
		}
	}
	all := slices.Concat(found...)
	slices.SortFunc(all, func(a, b pair) int {
		return cmp.Or(cmp.Compare(a.difference, b.difference), cmp.Compare(a.test, b.test), cmp.Compare(a.train, b.train))
	})
	return all, nil
}

// rough returns a picture's luminance on 8x8 pixels, each without the mean of those around it, shifted by so many of the
// picture's own pixels; those at the edge are repeated.
func rough(m *dataset.Image, dx, dy int, mirrored bool) []float32 {
	var means [roughDim]float32
	const block = side / roughSide
	for y := range side {
		for x := range side {
			fromX, fromY := min(max(x+dx, 0), side-1), min(max(y+dy, 0), side-1)
			if mirrored {
				fromX = side - 1 - fromX
			}
			c := m.Pix[3*(fromY*side+fromX):]
			means[y/block*roughSide+x/block] += 0.299*float32(c[0]) + 0.587*float32(c[1]) + 0.114*float32(c[2])
		}
	}
	out := make([]float32, roughDim)
	for y := range roughSide {
		for x := range roughSide {
			sum, n := float32(0), float32(0)
			for v := max(0, y-1); v <= min(roughSide-1, y+1); v++ {
				for u := max(0, x-1); u <= min(roughSide-1, x+1); u++ {
					sum += means[v*roughSide+u]
					n++
				}
			}
			out[y*roughSide+x] = means[y*roughSide+x] - sum/n
		}
	}
	// The cosine needs a direction, which a picture of one colour has not.
	out[0] += 1e-3
	return out
}

// writeSpread tells how many pairs, sorted, lie in ranges of difference.
func writeSpread(w io.Writer, pairs []pair) {
	edges := []float64{0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 1}
	fmt.Fprintf(w, "%d pairs were compared on the pixels\ndifference up to   pairs   test images up to here\n", len(pairs))
	tests := map[int]bool{}
	for i := 0; len(edges) > 0; edges = edges[1:] {
		from := i
		for ; i < len(pairs) && pairs[i].difference <= edges[0]; i++ {
			tests[pairs[i].test] = true
		}
		fmt.Fprintf(w, "%-18g %-7d %d\n", edges[0], i-from, len(tests))
	}
}

func writePairs(w io.Writer, pairs []pair) error {
	_, err := fmt.Fprintf(w, "# Near-duplicates between the test and the training part of CIFAR-10, the most alike first: position in the test\n"+
		"# part, position in the training part, difference. Made by: go run ./bench/cleaning pairs --out FILE\n")
	for _, p := range pairs {
		if _, err := fmt.Fprintf(w, "%d %d %.3f\n", p.test, p.train, p.difference); err != nil {
			return err
		}
	}
	return err
}

// readPairs reads what writePairs writes, or the published list of ciFAIR, whose lines are test image, training image,
// distance of its own encoder, judgment: 0 and 1 are near-duplicates, 2 is only similar.
func readPairs(path string) ([]pair, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var pairs []pair
	scanner := bufio.NewScanner(f)
	for scanner.Scan() {
		line := scanner.Text()
		if strings.HasPrefix(line, "#") || strings.HasPrefix(line, "TestID,") {
			continue
		}
		var p pair
		fields := strings.Fields(strings.ReplaceAll(line, ",", " "))
		if len(fields) == 4 && fields[3] == "2" {
			continue
		}
		if _, err := fmt.Sscan(strings.Join(fields, " "), &p.test, &p.train, &p.difference); err != nil {
			return nil, fmt.Errorf("%s: line %q: %w", path, line, err)
		}
		pairs = append(pairs, p)
	}
	if len(pairs) == 0 && scanner.Err() == nil {
		return nil, fmt.Errorf("%s: no pairs in it", path)
	}
	return pairs, scanner.Err()
}
