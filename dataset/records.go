package dataset

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
)

// The records of CIFAR-10: a byte of label, then 32x32 pixels in three planes, red, green, blue.
const (
	recordSide   = 32
	recordPlane  = recordSide * recordSide
	recordPixels = 3 * recordPlane
	recordBytes  = 1 + recordPixels
)

// cifarLabels are the classes in the order of the label bytes.
var cifarLabels = [...]Label{
	"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
}

// CIFAR10Labels returns the ten class names of CIFAR-10 in the order of its label numbers.
func CIFAR10Labels() []Label { return append([]Label(nil), cifarLabels[:]...) }

// recordRun is a piece of a part: records one after another in one buffer.
type recordRun struct {
	split string
	first int // position of the first record within its part
	data  []byte
}

// recordSet is a data set of CIFAR-10 records held in memory.
type recordSet struct {
	name string // as the user named it
	set  string // what its sources begin with
	runs []recordRun
	ends []int // ends[i] is the number of records in runs[:i+1]
}

// newRecordSet checks that every run is whole records with known labels. Runs of one part must follow each other.
func newRecordSet(name, set string, runs []recordRun) (*recordSet, error) {
	s := &recordSet{name: name, set: set, runs: runs}
	total, inPart := 0, map[string]int{}
	for i := range runs {
		run := &runs[i]
		if len(run.data)%recordBytes != 0 {
			return nil, fmt.Errorf("%d bytes are not a whole number of %d-byte records", len(run.data), recordBytes)
		}
		run.first = inPart[run.split]
		n := len(run.data) / recordBytes
		for r := range n {
			if label := run.data[r*recordBytes]; int(label) >= len(cifarLabels) {
				return nil, fmt.Errorf("record %d has label %d: CIFAR-10 has the labels 0 to 9", run.first+r, label)
			}
		}
		inPart[run.split] += n
		total += n
		s.ends = append(s.ends, total)
	}
	return s, nil
}

func (s *recordSet) Name() string { return s.name }

func (s *recordSet) Len() int {
	if len(s.ends) == 0 {
		return 0
	}
	return s.ends[len(s.ends)-1]
}

// record returns the bytes of record i, its part and its position there.
func (s *recordSet) record(i int) (data []byte, split string, position int) {
	begin := 0
	for r, end := range s.ends {
		if i < end && i >= begin {
			run := &s.runs[r]
			at := i - begin
			return run.data[at*recordBytes : (at+1)*recordBytes], run.split, run.first + at
		}
		begin = end
	}
	panic(fmt.Sprintf("dataset: image %d of %d", i, s.Len()))
}

func (s *recordSet) Entry(i int) Entry {
	data, split, position := s.record(i)
	return Entry{
		Source: s.set + ":" + split + "/" + strconv.Itoa(position),
		Label:  cifarLabels[data[0]],
		Split:  split,
	}
}

func (s *recordSet) Read(ctx context.Context, i int) (Sample, error) {
	if err := ctx.Err(); err != nil {
		return Sample{}, err
	}
	data, _, _ := s.record(i)
	return Sample{Image: recordImage(data[1:]), Hash: sha256.Sum256(data[1:])}, nil
}

// Close keeps the records: they are ordinary memory, freed when nothing refers to them.
func (s *recordSet) Close() error { return nil }

// contentHash makes the fingerprint of a record set depend on its pixels.
func (s *recordSet) contentHash(i int) Hash {
	data, _, _ := s.record(i)
	return sha256.Sum256(data[1:])
}

// part returns the records of one part only; the empty part is everything.
func (s *recordSet) part(split string) *recordSet {
	if split == "" {
		return s
	}
	out := &recordSet{name: s.name, set: s.set}
	total := 0
	for _, run := range s.runs {
		if run.split == split {
			total += len(run.data) / recordBytes
			out.runs = append(out.runs, run)
			out.ends = append(out.ends, total)
		}
	}
	return out
}

// only returns the data set of image i alone; the others are no longer held.
func (s *recordSet) only(i int) *recordSet {
	data, split, position := s.record(i)
	return &recordSet{name: s.name, set: s.set, runs: []recordRun{{split, position, slices.Clone(data)}}, ends: []int{1}}
}

// recordImage interleaves the three planes of a record.
func recordImage(planes []byte) *Image {
	img := NewImage(recordSide, recordSide)
	red, green, blue := planes[:recordPlane], planes[recordPlane:2*recordPlane], planes[2*recordPlane:3*recordPlane]
	for p := range recordPlane {
		o := img.Pix[3*p : 3*p+3 : 3*p+3]
		o[0], o[1], o[2] = red[p], green[p], blue[p]
	}
	return img
}
