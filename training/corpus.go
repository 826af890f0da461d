package training

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"strings"
	"sync"

	"imgsearch/dataset"
	"imgsearch/internal/kernel"
)

// corpus holds all images of a data set, decoded and scaled to one square size, in memory or in a file.
type corpus struct {
	size   int
	pix    []uint8    // [images, 3, size, size]; nil where file is not
	file   *imageFile // nil where the images are in memory
	labels []dataset.Label
	// digest is the hex SHA-256 of size and pixels. Labels, which never have an influence on weights, are not part of it.
	digest string
}

func (c *corpus) len() int { return len(c.labels) }

// pixels returns image i, [3, size, size], not to be changed. After use of images, err must be asked.
func (c *corpus) pixels(i int32) []uint8 {
	if c.file != nil {
		return c.file.read(int(i))
	}
	n := 3 * c.size * c.size
	return c.pix[int(i)*n : (int(i)+1)*n : (int(i)+1)*n]
}

// err returns the error of the first image that could not be read from the file, if there was one.
func (c *corpus) err() error {
	if c.file == nil {
		return nil
	}
	return c.file.err()
}

// close removes the file, if there is one.
func (c *corpus) close() {
	if c.file != nil {
		c.file.remove()
	}
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

// seal computes the digest, which is the same for images in memory and in a file.
func (c *corpus) seal() error {
	h := sha256.New()
	var head [16]byte
	binary.LittleEndian.PutUint64(head[:], uint64(c.size))
	binary.LittleEndian.PutUint64(head[8:], uint64(c.len()))
	h.Write(head[:])
	if c.file == nil {
		h.Write(c.pix)
	} else if _, err := io.Copy(h, c.file.all(c.len())); err != nil {
		return fmt.Errorf("read decoded images: %w", err)
	}
	c.digest = hex.EncodeToString(h.Sum(nil))
	return nil
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

// loading says how a corpus is loaded.
type loading struct {
	size, threads int
	memory        int64  // bytes above which images go to a file, negative for no limit
	out           string // the encoder file that it lies beside
	// onProblem gets images that cannot be read and are left out, onLoad hears of every image. Both are called from the
	// calling goroutine.
	onProblem func(dataset.Problem)
	onLoad    func(done, total int)
}

// loadCorpus decodes the whole data set; the digest is left to seal. The corpus must be closed after use.
func loadCorpus(ctx context.Context, ds dataset.Dataset, l loading) (*corpus, error) {
	n, total := 3*l.size*l.size, ds.Len()
	c := &corpus{size: l.size, labels: make([]dataset.Label, 0, total)}
	var err error
	if l.memory >= 0 && int64(n)*int64(total) > l.memory {
		c.file, err = createImageFile(l.out, n)
	} else {
		c.pix = make([]uint8, 0, n*total)
	}
	if err != nil {
		return nil, err
	}
	kept := map[dataset.Label]dataset.Label{} // a data set's labels may be parts of longer strings
	err = dataset.Each(ctx, squared{ds, l.size}, l.threads, func(i int, s dataset.Sample, err error) error {
		if err != nil {
			l.onProblem(dataset.Problem{Source: ds.Entry(i).Source, Err: err})
			l.onLoad(i+1, total)
			return nil
		}
		if len(s.Image.Pix) != n {
			return fmt.Errorf("%s: image of %dx%d pixels where %dx%d is needed", ds.Entry(i).Source, s.Image.Width, s.Image.Height, l.size, l.size)
		}
		if c.file == nil {
			c.pix = append(c.pix, s.Image.Pix...)
		} else if err := c.file.add(s.Image.Pix); err != nil {
			return err
		}
		label := ds.Entry(i).Label
		if _, ok := kept[label]; !ok {
			kept[label] = dataset.Label(strings.Clone(string(label)))
		}
		c.labels = append(c.labels, kept[label])
		l.onLoad(i+1, total)
		return nil
	})
	if err == nil && c.file != nil {
		err = c.file.flush()
	}
	if err != nil {
		c.close()
		return nil, fmt.Errorf("read %s: %w", ds.Name(), err)
	}
	return c, nil
}
