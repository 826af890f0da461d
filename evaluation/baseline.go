package evaluation

import (
	"context"
	"fmt"

	"imgsearch/dataset"
	"imgsearch/index"
)

// AddBaseline puts the scores of another report, of other embeddings of the same images, beside r's own.
func (r *Report) AddBaseline(name string, other *Report) {
	r.Baselines = append(r.Baselines, Baseline{Name: name, Scores: other.Scores})
}

// AddPixelBaselines puts beside the report what needs no encoder: the pixels themselves, centred by the gallery's mean
// image; their 64 principal components, fitted on the gallery; and these half-whitened, which is the best of the three.
// All are compared by the cosine, by exact search.
//
// queryPixels and galleryPixels are the images of queries and gallery, in their order; of the sets the ids and labels
// count. Of the options Index and Metric are set aside. Comparing pixels takes 6,144 operations a pair: some 20 s for
// 10,000 queries in a gallery of 50,000 on 2 cores with AVX-512.
func (r *Report) AddPixelBaselines(ctx context.Context, queryPixels, galleryPixels *Pixels, queries, gallery Set, o Options) error {
	raw, err := RawPixels(ctx, queryPixels, galleryPixels, queries, gallery, o)
	if err != nil {
		return fmt.Errorf("baseline raw pixels: %w", err)
	}
	r.AddBaseline("raw pixels", raw)
	pca, err := FitPCA(ctx, galleryPixels, PCAOptions{Seed: o.Seed, Threads: o.Threads})
	if err != nil {
		return fmt.Errorf("baseline principal components: %w", err)
	}
	for _, halfWhiten := range []bool{false, true} {
		name := fmt.Sprintf("PCA-%d", pca.Dim())
		if halfWhiten {
			name += " half-whitened"
		}
		queries.Embeddings, queries.Dim = pca.Project(queryPixels, halfWhiten, o.Threads), pca.Dim()
		gallery.Embeddings, gallery.Dim = pca.Project(galleryPixels, halfWhiten, o.Threads), pca.Dim()
		report, err := Evaluate(ctx, queries, gallery, exactCosine(o))
		if err != nil {
			return fmt.Errorf("baseline %s: %w", name, err)
		}
		r.AddBaseline(name, report)
	}
	return nil
}

func exactCosine(o Options) Options {
	o.Index, o.Metric, o.Engine = nil, index.Cosine, ""
	return o
}

// RawPixels evaluates the pixels as embeddings of dim 3,072: every image squared to 32x32, less the gallery's mean image,
// compared by the cosine, by exact search. See AddPixelBaselines for the arguments.
func RawPixels(ctx context.Context, queryPixels, galleryPixels *Pixels, queries, gallery Set, options Options) (*Report, error) {
	o, err := exactCosine(options).withDefaults()
	if err != nil {
		return nil, err
	}
	queries.Embeddings, queries.Dim = nil, PixelDim
	gallery.Embeddings, gallery.Dim = nil, PixelDim
	if queries.IDs == nil && !o.LeaveOneOut {
		queries.IDs = make([]dataset.ID, queryPixels.Len())
	}
	for _, s := range []struct {
		name   string
		pixels *Pixels
		set    Set
	}{{"query set", queryPixels, queries}, {"gallery", galleryPixels, gallery}} {
		n := s.pixels.Len()
		if n == 0 || len(s.set.IDs) != n || s.set.Labels != nil && len(s.set.Labels) != n {
			return nil, fmt.Errorf("%w: %s of %d images with %d ids and %d labels", ErrSet, s.name, n, len(s.set.IDs), len(s.set.Labels))
		}
	}
	at, err := gallery.positions("gallery")
	if err != nil {
		return nil, err
	}
	center := mean(pixelRows{pixels: galleryPixels, threads: o.Threads})
	e := &evaluator{Options: o, ctx: ctx, queries: queries, gallery: gallery, at: at}
	e.scanOf = func(q, g []int) *scan {
		ids := gallery.IDs
		if g != nil {
			ids = pick(ids, g)
		}
		return &scan{
			metric: index.Cosine, ids: ids, threads: o.Threads,
			queries: pixelRows{queryPixels, q, center, true, o.Threads},
			gallery: pixelRows{galleryPixels, g, center, true, o.Threads},
		}
	}
	return e.run()
}
