package search

import (
	"context"
	"fmt"
	"math"
	"slices"

	"imgsearch/dataset"
	"imgsearch/index"
)

// unlikeWeight is how much the images of unlike count against those of like: docs/groups.md has what was measured.
const unlikeWeight = 0.5

// Example is one picture of a question that is asked with several: an image of the collection, or one from outside.
type Example struct {
	// Sample is the picture; nil means the collection's image ID.
	Sample *dataset.Sample
	// Source names where Sample comes from: a record with this source is the question's own.
	Source string
	ID     dataset.ID
}

// QueryExamples returns the images nearest to several pictures at once and away from others: to the mean of like, each
// embedding brought to length 1, turned away from the mean of unlike. This is relevance feedback (Rocchio 1971), but only
// what unlike has not in common with like is taken off: otherwise examples that are near each other would leave little.
// Records of the examples themselves are left out as QueryID and QueryImage do.
//
// Without an example of like, or where those cancel each other out, it is ErrExamples; the other errors are those of
// QueryID and QueryImage.
func (c *Collection) QueryExamples(ctx context.Context, like, unlike []Example, options QueryOptions) ([]Result, error) {
	if err := options.validate(); err != nil {
		return nil, err
	}
	if len(like) == 0 {
		return nil, fmt.Errorf("%w: none to be like: give one", ErrExamples)
	}
	all := slices.Concat(like, unlike)
	var images []*dataset.Image
	for _, e := range all {
		if e.Sample != nil {
			images = append(images, e.Sample.Image)
		}
	}
	var outside []float32
	if len(images) > 0 {
		encoder, err := c.Encoder()
		if err != nil {
			return nil, err
		}
		if outside, err = encoder.Embed(ctx, images, 0); err != nil {
			return nil, err
		}
	}
	return c.query(ctx, options, func(l *loaded) ([]float32, func(Record) bool, error) {
		rows := make([][]float32, len(all))
		next := outside
		for i, e := range all {
			switch {
			case e.Sample != nil:
				rows[i], next = next[:c.dim], next[c.dim:]
			case l.ids.Has(e.ID):
				rows[i] = l.row(e.ID, c.dim)
			default:
				return nil, nil, fmt.Errorf("id %d: %w", e.ID, ErrNotFound)
			}
		}
		embedding, err := combine(c.metric, rows[:len(like)], rows[len(like):], unlikeWeight)
		return embedding, func(r Record) bool { return slices.ContainsFunc(all, func(e Example) bool { return e.is(r) }) }, err
	})
}

// is reports whether a record is the example's own.
func (e Example) is(r Record) bool {
	if e.Sample == nil {
		return r.ID == e.ID
	}
	return r.Hash == e.Sample.Hash && e.Sample.Hash != dataset.Hash{} || r.Source == e.Source && e.Source != ""
}

// combine makes one embedding of several: the mean of like, brought to length 1, less weight times the part of the mean of
// unlike that is orthogonal to it. For the Euclidean distance it gets the length of like, the
// root of the mean square.
func combine(metric index.Metric, like, unlike [][]float32, weight float64) ([]float32, error) {
	sum := meanDirection(like)
	norm := math.Sqrt(dot(sum, sum))
	if norm < 1e-6 {
		return nil, fmt.Errorf("%w: they cancel each other out: take others", ErrExamples)
	}
	for d := range sum {
		sum[d] /= norm
	}
	if len(unlike) > 0 {
		away := meanDirection(unlike)
		common := dot(sum, away)
		for d := range sum {
			away[d] -= common * sum[d]
		}
		for d := range sum {
			sum[d] -= weight * away[d]
		}
	}
	length := 0.0
	for _, row := range like {
		for _, v := range row {
			length += float64(v) * float64(v) / float64(len(like))
		}
	}
	if length = math.Sqrt(length); metric == index.Cosine {
		length = 1
	}
	norm = math.Sqrt(dot(sum, sum))
	out := make([]float32, len(sum))
	for d, v := range sum {
		out[d] = float32(v / norm * length)
	}
	return out, nil
}

// meanDirection is the mean of embeddings that are brought to length 1; zeros stay zeros.
func meanDirection(rows [][]float32) []float64 {
	sum := make([]float64, len(rows[0]))
	for _, row := range rows {
		norm := 0.0
		for _, v := range row {
			norm += float64(v) * float64(v)
		}
		if norm == 0 {
			continue
		}
		for d, v := range row {
			sum[d] += float64(v) / math.Sqrt(norm) / float64(len(rows))
		}
	}
	return sum
}

func dot(a, b []float64) (sum float64) {
	for d := range a {
		sum += a[d] * b[d]
	}
	return sum
}
