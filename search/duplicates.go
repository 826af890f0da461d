package search

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"imgsearch/atlas"
	"imgsearch/dataset"
	"imgsearch/internal/kernel"
	"imgsearch/store"
)

// DuplicateOptions say what counts as a duplicate. The zero value means the defaults.
type DuplicateOptions struct {
	// ExactOnly looks at content hashes only. Default: near-duplicates are looked for as well.
	ExactOnly bool
	// K is the number of nearest contents of each image that are compared with it on the pixels, at most 1,000. Default
	// 10. More take as many times longer, and find near-duplicates that the encoder takes for less alike.
	K int
	// MaxDifference is the difference up to which pictures are near-duplicates: see atlas.Alignment. Default
	// atlas.NearDuplicate. Raising it lets in pictures that are only similar.
	MaxDifference float64
	// Threads is the number of threads; 0 means all cores. The report does not depend on it.
	Threads int
	// OnProgress hears what is being done and how far it is, from one goroutine at a time.
	OnProgress func(stage string, done, total int)
	// OnProblem hears of each image whose pixels cannot be read, so that it was compared by its hash only, from one
	// goroutine at a time.
	OnProblem func(dataset.Problem)
}

const (
	defaultDuplicateK = 10
	maxDuplicateK     = 1000
	// viewSlice is the number of images whose neighbours are asked for in one View.
	viewSlice = 512
)

func (o DuplicateOptions) withDefaults() (DuplicateOptions, error) {
	if o.K == 0 {
		o.K = defaultDuplicateK
	}
	if o.MaxDifference == 0 {
		o.MaxDifference = atlas.NearDuplicate
	}
	if o.OnProgress == nil {
		o.OnProgress = func(string, int, int) {}
	}
	if o.OnProblem == nil {
		o.OnProblem = func(dataset.Problem) {}
	}
	switch {
	case o.K < 1 || o.K > maxDuplicateK:
		return o, fmt.Errorf("%w: K %d: must be 1 to %d", ErrOptions, o.K, maxDuplicateK)
	case !(o.MaxDifference > 0 && o.MaxDifference < 1):
		return o, fmt.Errorf("%w: MaxDifference %v: must be above 0 and below 1", ErrOptions, o.MaxDifference)
	case o.Threads < 0 || o.Threads > 4096:
		return o, fmt.Errorf("%w: Threads %d: must be 0 to 4096", ErrOptions, o.Threads)
	}
	return o, nil
}

// DuplicateKind tells exact copies from near-duplicates.
type DuplicateKind string

const (
	// ExactCopy is an image with the same content hash.
	ExactCopy DuplicateKind = "exact"
	// NearCopy is an image of another content that shows the same picture.
	NearCopy DuplicateKind = "near"
)

// DuplicateImage is an image of the collection. Its JSON names, and those of all that follow, are those of the command
// line.
type DuplicateImage struct {
	ID     dataset.ID    `json:"id"`
	Source string        `json:"source"`
	Label  dataset.Label `json:"label"`
	// Bytes is the length of its file; 0 where it is no file of its own.
	Bytes int64 `json:"bytes"`
}

// DuplicateCopy is a copy of another image.
type DuplicateCopy struct {
	DuplicateImage
	Kind DuplicateKind `json:"kind"`
	// Difference is that of the pixels: see atlas.Alignment; 0 for exact copies.
	Difference float64 `json:"difference"`
	// Mirrored says that left and right are exchanged.
	Mirrored bool `json:"mirrored"`
}

// DuplicateGroup is an image to keep and its copies: the exact ones first, then by rising difference.
type DuplicateGroup struct {
	Keep   DuplicateImage  `json:"keep"`
	Copies []DuplicateCopy `json:"copies"`
}

// DuplicateReport is what Duplicates found.
type DuplicateReport struct {
	// Images is the number of images in the collection.
	Images int `json:"images"`
	// Exact and Near count the copies of each kind: images that could go.
	Exact int `json:"exact"`
	Near  int `json:"near"`
	// Compared is the number of pairs that were compared on the pixels, Unread that of images whose pixels could not be
	// read.
	Compared int `json:"compared"`
	Unread   int `json:"unread"`
	// MaxDifference is the one that was used.
	MaxDifference float64 `json:"max_difference"`
	// Groups are sorted by falling number of copies, then by the id to keep. No image is in two.
	Groups []DuplicateGroup `json:"groups"`
}

// Duplicates finds images that show the same picture: exact copies by their content hash, near-duplicates among the
// nearest neighbours in the graph, verified on the pixels (see atlas.Align). Of each group the largest file is to be
// kept, of several the one with the lowest id; every other image in it is a copy of that one itself.
//
// Pixels are those of the thumbnails where they are at least 32 pixels wide or high, or are the whole image; otherwise the
// image is read from its source, unless that is gone or has changed: then a smaller thumbnail serves, or else OnProblem
// hears of the image.
//
// Beside the collection itself it takes some 80 bytes an image, 250 MB for pixels, and what it reports. Equal images cost
// no more than others, however many there are. The errors to test for: ErrOptions, ErrLocked, ErrCorrupt.
func (c *Collection) Duplicates(ctx context.Context, options DuplicateOptions) (*DuplicateReport, error) {
	o, err := options.withDefaults()
	if err != nil {
		return nil, err
	}
	t, err := c.readContents(ctx, nil)
	if err != nil {
		return nil, err
	}
	d := &duplicating{collection: c, options: o, contents: t, pixels: newPixelReader(c)}
	defer d.pixels.close()
	var groups []atlas.DuplicateGroup
	if !o.ExactOnly {
		pairs, err := d.nearPairs(ctx)
		if err != nil {
			return nil, err
		}
		groups, err = atlas.GroupDuplicates(pairs, d.better, o.MaxDifference, func(keep, other int32) (atlas.Alignment, error) {
			return d.align(ctx, keep, other)
		})
		if err != nil {
			return nil, err
		}
	}
	return d.report(ctx, groups)
}

// duplicating is one call of Duplicates or DuplicatesAgainst.
type duplicating struct {
	collection *Collection
	options    DuplicateOptions
	contents   *contents
	pixels     *pixelReader

	compared atomic.Int64
	unread   unreadImages
}

// unreadImages are those whose pixels could not be read, each reported once.
type unreadImages struct {
	mu   sync.Mutex
	seen map[dataset.ID]bool
}

// better orders images, the one to keep first.
func (d *duplicating) better(a, b int32) int {
	return cmp.Or(cmp.Compare(d.contents.bytes[b], d.contents.bytes[a]), cmp.Compare(a, b))
}

// nearPairs returns the pairs of contents that are near-duplicates, in the order of their positions.
func (d *duplicating) nearPairs(ctx context.Context) ([]atlas.NearPair, error) {
	t := d.contents
	firsts := t.firsts()
	// The neighbours of all, k each, -1 where there are fewer.
	k := d.options.K
	lists := make([]int32, len(firsts)*k)
	slot := make([]int32, len(t.ids)) // of a first in firsts
	for i, at := range firsts {
		slot[at] = int32(i)
	}
	for from := 0; from < len(firsts); from += viewSlice {
		to := min(from+viewSlice, len(firsts))
		if err := d.collection.neighborsOf(ctx, t, firsts[from:to], k, d.options.Threads, func(i int, found []distinct) {
			list := lists[(from+i)*k : (from+i+1)*k]
			for j := range list {
				list[j] = -1
				if j < len(found) {
					list[j] = found[j].at
				}
			}
		}); err != nil {
			return nil, err
		}
		d.options.OnProgress("searching", to, len(firsts))
	}

	var pairs []atlas.NearPair
	for from := 0; from < len(firsts); from += viewSlice {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		to := min(from+viewSlice, len(firsts))
		found := make([][]atlas.NearPair, to-from)
		err := d.parallel(to-from, func(i int) error {
			a := firsts[from+i]
			for _, b := range lists[(from+i)*k : (from+i+1)*k] {
				// Of two that name each other, the first asks.
				if b < 0 || b < a && slices.Contains(lists[int(slot[b])*k:int(slot[b]+1)*k], a) {
					continue
				}
				pair := atlas.NearPair{A: min(a, b), B: max(a, b)}
				var err error
				if pair.Alignment, err = d.align(ctx, pair.A, pair.B); err != nil {
					return err
				}
				if pair.Difference <= d.options.MaxDifference {
					found[i] = append(found[i], pair)
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, slices.Concat(found...)...)
		d.options.OnProgress("comparing", to, len(firsts))
	}
	return pairs, nil
}

// neighborsOf finds the k nearest contents of images; each hears those of image i of the list, from any goroutine.
func (c *Collection) neighborsOf(ctx context.Context, t *contents, images []int32, k, threads int, each func(i int, found []distinct)) error {
	return c.store.View(ctx, func(v *store.View) error {
		l, err := c.load(v, true)
		if err != nil {
			return err
		}
		return parallelErr(threads, len(images), func(i int) error {
			return v.Guard(func() error {
				if err := ctx.Err(); err != nil {
					return err
				}
				at := images[i]
				id, own := t.ids[at], t.hashes[at]
				if !l.ids.Has(id) { // removed since
					each(i, nil)
					return nil
				}
				found, err := c.distinctNeighbors(v, t, l.row(id, c.dim), k, own, len(t.of(own)))
				if err == nil {
					each(i, found)
				}
				return err
			})
		})
	})
}

// parallelErr calls fn for 0 to n-1 on so many threads and returns the error of the lowest that has one.
func parallelErr(threads, n int, fn func(i int) error) error {
	errs := make([]error, n)
	kernel.Parallel(threads, n, func(i int) { errs[i] = fn(i) })
	return firstError(errs)
}

func (d *duplicating) parallel(n int, fn func(i int) error) error {
	return parallelErr(d.options.Threads, n, fn)
}

// align compares two images. One that cannot be read differs from all.
func (d *duplicating) align(ctx context.Context, a, b int32) (atlas.Alignment, error) {
	first, err := d.read(ctx, d.contents.ids[a])
	if err != nil || first == nil {
		return atlas.Alignment{Difference: 1}, err
	}
	second, err := d.read(ctx, d.contents.ids[b])
	if err != nil || second == nil {
		return atlas.Alignment{Difference: 1}, err
	}
	d.compared.Add(1)
	return atlas.Align(first, second), nil
}

// read returns an image's pixels, nil where they cannot be read.
func (d *duplicating) read(ctx context.Context, id dataset.ID) (*atlas.Pixels, error) {
	pixels, err := d.pixels.read(ctx, id)
	switch {
	case err == nil:
		return pixels, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, ErrCorrupt), errors.Is(err, ErrLocked), errors.Is(err, ErrClosed):
		return nil, err
	case errors.Is(err, ErrNotFound): // removed since
		return nil, nil
	}
	d.unread.mu.Lock()
	defer d.unread.mu.Unlock()
	if d.unread.seen[id] {
		return nil, nil
	}
	record, notFound := d.collection.Record(ctx, id)
	if notFound != nil {
		return nil, nil
	}
	if d.unread.seen == nil {
		d.unread.seen = map[dataset.ID]bool{}
	}
	d.unread.seen[id] = true
	d.options.OnProblem(dataset.Problem{Source: record.Source, Err: err})
	return nil, nil
}

// report joins the groups of near-duplicates with the exact copies of their members.
func (d *duplicating) report(ctx context.Context, groups []atlas.DuplicateGroup) (*DuplicateReport, error) {
	t := d.contents
	report := &DuplicateReport{
		Images: len(t.ids), Compared: int(d.compared.Load()), Unread: len(d.unread.seen), MaxDifference: d.options.MaxDifference,
		Groups: []DuplicateGroup{},
	}
	grouped := map[int32]bool{}
	for _, g := range groups {
		grouped[g.Keep] = true
		for _, copied := range g.Copies {
			grouped[copied.Position] = true
		}
	}
	for at, first := range t.first {
		if int(first) != at && !grouped[first] {
			grouped[first] = true
			groups = append(groups, atlas.DuplicateGroup{Keep: first})
		}
	}
	for _, g := range groups {
		kept, err := d.image(ctx, g.Keep)
		if err != nil {
			return nil, err
		}
		group := DuplicateGroup{Keep: kept}
		for _, at := range t.of(t.hashes[g.Keep])[1:] {
			copied, err := d.image(ctx, at)
			if err != nil {
				return nil, err
			}
			group.Copies = append(group.Copies, DuplicateCopy{DuplicateImage: copied, Kind: ExactCopy})
			report.Exact++
		}
		for _, near := range g.Copies {
			for _, at := range t.of(t.hashes[near.Position]) {
				copied, err := d.image(ctx, at)
				if err != nil {
					return nil, err
				}
				group.Copies = append(group.Copies, DuplicateCopy{
					DuplicateImage: copied, Kind: NearCopy, Difference: near.Difference, Mirrored: near.Mirrored,
				})
				report.Near++
			}
		}
		report.Groups = append(report.Groups, group)
	}
	slices.SortFunc(report.Groups, func(a, b DuplicateGroup) int {
		return cmp.Or(cmp.Compare(len(b.Copies), len(a.Copies)), cmp.Compare(a.Keep.ID, b.Keep.ID))
	})
	return report, nil
}

// image describes an image. One that was removed since keeps its id only.
func (d *duplicating) image(ctx context.Context, at int32) (DuplicateImage, error) {
	id := d.contents.ids[at]
	r, err := d.collection.Record(ctx, id)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return DuplicateImage{}, err
	}
	return DuplicateImage{ID: id, Source: r.Source, Label: r.Label, Bytes: d.contents.bytes[at]}, nil
}
