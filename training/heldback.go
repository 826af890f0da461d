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
	corpus  *corpus
	rows    []int32 // the images' places in the corpus
	labels  []dataset.Label
	purity  bool
	chance  float64
	seed    uint64
	finish  FinishOptions
	dim     int       // of the finished encoder
	viewers []*viewer // one for each thread
	values  [][]float32
}

func newHeldBackSet(c *corpus, rows []int32, o Options) *heldBackSet {
	s := &heldBackSet{corpus: c, rows: rows, purity: c.labelled(), seed: o.Seed, finish: o.Finish, dim: o.Dim}
	for _, row := range rows {
		s.labels = append(s.labels, c.labels[row])
	}
	for range o.Threads {
		// A viewer whose normalisation leaves values 0 to 255. Dropout is no change that an image could hold.
		s.viewers = append(s.viewers, newViewer(o.Views, c.size, [3]float32{}, [3]float32{1. / 255, 1. / 255, 1. / 255}))
		s.values = append(s.values, make([]float32, 3*c.size*c.size))
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
	embeddings, err := s.embed(ctx, encoder)
	if err != nil {
		return nil, fmt.Errorf("measure held-back images: %w", err)
	}
	return s.judge(embeddings, encoder.Dim(), step), nil
}

// measureUnfinished measures a net in training as it would be finished now, but that the components are those of the
// held-back images themselves, whose features are there anyway. No label has a part in them.
func (s *heldBackSet) measureUnfinished(ctx context.Context, a embedder.Architecture, w embedder.Weights, step int) (*HeldBack, error) {
	a, w = s.finish.add(a, w)
	if !s.finish.PCA {
		return s.measure(ctx, a, w, step)
	}
	fail := func(err error) (*HeldBack, error) { return nil, fmt.Errorf("measure held-back images: %w", err) }
	encoder, err := embedder.New(a, w, embedder.Metadata{})
	if err != nil {
		return fail(err)
	}
	features, err := s.embed(ctx, encoder)
	if err != nil {
		return fail(err)
	}
	m := newMoments(encoder.Dim())
	m.add(features[:s.len()*encoder.Dim()], len(s.viewers))
	p, err := m.components(s.dim, s.finish.Whitening)
	if err != nil {
		return fail(err)
	}
	return s.judge(p.apply(features, len(s.viewers)), p.dim(), step), nil
}

// heldBackChunk is how many images are in memory at a time, besides the corpus.
const heldBackChunk = 512

// embed returns the embeddings of the images, then those of a view of each, [2n, dim].
func (s *heldBackSet) embed(ctx context.Context, encoder *embedder.Encoder) ([]float32, error) {
	n := s.len()
	out := make([]float32, 0, 2*n*encoder.Dim())
	chunk := make([]*dataset.Image, min(n, heldBackChunk))
	for i := range chunk {
		chunk[i] = dataset.NewImage(s.corpus.size, s.corpus.size)
	}
	for _, write := range []func(worker, i int, to *dataset.Image){s.image, s.view} {
		for from := 0; from < n; from += len(chunk) {
			images := chunk[:min(len(chunk), n-from)]
			kernel.ParallelRanges(len(s.viewers), len(images), func(worker, first, end int) {
				for i := first; i < end; i++ {
					write(worker, from+i, images[i])
				}
			})
			embeddings, err := encoder.Embed(ctx, images, len(s.viewers))
			if err != nil {
				return nil, err
			}
			out = append(out, embeddings...)
		}
	}
	return out, nil
}

// image writes held-back image i.
func (s *heldBackSet) image(_, i int, to *dataset.Image) {
	interleave(s.corpus.pixels(s.rows[i]), to.Pix, func(x uint8) uint8 { return x })
}

// view writes a view of held-back image i, always the same.
func (s *heldBackSet) view(worker, i int, to *dataset.Image) {
	values := s.values[worker]
	s.viewers[worker].random(s.corpus.pixels(s.rows[i]), values, newRNG(s.seed, streamMatch, uint64(i), 0))
	interleave(values, to.Pix, func(x float32) uint8 { return uint8(x + 0.5) })
}

// interleave turns planes, [3, pixels], into pixels, [pixels, 3].
func interleave[T any](planes []T, pix []uint8, value func(T) uint8) {
	n := len(pix) / 3
	red, green, blue := planes[:n], planes[n:][:n], planes[2*n:][:n]
	for p := range red {
		rgb := pix[3*p:][:3]
		rgb[0], rgb[1], rgb[2] = value(red[p]), value(green[p]), value(blue[p])
	}
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
	kernel.ParallelRanges(len(s.viewers), n, func(_, from, to int) {
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
