package embedder

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"imgsearch/dataset"
	"imgsearch/internal/kernel"
)

// Embed returns the embeddings of the images, [len(images), Dim] float32. Images of other sizes are first made square
// (the shorter side scaled to InputSize, the centre taken), see [Encoder.Input]. It works on up to threads threads, or
// on GOMAXPROCS where threads is not positive. An image's embedding depends on the image and the encoder alone: it is
// the same bit for bit alone or among others, on any number of threads.
//
// It returns ctx's error when ctx is done before all images are, and an error that wraps [ErrImage] and tells the
// position where an image is nil, empty or broken.
func (e *Encoder) Embed(ctx context.Context, images []*dataset.Image, threads int) ([]float32, error) {
	for i, img := range images {
		if err := checkImage(img); err != nil {
			return nil, fmt.Errorf("embed image %d of %d: %w", i, len(images), err)
		}
	}
	return e.embed(ctx, len(images), threads, func(w *worker, i int) []float32 {
		e.Input(images[i], w.input)
		return w.input
	})
}

// EmbedInput is [Encoder.Embed] for images that are normalised already: input is [N, 3, InputSize, InputSize] float32,
// each image as [Encoder.Input] writes it. It is not changed.
func (e *Encoder) EmbedInput(ctx context.Context, input []float32, threads int) ([]float32, error) {
	size := 3 * e.net.inputPixels
	if len(input)%size != 0 {
		return nil, fmt.Errorf("embed: %d values: must be a multiple of %d, an image of %v", len(input), size, e.architecture.InputShape())
	}
	return e.embed(ctx, len(input)/size, threads, func(_ *worker, i int) []float32 {
		return input[i*size:][:size:size]
	})
}

func (e *Encoder) embed(ctx context.Context, count, threads int, input func(w *worker, i int) []float32) ([]float32, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	out := make([]float32, count*e.net.dim)
	if count == 0 {
		return out, nil
	}
	threads = min(kernel.Threads(threads), count)
	block := min(e.net.block(), (count+threads-1)/threads)
	// Blocks are handed out one after the other: images may take different times, their sizes differ.
	var next atomic.Int64
	kernel.Parallel(threads, threads, func(int) {
		w := e.workers.Get().(*worker)
		defer e.workers.Put(w)
		for ctx.Err() == nil {
			from := int(next.Add(1)-1) * block
			if from >= count {
				return
			}
			n := min(block, count-from)
			w.embed(n, func(i int) []float32 { return input(w, from+i) }, out[from*e.net.dim:][:n*e.net.dim])
		}
	})
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(out, func(x float32) bool { return !finite(x) }); i >= 0 {
		return nil, fmt.Errorf("embed image %d of %d: %w: the embedding is not finite, the net overflows", i/e.net.dim, count, ErrWeights)
	}
	return out, nil
}

func checkImage(img *dataset.Image) error {
	if img == nil {
		return fmt.Errorf("%w: nil", ErrImage)
	}
	if img.Width < 1 || img.Height < 1 || len(img.Pix) != 3*img.Width*img.Height {
		return fmt.Errorf("%w: %d bytes for %dx%d pixels", ErrImage, len(img.Pix), img.Width, img.Height)
	}
	return nil
}

// Input writes the image as the net takes it to dst, [3, InputSize, InputSize] float32: made square, then
// (value/255 - Mean) / Std for each channel. The image must have pixels; it is not changed. Input panics where dst is
// too short.
func (e *Encoder) Input(img *dataset.Image, dst []float32) {
	size := e.architecture.InputSize
	if img.Width != size || img.Height != size {
		img = img.Square(size)
	}
	plane := size * size
	r, g, b := dst[:plane], dst[plane:][:plane], dst[2*plane:][:plane]
	pix := img.Pix[:3*plane]
	for i := range plane {
		p := pix[3*i:][:3]
		r[i], g[i], b[i] = e.normal[0][p[0]], e.normal[1][p[1]], e.normal[2][p[2]]
	}
}

// normalTable returns (value/255 - mean) / std for each channel and value of a byte.
func normalTable(mean, std [3]float32) *[3][256]float32 {
	var t [3][256]float32
	for c := range t {
		for v := range t[c] {
			t[c][v] = float32((float64(v)/255 - float64(mean[c])) / float64(std[c]))
		}
	}
	return &t
}
