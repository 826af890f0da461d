package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"imgsearch/dataset"
	"imgsearch/embedder"
	"imgsearch/evaluation"
)

// queries is the number of images that are asked about, and never trained on.
const queries = 5000

// images are the two parts of the training images.
type images struct {
	all          dataset.Dataset
	train, asked dataset.Dataset
}

// load opens the training images of a data set and parts them by a fixed shuffle.
func load(ctx context.Context, name string) (*images, error) {
	if !strings.HasSuffix(name, ":train") {
		name += ":train"
	}
	all, err := dataset.Open(ctx, name, dataset.Options{})
	if err != nil {
		return nil, err
	}
	if all.Len() < 4*queries {
		return nil, errors.Join(fmt.Errorf("%s: %d images: at least %d are needed", name, all.Len(), 4*queries), all.Close())
	}
	order := rand.New(rand.NewPCG(2026, 5)).Perm(all.Len())
	part := func(name string, indices []int) dataset.Dataset {
		slices.Sort(indices)
		subset, partError := dataset.Subset(all, name, indices)
		err = errors.Join(err, partError)
		return subset
	}
	im := &images{all: all, asked: part("asked", order[:queries]), train: part("trained", order[queries:])}
	if err != nil {
		return nil, errors.Join(err, all.Close())
	}
	return im, nil
}

func (im *images) close() error { return im.all.Close() }

// scores measures an encoder: the asked images are looked for among those that were trained on.
func (im *images) scores(ctx context.Context, e *embedder.Encoder) (evaluation.Scores, error) {
	gallery, err := embed(ctx, e, im.train)
	if err != nil {
		return evaluation.Scores{}, err
	}
	asked, err := embed(ctx, e, im.asked)
	if err != nil {
		return evaluation.Scores{}, err
	}
	report, err := evaluation.Evaluate(ctx, asked, gallery, evaluation.Options{K: []int{1, 10}, Resamples: 1})
	if err != nil {
		return evaluation.Scores{}, err
	}
	return report.Scores, nil
}

// embed returns the embeddings of a data set.
func embed(ctx context.Context, e *embedder.Encoder, ds dataset.Dataset) (evaluation.Set, error) {
	set := evaluation.Set{Dim: e.Dim()}
	var waiting []*dataset.Image
	flush := func() error {
		embeddings, err := e.Embed(ctx, waiting, 0)
		set.Embeddings, waiting = append(set.Embeddings, embeddings...), waiting[:0]
		return err
	}
	err := dataset.Each(ctx, ds, 0, func(i int, s dataset.Sample, err error) error {
		if err != nil {
			return err
		}
		entry := ds.Entry(i)
		set.IDs, set.Labels = append(set.IDs, dataset.ID(i)), append(set.Labels, entry.Label)
		waiting = append(waiting, s.Image.Square(e.InputSize()))
		if len(waiting) < 512 {
			return nil
		}
		return flush()
	})
	if err != nil {
		return set, err
	}
	return set, flush()
}
