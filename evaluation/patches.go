package evaluation

import (
	"context"
	"fmt"

	"imgsearch/internal/patches"
)

// patchDim is the dim that features of patches are reduced to beside their full length.
const patchDim = 64

// AddPatchBaselines puts beside the report two kinds of features that are learned without back-propagation, fitted on
// the gallery: sums of the codes of small patches by a dictionary (Coates, Ng & Lee 2011) and the sparse manifold
// transform (arXiv 2209.15261), each in full and as 64 half-whitened principal components. See package patches;
// docs/patches.md has figures. All are compared by the cosine, by exact search.
//
// The arguments are those of AddPixelBaselines; onProgress, where it is not nil, hears what is being done. It takes
// minutes, in proportion to the number of images, and some 40 KB of memory an image.
func (r *Report) AddPatchBaselines(ctx context.Context, queryPixels, galleryPixels *Pixels, queries, gallery Set, o Options, onProgress func(stage string, done, total int)) error {
	for _, base := range []struct {
		name   string
		method patches.Method
		atoms  int
	}{
		{"patch dictionary", patches.Dictionary, 1024},
		{"sparse manifold transform", patches.Manifold, 2048},
	} {
		options := patches.Options{Method: base.method, Atoms: base.atoms, Seed: o.Seed, Threads: o.Threads, OnProgress: onProgress}
		if err := r.addPatches(ctx, base.name, queryPixels, galleryPixels, queries, gallery, o, options); err != nil {
			return fmt.Errorf("baseline %s: %w", base.name, err)
		}
	}
	return nil
}

func (r *Report) addPatches(ctx context.Context, name string, queryPixels, galleryPixels *Pixels, queries, gallery Set, o Options, options patches.Options) error {
	q, g := patches.Images{Pix: queryPixels.data, Side: PixelSide}, patches.Images{Pix: galleryPixels.data, Side: PixelSide}
	f, err := patches.Fit(ctx, g, options)
	if err != nil {
		return err
	}
	if gallery.Embeddings, err = f.Extract(ctx, g); err != nil {
		return err
	}
	if queries.Embeddings, err = f.Extract(ctx, q); err != nil {
		return err
	}
	queries.Dim, gallery.Dim = f.Dim(), f.Dim()
	report, err := Evaluate(ctx, queries, gallery, exactCosine(o))
	if err != nil {
		return err
	}
	r.AddBaseline(name, report)
	dim := min(patchDim, g.Len()-1)
	c, err := patches.FitCompact(ctx, gallery.Embeddings, f.Dim(), dim, o.Seed, o.Threads)
	if err != nil {
		return err
	}
	queries.Embeddings, queries.Dim = c.Project(queries.Embeddings, 0.5, o.Threads), dim
	gallery.Embeddings, gallery.Dim = c.Project(gallery.Embeddings, 0.5, o.Threads), dim
	if report, err = Evaluate(ctx, queries, gallery, exactCosine(o)); err != nil {
		return err
	}
	r.AddBaseline(fmt.Sprintf("%s PCA-%d", name, dim), report)
	return nil
}
