package training

import (
	"context"
	"fmt"
	"math"

	"imgsearch/dataset"
	"imgsearch/embedder"
	"imgsearch/internal/kernel"
)

// Comparison says at the end of a run, without labels, what the encoder learned that holds for other images too: how
// often a random view of an image (crop, flip, colours) has that image as the nearest of Gallery images, which are all
// held-back and all training images, or a choice of both. Nothing depends on it but warnings.
type Comparison struct {
	// Images of each kind are asked for, by Views views of each.
	Images  int `json:"images"`
	Views   int `json:"views"`
	Gallery int `json:"gallery"`
	// HeldBack is the share of views of held-back images that found their image.
	HeldBack float64 `json:"held_back"`
	// Training is the same for training images. Where it is much the larger one, the encoder knows its training images by
	// heart.
	Training float64 `json:"training"`
	// BuiltIn is what the encoder that is built into the program reaches on the views of HeldBack.
	BuiltIn float64 `json:"built_in"`
}

const (
	compareImages  = 500  // of each kind are asked for, at most
	compareViews   = 400  // of each kind, at least, as far as compareEach allows
	compareEach    = 8    // views of an image, at most
	compareGallery = 1000 // images, at most
	// compareMargin is the difference between two shares, besides three standard errors, that is worth a warning.
	compareMargin = 0.05
)

// compare measures the finished encoder and warns of what comes out. It does nothing where no images were held back.
func (t *trainer) compare(ctx context.Context, encoder *embedder.Encoder) (*Comparison, error) {
	if len(t.back) == 0 || t.TrainOnAll {
		return nil, nil
	}
	builtIn, err := embedder.Shipped()
	if err != nil {
		return nil, fmt.Errorf("compare with the built-in encoder: %w", err)
	}
	c := newComparer(t.corpus, t.back, t.train, t.Options)
	trained, err := c.found(ctx, encoder)
	if err != nil {
		return nil, err
	}
	reference, err := c.found(ctx, builtIn)
	if err != nil {
		return nil, err
	}
	if err := t.corpus.err(); err != nil {
		return nil, err
	}
	out := &Comparison{Images: c.asked, Views: c.views, Gallery: len(c.gallery)}
	texts := out.judge(trained[:c.asked], trained[c.asked:], reference[:c.asked])
	if !t.Finish.PCA {
		// A last layer that was trained finds more views than whitened features do, and groups worse: the built-in encoder
		// ends in the latter, and only encoders that end alike can be judged by what they find.
		delete(texts, "built-in")
	}
	for _, kind := range []string{"built-in", "overfitted"} {
		if text := texts[kind]; text != "" && t.at.Watch.warn(kind, text) {
			if err := t.warned(text); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// judge fills in the shares, given for each image what the encoder finds of held-back images, of training images, and
// what the built-in one finds of the former. It returns the texts of warnings by their kind.
func (c *Comparison) judge(held, training, builtIn []float64) map[string]string {
	var heldError, trainingError float64
	c.HeldBack, heldError = meanAndError(held)
	c.Training, trainingError = meanAndError(training)
	c.BuiltIn, _ = meanAndError(builtIn)
	differences := make([]float64, len(held))
	for i := range differences {
		differences[i] = builtIn[i] - held[i]
	}
	texts := map[string]string{}
	if better, err := meanAndError(differences); better > compareMargin+3*err {
		texts["built-in"] = fmt.Sprintf("the built-in encoder knows images that were held back better than this one: %.3f of their views find "+
			"their image, %.3f with this one; use the built-in encoder, or train longer or on more images", c.BuiltIn, c.HeldBack)
	}
	if c.Training-c.HeldBack > compareMargin+3*math.Hypot(heldError, trainingError) {
		texts["overfitted"] = fmt.Sprintf("the encoder knows its training images better than others: %.3f of their views find their image, "+
			"%.3f of those of held-back images; train on more images, or for fewer steps", c.Training, c.HeldBack)
	}
	return texts
}

// meanAndError returns the mean and its standard error.
func meanAndError(x []float64) (mean, err float64) {
	n := float64(len(x))
	for _, v := range x {
		mean += v / n
	}
	if n < 2 {
		return mean, 1
	}
	for _, v := range x {
		err += (v - mean) * (v - mean)
	}
	return mean, math.Sqrt(err / (n - 1) / n)
}

// comparer asks encoders for images by their views.
type comparer struct {
	corpus  *corpus
	gallery []int32 // places in the corpus: held-back images that are asked for, as many training images, then others
	asked   int     // of each kind
	views   int     // of each image
	seed    uint64
	viewers []*viewer // one for each thread
	values  [][]float32
}

func newComparer(c *corpus, back, train []int32, o Options) *comparer {
	asked := min(len(back), len(train), compareImages)
	out := &comparer{
		corpus: c, asked: asked, seed: o.Seed,
		views: min(max(1, (compareViews+asked-1)/asked), compareEach),
	}
	order := newRNG(o.Seed, streamCompare, 0, 0)
	backOrder, trainOrder := order.permutation(len(back)), order.permutation(len(train))
	take := func(from, places []int32) {
		for _, p := range places[:min(len(places), compareGallery-len(out.gallery))] {
			out.gallery = append(out.gallery, from[p])
		}
	}
	take(back, backOrder[:asked])
	take(train, trainOrder[:asked])
	take(back, backOrder[asked:])
	take(train, trainOrder[asked:])
	for range o.Threads {
		// Views of one kind for all recipes, with values 0 to 255.
		out.viewers = append(out.viewers, newViewer(twoViews, c.size, [3]float32{}, [3]float32{1. / 255, 1. / 255, 1. / 255}))
		out.values = append(out.values, make([]float32, 3*c.size*c.size))
	}
	return out
}

// found returns, for each image that is asked for, the share of its views that find it.
func (c *comparer) found(ctx context.Context, encoder *embedder.Encoder) ([]float64, error) {
	gallery, err := c.embed(ctx, encoder, len(c.gallery), func(_, i int, to *dataset.Image) {
		interleave(c.corpus.pixels(c.gallery[i]), to.Pix, func(x uint8) uint8 { return x })
	})
	if err != nil {
		return nil, err
	}
	views, err := c.embed(ctx, encoder, 2*c.asked*c.views, func(worker, i int, to *dataset.Image) {
		image, values := i/c.views, c.values[worker]
		c.viewers[worker].random(c.corpus.pixels(c.gallery[image]), values, newRNG(c.seed, streamCompare, uint64(i), 1))
		interleave(values, to.Pix, func(x float32) uint8 { return uint8(x + 0.5) })
	})
	if err != nil {
		return nil, err
	}
	dim := encoder.Dim()
	out := make([]float64, 2*c.asked)
	kernel.ParallelRanges(len(c.viewers), len(out), func(_, from, to int) {
		distances := make([]float32, len(c.gallery))
		var nearest [1]int32
		for i := from; i < to; i++ {
			for v := range c.views {
				kernel.SquaredL2Rows(views[(i*c.views+v)*dim:][:dim], gallery, distances)
				if closest(distances, -1, nearest[:]) == 1 && int(nearest[0]) == i {
					out[i] += 1 / float64(c.views)
				}
			}
		}
	})
	return out, nil
}

// embed returns the embeddings of n images that write makes, [n, dim].
func (c *comparer) embed(ctx context.Context, encoder *embedder.Encoder, n int, write func(worker, i int, to *dataset.Image)) ([]float32, error) {
	out := make([]float32, 0, n*encoder.Dim())
	chunk := make([]*dataset.Image, min(n, heldBackChunk))
	for i := range chunk {
		chunk[i] = dataset.NewImage(c.corpus.size, c.corpus.size)
	}
	for from := 0; from < n; from += len(chunk) {
		images := chunk[:min(len(chunk), n-from)]
		kernel.ParallelRanges(len(c.viewers), len(images), func(worker, first, end int) {
			for i := first; i < end; i++ {
				write(worker, from+i, images[i])
			}
		})
		embeddings, err := encoder.Embed(ctx, images, len(c.viewers))
		if err != nil {
			return nil, fmt.Errorf("compare encoders: %w", err)
		}
		out = append(out, embeddings...)
	}
	return out, nil
}
