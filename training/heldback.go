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
	loss    heldBackLoss
	plain   bool // the loss takes anchors as they are
}

func newHeldBackSet(c *corpus, rows []int32, o Options) *heldBackSet {
	s := &heldBackSet{
		corpus: c, rows: rows, purity: c.labelled(), seed: o.Seed, plain: o.Views.AnchorPlain, finish: o.Finish, dim: o.Dim,
	}
	s.loss = heldBackLoss{options: o.Loss, head: o.Head, batch: o.Batch, threads: o.Threads}
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

// trainedNet is a net with its weights.
type trainedNet struct {
	architecture embedder.Architecture
	weights      embedder.Weights
}

// measure computes the loss of a net in training, to which the head belongs, and looks for neighbours among what the
// finished encoder makes of the images. finished is nil while there is none: then the net is measured as it would be
// finished now, but that the components are those of the held-back images themselves. No label has a part in them.
func (s *heldBackSet) measure(ctx context.Context, net trainedNet, head embedder.Weights, finished *trainedNet, step int) (*HeldBack, error) {
	fail := func(err error) (*HeldBack, error) { return nil, fmt.Errorf("measure held-back images: %w", err) }
	kinds := []func(worker, i int, to *dataset.Image){s.image, s.view, s.anchor}
	if s.plain {
		kinds = kinds[:2]
	}
	e, dim, err := s.embed(ctx, net, kinds...)
	if err != nil {
		return fail(err)
	}
	block := s.len() * dim
	anchors, positives := e[len(e)-block:], e[block:2*block]
	if s.plain {
		anchors = e[:block]
	}
	loss, err := s.loss.of(anchors, positives, dim, head)
	if err != nil {
		return fail(err)
	}
	switch changed := s.finish.PCA || s.finish.Mirror; {
	case changed && finished != nil:
		e, dim, err = s.embed(ctx, *finished, s.image, s.view)
	case changed:
		e, dim, err = s.embedUnfinished(ctx, net)
	}
	if err != nil {
		return fail(err)
	}
	out := s.judge(e[:2*s.len()*dim], dim, step)
	out.Loss = loss
	return out, nil
}

// embedUnfinished embeds the images and their views as if the net were finished now.
func (s *heldBackSet) embedUnfinished(ctx context.Context, net trainedNet) ([]float32, int, error) {
	net.architecture, net.weights = s.finish.add(net.architecture, net.weights)
	features, dim, err := s.embed(ctx, net, s.image, s.view)
	if err != nil || !s.finish.PCA {
		return features, dim, err
	}
	m := newMoments(dim)
	m.add(features[:s.len()*dim], len(s.viewers))
	p, err := m.components(s.dim, s.finish.Whitening)
	if err != nil {
		return nil, 0, err
	}
	return p.apply(features, len(s.viewers)), p.dim(), nil
}

// heldBackChunk is how many images are in memory at a time, besides the corpus.
const heldBackChunk = 512

// embed returns what a net makes of the images that the functions write, [len(kinds)*n, dim].
func (s *heldBackSet) embed(ctx context.Context, net trainedNet, kinds ...func(worker, i int, to *dataset.Image)) (embeddings []float32, dim int, err error) {
	encoder, err := embedder.New(net.architecture, net.weights, embedder.Metadata{})
	if err != nil {
		return nil, 0, err
	}
	n := s.len()
	out := make([]float32, 0, len(kinds)*n*encoder.Dim())
	chunk := make([]*dataset.Image, min(n, heldBackChunk))
	for i := range chunk {
		chunk[i] = dataset.NewImage(s.corpus.size, s.corpus.size)
	}
	for _, write := range kinds {
		for from := 0; from < n; from += len(chunk) {
			images := chunk[:min(len(chunk), n-from)]
			kernel.ParallelRanges(len(s.viewers), len(images), func(worker, first, end int) {
				for i := first; i < end; i++ {
					write(worker, from+i, images[i])
				}
			})
			embeddings, err := encoder.Embed(ctx, images, len(s.viewers))
			if err != nil {
				return nil, 0, err
			}
			out = append(out, embeddings...)
		}
	}
	return out, encoder.Dim(), nil
}

// image writes held-back image i.
func (s *heldBackSet) image(_, i int, to *dataset.Image) {
	interleave(s.corpus.pixels(s.rows[i]), to.Pix, func(x uint8) uint8 { return x })
}

// view writes a view of held-back image i, always the same.
func (s *heldBackSet) view(worker, i int, to *dataset.Image) { s.write(worker, i, 0, to) }

// anchor writes another view.
func (s *heldBackSet) anchor(worker, i int, to *dataset.Image) { s.write(worker, i, 1, to) }

func (s *heldBackSet) write(worker, i, which int, to *dataset.Image) {
	values := s.values[worker]
	s.viewers[worker].random(s.corpus.pixels(s.rows[i]), values, newRNG(s.seed, streamMatch, uint64(i), uint64(which)))
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

// judge measures embeddings, [2n, dim] or more: those of the images, then those of their views.
func (s *heldBackSet) judge(embeddings []float32, dim, step int) *HeldBack {
	n := s.len()
	gallery, views := embeddings[:n*dim], embeddings[n*dim:2*n*dim]
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
