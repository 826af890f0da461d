package search

import (
	"context"
	"fmt"
	"iter"

	"imgsearch/dataset"
	"imgsearch/store"
)

// Record is what a collection knows of an image.
type Record = store.Record

// recordSlice is the number of records that are read at once.
const recordSlice = 4096

// Records iterates over the images by rising id. No lock is held while the loop's body runs, so it may take its time and
// change the collection: an image that is added or removed meanwhile may or may not be seen. An error ends the iteration.
func (c *Collection) Records(ctx context.Context) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for from := dataset.ID(0); ; {
			var records []Record
			err := c.store.View(ctx, func(v *store.View) (err error) {
				records, err = v.Records(from, recordSlice)
				return err
			})
			if err != nil {
				yield(Record{}, err)
				return
			}
			for _, r := range records {
				if !yield(r, nil) {
					return
				}
			}
			if len(records) < recordSlice {
				return
			}
			if err := ctx.Err(); err != nil {
				yield(Record{}, err)
				return
			}
			from = records[len(records)-1].ID + 1
		}
	}
}

// Record returns what is known of an image. An id that the collection does not hold is ErrNotFound.
func (c *Collection) Record(ctx context.Context, id dataset.ID) (r Record, err error) {
	err = c.store.View(ctx, func(v *store.View) error {
		r, err = v.Record(id)
		return err
	})
	return r, err
}

// Embeddings returns all embeddings, [len(ids), Dim] float32, and the ids of their rows, rising: for a collection that was
// filled once the data set's order.
func (c *Collection) Embeddings(ctx context.Context) (ids []dataset.ID, embeddings []float32, err error) {
	err = c.store.View(ctx, func(v *store.View) error {
		l, err := c.load(v, false)
		if err != nil {
			return err
		}
		ids = make([]dataset.ID, 0, l.ids.Len())
		embeddings = make([]float32, 0, l.ids.Len()*c.dim)
		for id := range l.ids.All() {
			ids = append(ids, id)
			embeddings = append(embeddings, l.row(id, c.dim)...)
		}
		return nil
	})
	return ids, embeddings, err
}

// Embedding returns a copy of an image's embedding. An id that the collection does not hold is ErrNotFound.
func (c *Collection) Embedding(ctx context.Context, id dataset.ID) (embedding []float32, err error) {
	err = c.store.View(ctx, func(v *store.View) error {
		row, err := v.Embedding(id)
		embedding = append(embedding, row...)
		return err
	})
	return embedding, err
}

// row returns the embedding of an id in place.
func (l *loaded) row(id dataset.ID, dim int) []float32 {
	at := int(id%store.ChunkRows) * dim
	return l.chunks[id/store.ChunkRows][at : at+dim : at+dim]
}

// Thumbnail returns an image's thumbnail. An id that the collection does not hold is ErrNotFound; ErrNoThumbnail where
// none are kept.
func (c *Collection) Thumbnail(ctx context.Context, id dataset.ID) (img *dataset.Image, err error) {
	err = c.store.View(ctx, func(v *store.View) error {
		b, err := v.Thumbnail(id)
		if err != nil {
			return err
		}
		if img, err = decodeThumbnail(b); err != nil {
			err = fmt.Errorf("thumbnail of image %d: %w", id, err)
		}
		return err
	})
	return img, err
}
