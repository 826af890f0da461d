package dataset

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// idxSet is a data set of IDX files, held in memory a byte a pixel.
type idxSet struct {
	name    string // as the user named it
	set     string // what its sources begin with
	classes []Label
	parts   []idxPart
}

// idxPart is a part of it, or a piece of one.
type idxPart struct {
	split         string
	first         int // position of the first image within its part
	images        int
	height, width int
	pix           []byte // [images, height, width]
	labels        []byte // [images], or none
}

func (s *idxSet) Name() string { return s.name }

func (s *idxSet) Len() int {
	n := 0
	for i := range s.parts {
		n += s.parts[i].images
	}
	return n
}

// at returns the part of image i and the image's place in it.
func (s *idxSet) at(i int) (*idxPart, int) {
	place := i
	for p := range s.parts {
		if place < s.parts[p].images {
			return &s.parts[p], place
		}
		place -= s.parts[p].images
	}
	panic(fmt.Sprintf("dataset: image %d of %d", i, s.Len()))
}

// pixels returns image i, [height, width].
func (p *idxPart) pixels(i int) []byte { return p.pix[i*p.height*p.width:][:p.height*p.width] }

func (s *idxSet) Entry(i int) Entry {
	p, place := s.at(i)
	e := Entry{Source: s.set + ":" + p.split + "/" + strconv.Itoa(p.first+place), Split: p.split}
	switch {
	case p.labels == nil:
	case s.classes != nil:
		e.Label = s.classes[p.labels[place]]
	default:
		e.Label = Label(strconv.Itoa(int(p.labels[place])))
	}
	return e
}

func (s *idxSet) Read(ctx context.Context, i int) (Sample, error) {
	if err := ctx.Err(); err != nil {
		return Sample{}, err
	}
	p, place := s.at(i)
	gray := p.pixels(place)
	img := NewImage(p.width, p.height)
	for k, v := range gray {
		rgb := img.Pix[3*k:][:3]
		rgb[0], rgb[1], rgb[2] = v, v, v
	}
	return Sample{Image: img, Hash: sha256.Sum256(gray)}, nil
}

// Close keeps the images: they are ordinary memory, freed when nothing refers to them.
func (s *idxSet) Close() error { return nil }

// contentHash makes the fingerprint depend on the pixels.
func (s *idxSet) contentHash(i int) Hash {
	p, place := s.at(i)
	return sha256.Sum256(p.pixels(place))
}

// only narrows the set to the one image that the reference names, if it names one. The others are no longer held.
func (s *idxSet) only(ref reference) (Dataset, error) {
	if ref.position < 0 {
		return s, nil
	}
	if ref.position >= s.Len() {
		return nil, fmt.Errorf("%s: %w: the images of %s count from 0 to %d", s.name, ErrNoPart, ref.split, s.Len()-1)
	}
	p, place := s.at(ref.position)
	one := *p
	one.first, one.images, one.pix = p.first+place, 1, append([]byte(nil), p.pixels(place)...)
	if p.labels != nil {
		one.labels = []byte{p.labels[place]}
	}
	return &idxSet{name: s.name, set: s.set, classes: s.classes, parts: []idxPart{one}}, nil
}

// maxIDXNames bounds the file of class names.
const maxIDXNames = 64 << 10

// nameClasses takes the classes' names from a file, where there is one.
func (s *idxSet) nameClasses(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxIDXNames+1))
	switch {
	case err != nil:
		return fmt.Errorf("read %s: %w", path, err)
	case len(text) > maxIDXNames:
		return fmt.Errorf("%s: %w: class names of more than %d bytes", path, ErrIDX, maxIDXNames)
	}
	seen := map[Label]bool{}
	for line := range strings.Lines(strings.TrimRight(string(text), " \t\r\n")) {
		name := Label(strings.TrimSpace(line))
		if name == "" || seen[name] {
			return fmt.Errorf("%s: %w: line %d is empty or names a class again; a name a line is needed, in the order of the label "+
				"numbers", path, ErrIDX, len(s.classes)+1)
		}
		seen[name] = true
		s.classes = append(s.classes, name)
	}
	for i := range s.parts {
		for _, label := range s.parts[i].labels {
			if int(label) >= len(s.classes) {
				return fmt.Errorf("%s: %w: %d class names, and there is a label %d", path, ErrIDX, len(s.classes), label)
			}
		}
	}
	return nil
}
