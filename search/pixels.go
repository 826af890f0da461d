package search

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"sync"

	"imgsearch/atlas"
	"imgsearch/dataset"
)

const (
	// pixelsKept is how many images a pixelReader keeps ready: some 250 MB.
	pixelsKept = 48 << 10
	// comparedSide is the side in pixels that a thumbnail needs to be as good as the image itself: that of atlas.Pixels.
	comparedSide = 32
)

// pixelReader makes images of a collection ready to be compared. A thumbnail that shows all that is compared is taken;
// otherwise the image itself, where its file is still there and unchanged; otherwise the thumbnail as it is.
type pixelReader struct {
	collection *Collection

	mu    sync.Mutex
	ready map[dataset.ID]*atlas.Pixels
	ring  []dataset.ID // of ready, oldest at next
	next  int

	opening sync.Mutex
	sets    map[string]dataset.Dataset // opened for the images that are no files of their own
}

func newPixelReader(c *Collection) *pixelReader {
	return &pixelReader{collection: c, ready: map[dataset.ID]*atlas.Pixels{}, sets: map[string]dataset.Dataset{}}
}

func (p *pixelReader) close() {
	for _, ds := range p.sets {
		_ = ds.Close()
	}
}

// read returns an image's pixels; it may be called from several goroutines at once.
func (p *pixelReader) read(ctx context.Context, id dataset.ID) (*atlas.Pixels, error) {
	p.mu.Lock()
	pixels := p.ready[id]
	p.mu.Unlock()
	if pixels != nil {
		return pixels, nil
	}
	img, err := p.image(ctx, id)
	if err != nil {
		return nil, err
	}
	pixels = atlas.NewPixels(img)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ready[id] == nil {
		if len(p.ring) < pixelsKept {
			p.ring = append(p.ring, id)
		} else {
			delete(p.ready, p.ring[p.next])
			p.ring[p.next] = id
			p.next = (p.next + 1) % pixelsKept
		}
		p.ready[id] = pixels
	}
	return pixels, nil
}

func (p *pixelReader) image(ctx context.Context, id dataset.ID) (*dataset.Image, error) {
	thumbnail, err := p.collection.Thumbnail(ctx, id)
	if err != nil && !errors.Is(err, ErrNoThumbnail) {
		return nil, err
	}
	if thumbnail != nil {
		side := max(thumbnail.Width, thumbnail.Height)
		if side >= comparedSide || side < p.collection.options.Thumbnail {
			return thumbnail, nil
		}
	}
	record, err := p.collection.Record(ctx, id)
	if err != nil {
		return nil, err
	}
	img, err := p.source(ctx, record)
	if err != nil && thumbnail != nil && ctx.Err() == nil {
		return thumbnail, nil
	}
	return img, err
}

// source reads an image from where it was indexed. It must be what it was then.
func (p *pixelReader) source(ctx context.Context, r Record) (*dataset.Image, error) {
	var sample dataset.Sample
	var err error
	if r.ModTime.IsZero() {
		sample, err = p.ofSet(ctx, r.Source)
	} else {
		sample, err = dataset.DecodeFile(ctx, r.Source, dataset.Options{})
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: %w, and the file is gone", r.Source, ErrNoThumbnail)
	case err != nil:
		return nil, err
	case sample.Hash != r.Hash:
		return nil, fmt.Errorf("%s: %w, and the file has changed (index it again)", r.Source, ErrNoThumbnail)
	}
	return sample.Image, nil
}

// ofSet reads an image of CIFAR-10 or of the sample, such as "sample:test/17"; each part is opened once.
func (p *pixelReader) ofSet(ctx context.Context, source string) (dataset.Sample, error) {
	name, number, _ := strings.Cut(source, "/")
	position, err := strconv.Atoi(number)
	if err != nil {
		return dataset.Sample{}, fmt.Errorf("%s: %w", source, ErrNoThumbnail)
	}
	p.opening.Lock()
	defer p.opening.Unlock()
	ds := p.sets[name]
	if ds == nil {
		if ds, err = dataset.Open(ctx, name, dataset.Options{}); err != nil {
			return dataset.Sample{}, err
		}
		p.sets[name] = ds
	}
	if position < 0 || position >= ds.Len() {
		return dataset.Sample{}, fmt.Errorf("%s: %w", source, ErrNoThumbnail)
	}
	return ds.Read(ctx, position)
}
