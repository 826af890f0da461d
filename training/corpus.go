package training

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"sync"

	"imgsearch/dataset"
	"imgsearch/internal/kernel"
)

// corpus holds all images of a data set, decoded and scaled to one square size.
type corpus struct {
	size   int
	pix    []uint8 // [images, 3, size, size]
	labels []dataset.Label
	// digest is the hex SHA-256 of size and pixels. Labels, which never have an influence on weights, are not part of it.
	digest string
}

func (c *corpus) len() int { return len(c.labels) }

// pixels returns image i, [3, size, size].
func (c *corpus) pixels(i int32) []uint8 {
	n := 3 * c.size * c.size
	return c.pix[int(i)*n : (int(i)+1)*n : (int(i)+1)*n]
}

// planes turns the pixels of an image, [size, size, 3], into planes, [3, size, size].
func planes(pix []uint8) []uint8 {
	out, n := make([]uint8, len(pix)), len(pix)/3
	red, green, blue := out[:n], out[n:][:n], out[2*n:][:n]
	for p := range red {
		rgb := pix[3*p:][:3]
		red[p], green[p], blue[p] = rgb[0], rgb[1], rgb[2]
	}
	return out
}

// labelled reports whether there are at least two different labels to tell apart.
func (c *corpus) labelled() bool {
	var first dataset.Label
	for _, l := range c.labels {
		switch {
		case l == "":
		case first == "":
			first = l
		case l != first:
			return true
		}
	}
	return false
}

// seal computes the digest.
func (c *corpus) seal() {
	h := sha256.New()
	var head [16]byte
	binary.LittleEndian.PutUint64(head[:], uint64(c.size))
	binary.LittleEndian.PutUint64(head[8:], uint64(c.len()))
	h.Write(head[:])
	h.Write(c.pix)
	c.digest = hex.EncodeToString(h.Sum(nil))
}

// channelStatistics returns mean and standard deviation of each channel over the given images, values 0 to 1, rounded
// to thousandths so that they read well. Deviations are at least 0.05: images of one colour stay usable.
func (c *corpus) channelStatistics(rows []int32, threads int) (mean, std [3]float32) {
	var sum, square [3]uint64
	var adding sync.Mutex // whole numbers: their sum does not depend on the order
	kernel.ParallelRanges(threads, len(rows), func(_, from, to int) {
		var s, q [3]uint64
		for _, row := range rows[from:to] {
			pix, n := c.pixels(row), c.size*c.size
			for k := range 3 {
				for _, x := range pix[k*n:][:n] {
					s[k] += uint64(x)
					q[k] += uint64(x) * uint64(x)
				}
			}
		}
		adding.Lock()
		defer adding.Unlock()
		for k := range 3 {
			sum[k] += s[k]
			square[k] += q[k]
		}
	})
	n := float64(len(rows) * c.size * c.size)
	for k := range 3 {
		m := float64(sum[k]) / n
		variance := float64(square[k])/n - m*m
		mean[k] = float32(math.Round(m/255*1000) / 1000)
		std[k] = float32(math.Round(max(math.Sqrt(max(variance, 0))/255, 0.05)*1000) / 1000)
	}
	return mean, std
}

// squared is a data set whose images come as squares in planes, so that this work is spread like that of decoding.
type squared struct {
	dataset.Dataset
	size int
}

func (s squared) Read(ctx context.Context, i int) (dataset.Sample, error) {
	sample, err := s.Dataset.Read(ctx, i)
	if err == nil {
		sample.Image = &dataset.Image{Width: s.size, Height: s.size, Pix: planes(sample.Image.Square(s.size).Pix)}
	}
	return sample, err
}

// loadCorpus decodes the whole data set; the digest is left to seal. Images that cannot be read are left out and handed to onProblem; onLoad hears of
// every image. Both are called from the calling goroutine.
func loadCorpus(ctx context.Context, ds dataset.Dataset, size, threads int, onProblem func(dataset.Problem), onLoad func(done, total int)) (*corpus, error) {
	n, total := 3*size*size, ds.Len()
	c := &corpus{size: size, pix: make([]uint8, 0, n*total), labels: make([]dataset.Label, 0, total)}
	err := dataset.Each(ctx, squared{ds, size}, threads, func(i int, s dataset.Sample, err error) error {
		if err != nil {
			onProblem(dataset.Problem{Source: ds.Entry(i).Source, Err: err})
		} else {
			if len(s.Image.Pix) != n {
				return fmt.Errorf("%s: image of %dx%d pixels where %dx%d is needed", ds.Entry(i).Source, s.Image.Width, s.Image.Height, size, size)
			}
			c.pix = append(c.pix, s.Image.Pix...)
			c.labels = append(c.labels, ds.Entry(i).Label)
		}
		onLoad(i+1, total)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", ds.Name(), err)
	}
	return c, nil
}
