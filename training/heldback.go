package training

import (
	"context"
	"fmt"
	"slices"

	"imgsearch/dataset"
	"imgsearch/embedder"
	"imgsearch/internal/kernel"
)

// split divides the images 0 to n-1, by the seed alone, into those to train on and those held back, each ascending.
func split(seed uint64, n, held int) (train, back []int32) {
	r := newRNG(seed, streamHeldBack, 0, 0)
	order := r.permutation(n)
	back, train = order[:held:held], order[held:]
	slices.Sort(back)
	slices.Sort(train)
	return train, back
}

// heldBackSet measures encoders on the held-back images.
type heldBackSet struct {
	images  []*dataset.Image // the images, then a view of each
	labels  []dataset.Label
	purity  bool
	chance  float64
	threads int
}

func newHeldBackSet(c *corpus, rows []int32, o Options) *heldBackSet {
	s := &heldBackSet{threads: o.Threads, purity: c.labelled()}
	for _, row := range rows {
		s.images = append(s.images, c.image(row))
		s.labels = append(s.labels, c.labels[row])
	}
	// A viewer whose normalisation leaves values 0 to 255. Dropout is no change that an image could hold.
	v := newViewer(o.Views, c.size, [3]float32{}, [3]float32{1. / 255, 1. / 255, 1. / 255})
	n := c.size * c.size
	values := make([]float32, 3*n)
	for i, row := range rows {
		v.random(c.pixels(row), values, newRNG(o.Seed, streamMatch, uint64(i), 0))
		view := dataset.NewImage(c.size, c.size)
		for p := range n {
			for k := range 3 {
				view.Pix[3*p+k] = uint8(values[k*n+p] + 0.5)
			}
		}
		s.images = append(s.images, view)
	}
	if s.purity {
		// The chance that another image, drawn at random, has the label.
		counts := map[dataset.Label]int{}
		for _, l := range s.labels {
			counts[l]++
		}
		var same, all float64
		for l, c := range counts {
			if l != "" {
				same += float64(c) * float64(c-1)
				all += float64(c) * float64(len(s.labels)-1)
			}
		}
		s.purity = all > 0
		if s.purity {
			s.chance = same / all
		}
	}
	return s
}

func (s *heldBackSet) len() int { return len(s.labels) }

// measure embeds the images and looks for neighbours among them.
func (s *heldBackSet) measure(ctx context.Context, a embedder.Architecture, w embedder.Weights, step int) (*HeldBack, error) {
	encoder, err := embedder.New(a, w, embedder.Metadata{})
	if err != nil {
		return nil, fmt.Errorf("measure held-back images: %w", err)
	}
	embeddings, err := encoder.Embed(ctx, s.images, s.threads)
	if err != nil {
		return nil, fmt.Errorf("measure held-back images: %w", err)
	}
	return s.judge(embeddings, encoder.Dim(), step), nil
}

// judge measures embeddings, [2n, dim]: those of the images, then those of their views.
func (s *heldBackSet) judge(embeddings []float32, dim, step int) *HeldBack {
	n := s.len()
	gallery, views := embeddings[:n*dim], embeddings[n*dim:]
	type score struct {
		at1, at10 float64
		labelled  bool
		match     bool
	}
	scores := make([]score, n)
	kernel.ParallelRanges(s.threads, n, func(_, from, to int) {
		distances := make([]float32, n)
		var nearest [10]int32
		for i := from; i < to; i++ {
			sc := &scores[i]
			kernel.SquaredL2Rows(views[i*dim:(i+1)*dim], gallery, distances)
			sc.match = closest(distances, -1, nearest[:1]) == 1 && int(nearest[0]) == i
			if !s.purity || s.labels[i] == "" {
				continue
			}
			kernel.SquaredL2Rows(gallery[i*dim:(i+1)*dim], gallery, distances)
			k := closest(distances, i, nearest[:])
			if k == 0 {
				continue
			}
			same := 0
			for rank, j := range nearest[:k] {
				if s.labels[j] == s.labels[i] {
					same++
					if rank == 0 {
						sc.at1 = 1
					}
				}
			}
			sc.at10, sc.labelled = float64(same)/float64(k), true
		}
	})
	out := &HeldBack{Step: step, Images: n}
	var at1, at10, labelled float64
	for _, sc := range scores {
		if sc.match {
			out.Match += 1 / float64(n)
		}
		if sc.labelled {
			at1 += sc.at1
			at10 += sc.at10
			labelled++
		}
	}
	if labelled > 0 {
		out.Purity = &Purity{At1: at1 / labelled, At10: at10 / labelled, Chance: s.chance}
	}
	return out
}

// closest writes the places of the smallest distances to out, nearest first, equal ones by place, leaving out the place
// except, and returns how many there are. NaN is never close.
func closest(distances []float32, except int, out []int32) int {
	k := 0
	for i, d := range distances {
		if i == except || d != d || k == len(out) && !(d < distances[out[k-1]]) {
			continue
		}
		if k < len(out) {
			k++
		}
		j := k - 1
		for j > 0 && d < distances[out[j-1]] {
			out[j] = out[j-1]
			j--
		}
		out[j] = int32(i)
	}
	return k
}
