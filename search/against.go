package search

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"imgsearch/atlas"
	"imgsearch/dataset"
	"imgsearch/index"
	"imgsearch/store"
)

// DuplicateQuery is an image of the data set that a collection is compared with.
type DuplicateQuery struct {
	Source string        `json:"source"`
	Label  dataset.Label `json:"label"`
}

// DuplicateMatch is an image of the collection that shows the same picture as one of the data set.
type DuplicateMatch struct {
	DuplicateCopy
	// Rank is the place, from 1, among the nearest neighbours of other content; 0 for exact copies.
	Rank int `json:"rank"`
	// Distance is that of the embeddings, measured by the collection's Metric; 0 for exact copies.
	Distance float32 `json:"distance"`
	// Equal is the number of images in the collection with this content; the match is the first of them that is not the
	// query itself.
	Equal int `json:"equal"`
}

// MatchedQuery is an image of the data set with its duplicates: an exact copy first, then by rising difference.
type MatchedQuery struct {
	Query   DuplicateQuery   `json:"query"`
	Matches []DuplicateMatch `json:"matches"`

	// Place is the position in the data set.
	Place int `json:"-"`
}

// AgainstReport is what DuplicatesAgainst found.
type AgainstReport struct {
	// Queries is the number of images of the data set that could be read, Images that of the collection.
	Queries int `json:"queries"`
	Images  int `json:"images"`
	// Exact counts the queries with an exact copy, Near those with near-duplicates only.
	Exact int `json:"exact"`
	Near  int `json:"near"`
	// NearAtRank1 counts the queries whose nearest neighbour of other content is a near-duplicate.
	NearAtRank1 int `json:"near_at_rank_1"`
	// Compared, Unread and MaxDifference are those of DuplicateReport.
	Compared      int     `json:"compared"`
	Unread        int     `json:"unread"`
	MaxDifference float64 `json:"max_difference"`
	// Found are the queries with duplicates, the most alike first; equally alike ones in the data set's order.
	Found []MatchedQuery `json:"found"`
}

// DuplicatesAgainst finds the images of a data set that the collection has already, as exact copies or near-duplicates: see
// Duplicates, whose errors it has too. An image with the source of a record is not a copy of that record. Images that
// cannot be read are reported to OnProblem and left out. The data set is not closed.
func (c *Collection) DuplicatesAgainst(ctx context.Context, ds dataset.Dataset, options DuplicateOptions) (*AgainstReport, error) {
	o, err := options.withDefaults()
	if err != nil {
		return nil, err
	}
	own := make(map[string]dataset.ID, ds.Len())
	for i := range ds.Len() {
		own[ds.Entry(i).Source] = noID
	}
	t, err := c.readContents(ctx, func(r Record) {
		if _, listed := own[r.Source]; listed {
			own[r.Source] = r.ID
		}
	})
	if err != nil {
		return nil, err
	}
	a := &matching{
		duplicating: duplicating{collection: c, options: o, contents: t, pixels: newPixelReader(c)}, data: ds, own: own,
		report: &AgainstReport{Images: len(t.ids), MaxDifference: o.MaxDifference, Found: []MatchedQuery{}},
	}
	defer a.pixels.close()
	if err := a.run(ctx); err != nil {
		return nil, err
	}
	r := a.report
	r.Compared, r.Unread = int(a.compared.Load()), len(a.unread.seen)
	slices.SortStableFunc(r.Found, func(x, y MatchedQuery) int {
		return cmp.Or(cmp.Compare(x.Matches[0].Difference, y.Matches[0].Difference), cmp.Compare(x.Place, y.Place))
	})
	return r, nil
}

// noID is no image's.
const noID = ^dataset.ID(0)

// matching is one call of DuplicatesAgainst.
type matching struct {
	duplicating
	data   dataset.Dataset
	own    map[string]dataset.ID // of the data set's sources: the record with that source, or noID
	report *AgainstReport
}

// asked is one image of the data set.
type asked struct {
	place  int
	sample dataset.Sample
	self   dataset.ID
	near   []nearMatch
}

type nearMatch struct {
	distinct
	rank int
	atlas.Alignment
}

func (a *matching) run(ctx context.Context) error {
	encoder, err := a.collection.Encoder()
	if err != nil {
		return err
	}
	var batch []asked
	flush := func() error {
		if !a.options.ExactOnly && len(a.contents.ids) > 0 {
			images := make([]*dataset.Image, len(batch))
			for i := range batch {
				images[i] = batch[i].sample.Image
			}
			embeddings, err := encoder.Embed(ctx, images, a.options.Threads)
			if err != nil {
				return fmt.Errorf("embed %d images from %s on: %w", len(images), a.data.Entry(batch[0].place).Source, err)
			}
			if err := a.near(ctx, batch, embeddings); err != nil {
				return err
			}
		}
		for i := range batch {
			if err := a.take(ctx, &batch[i]); err != nil {
				return err
			}
		}
		batch = batch[:0]
		return nil
	}
	err = dataset.Each(ctx, a.data, a.options.Threads, func(i int, s dataset.Sample, err error) error {
		source := a.data.Entry(i).Source
		if err != nil {
			a.options.OnProblem(dataset.Problem{Source: source, Err: err})
			return nil
		}
		a.report.Queries++
		batch = append(batch, asked{place: i, sample: s, self: a.own[source]})
		if len(batch) < embedBatch {
			return nil
		}
		a.options.OnProgress("comparing", i+1, a.data.Len())
		return flush()
	})
	if err == nil && len(batch) > 0 {
		err = flush()
	}
	return err
}

// near finds the near-duplicates of a batch.
func (a *matching) near(ctx context.Context, batch []asked, embeddings []float32) error {
	c, t := a.collection, a.contents
	found := make([][]distinct, len(batch))
	err := c.store.View(ctx, func(v *store.View) error {
		if _, err := c.load(v, true); err != nil {
			return err
		}
		return a.parallel(len(batch), func(i int) error {
			return v.Guard(func() error {
				embedding, err := index.Prepare(c.metric, c.dim, embeddings[i*c.dim:(i+1)*c.dim])
				if errors.Is(err, ErrEmbedding) {
					return nil // it has no direction, so nothing is near
				}
				if err != nil {
					return err
				}
				own := prefixOf(batch[i].sample.Hash)
				// One more: an older state of the query itself may be among them.
				found[i], err = c.distinctNeighbors(v, t, embedding, a.options.K+1, own, len(t.of(own)))
				return err
			})
		})
	})
	if err != nil {
		return err
	}
	return a.parallel(len(batch), func(i int) error {
		query := atlas.NewPixels(batch[i].sample.Image)
		rank := 0
		for _, n := range found[i] {
			if t.ids[n.at] == batch[i].self {
				continue
			}
			if rank++; rank > a.options.K {
				break
			}
			pixels, err := a.read(ctx, t.ids[n.at])
			if err != nil {
				return err
			}
			if pixels == nil {
				continue
			}
			a.compared.Add(1)
			if x := atlas.Align(query, pixels); x.Difference <= a.options.MaxDifference {
				batch[i].near = append(batch[i].near, nearMatch{n, rank, x})
			}
		}
		slices.SortStableFunc(batch[i].near, func(x, y nearMatch) int { return cmp.Compare(x.Difference, y.Difference) })
		return nil
	})
}

// take adds an image with its duplicates, if it has any, to the report.
func (a *matching) take(ctx context.Context, q *asked) error {
	t := a.contents
	e := a.data.Entry(q.place)
	m := MatchedQuery{Query: DuplicateQuery{Source: e.Source, Label: e.Label}, Place: q.place}
	equal := t.of(prefixOf(q.sample.Hash))
	for _, at := range equal[:min(len(equal), 2)] {
		if t.ids[at] == q.self {
			continue
		}
		image, err := a.image(ctx, at)
		if err != nil {
			return err
		}
		m.Matches = append(m.Matches, DuplicateMatch{DuplicateCopy: DuplicateCopy{DuplicateImage: image, Kind: ExactCopy}, Equal: len(equal)})
		a.report.Exact++
		break
	}
	for _, near := range q.near {
		image, err := a.image(ctx, near.at)
		if err != nil {
			return err
		}
		m.Matches = append(m.Matches, DuplicateMatch{
			DuplicateCopy: DuplicateCopy{DuplicateImage: image, Kind: NearCopy, Difference: near.Difference, Mirrored: near.Mirrored},
			Rank:          near.rank, Distance: near.distance, Equal: len(t.of(t.hashes[near.at])),
		})
		if near.rank == 1 {
			a.report.NearAtRank1++
		}
	}
	if len(m.Matches) == 0 {
		return nil
	}
	if m.Matches[0].Kind == NearCopy {
		a.report.Near++
	}
	a.report.Found = append(a.report.Found, m)
	return nil
}
