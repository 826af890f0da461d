package store

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"strings"

	"imgsearch/dataset"
)

// View is a committed state of a collection. It is valid while the function that [Store.View] called with it runs.
type View struct{ st *state }

// Header says what the collection is and how far it has come. Its Options lie in memory of their own.
func (v *View) Header() Header { return v.st.header.clone().Header }

// Commit is the number of the commit that made the state; it rises with each.
func (v *View) Commit() uint64 { return v.st.pages.meta.tx }

// State stands for a committed state as a Store has it mapped. It can be compared.
type State struct{ st *state }

// State tells Views apart: what one View of a Store handed out in place is valid in a later one whose State is equal.
func (v *View) State() State { return State{v.st} }

// Guard is for goroutines that read what the View handed out: it calls fn, and where the system cannot read a part of the
// file any more, because it was cut off or its disk fails, it returns an error that wraps ErrCorrupt instead of ending the
// process. [Store.View] does so for the goroutine that calls it.
func (v *View) Guard(fn func() error) error { return v.st.guard(fn) }

// FileSize is the number of bytes that the state takes in the file, those free for later commits counted.
func (v *View) FileSize() int64 {
	return int64(v.st.pages.meta.pages) * int64(v.st.pages.meta.pageSize)
}

// Encoder returns the bytes of the encoder.
func (v *View) Encoder() ([]byte, error) { return v.st.value(encoderArray, 0) }

// IDs is a set of ids, in memory of its own.
type IDs struct {
	words []uint64
	count int
}

// Has reports whether the set holds the id.
func (s IDs) Has(id dataset.ID) bool {
	return uint64(id)/64 < uint64(len(s.words)) && s.words[id/64]>>(id%64)&1 != 0
}

// Len returns the number of ids.
func (s IDs) Len() int { return s.count }

// All iterates over the ids, rising.
func (s IDs) All() func(yield func(dataset.ID) bool) {
	return func(yield func(dataset.ID) bool) {
		for i, w := range s.words {
			for ; w != 0; w &= w - 1 {
				if !yield(dataset.ID(64*i + bits.TrailingZeros64(w))) {
					return
				}
			}
		}
	}
}

// IDs returns the ids of all images in the collection.
func (v *View) IDs() (IDs, error) {
	values, err := v.st.values(liveArray)
	if err != nil {
		return IDs{}, err
	}
	next := uint64(v.st.header.NextID)
	s := IDs{words: make([]uint64, 0, (next+63)/64)}
	for n, b := range values {
		want := min(next-uint64(n)*idsPerLiveValue, idsPerLiveValue)
		if uint64(len(b)) != 8*((want+63)/64) {
			return IDs{}, fmt.Errorf("value %d of %s: %w: has %d bytes for %d ids", n, liveArray, ErrCorrupt, len(b), want)
		}
		for ; len(b) > 0; b = b[8:] {
			w := binary.LittleEndian.Uint64(b)
			s.words = append(s.words, w)
			s.count += bits.OnesCount64(w)
		}
	}
	if s.count != v.st.header.Count || next%64 != 0 && s.words[len(s.words)-1]>>(next%64) != 0 {
		return IDs{}, fmt.Errorf("%s: %w: has %d ids below %d, the header names %d", liveArray, ErrCorrupt, s.count, next,
			v.st.header.Count)
	}
	return s, nil
}

// slots opens the pack of value n, in an array with per ids a value.
func (v *View) slots(name string, n uint32, per uint64) (pack, error) {
	b, err := v.st.value(name, n)
	if err != nil {
		return pack{}, err
	}
	p, err := decodePack(b, int(min(uint64(v.st.header.NextID)-uint64(n)*per, per)))
	if err != nil {
		return pack{}, fmt.Errorf("value %d of %s: %w", n, name, err)
	}
	return p, nil
}

// slot returns the slot of an id; an id that was never given is ErrNotFound.
func (v *View) slot(name string, id dataset.ID, per uint64) ([]byte, error) {
	if id >= v.st.header.NextID {
		return nil, fmt.Errorf("id %d: %w: the highest ever given is %d", id, ErrNotFound, int64(v.st.header.NextID)-1)
	}
	n := uint32(uint64(id) / per)
	p, err := v.slots(name, n, per)
	if err != nil {
		return nil, err
	}
	b, err := p.slot(int(uint64(id) % per))
	if err != nil {
		return nil, fmt.Errorf("value %d of %s: %w", n, name, err)
	}
	return b, nil
}

// Record returns what is known of an image. An id that the collection does not hold is ErrNotFound.
func (v *View) Record(id dataset.ID) (Record, error) {
	b, err := v.slot(recordArray, id, recordsPerValue)
	if err != nil {
		return Record{}, err
	}
	if len(b) == 0 {
		return Record{}, fmt.Errorf("id %d: %w: it was removed", id, ErrNotFound)
	}
	return v.record(id, b, &Record{})
}

func (v *View) record(id dataset.ID, b []byte, like *Record) (Record, error) {
	r, err := decodeRecord(id, b, like)
	if err != nil {
		return Record{}, fmt.Errorf("record %d: %w: %w", id, ErrCorrupt, err)
	}
	return r, nil
}

// Records returns the records of the images from id from on, rising, at most limit (0 or less: all).
func (v *View) Records(from dataset.ID, limit int) ([]Record, error) {
	var records []Record
	next := v.st.header.NextID
	last := &Record{}
	for from < next {
		n := uint32(from / recordsPerValue)
		p, err := v.slots(recordArray, n, recordsPerValue)
		if err != nil {
			return nil, err
		}
		for i := int(from % recordsPerValue); i < p.count; i++ {
			b, err := p.slot(i)
			if err != nil {
				return nil, fmt.Errorf("value %d of %s: %w", n, recordArray, err)
			}
			if len(b) > 0 {
				r, err := v.record(dataset.ID(uint64(n)*recordsPerValue+uint64(i)), b, last)
				if err != nil {
					return nil, err
				}
				records = append(records, r)
				last = &records[len(records)-1]
				if limit > 0 && len(records) == limit {
					return records, nil
				}
			}
		}
		from = dataset.ID((uint64(n) + 1) * recordsPerValue)
	}
	return records, nil
}

// Thumbnail returns an image's thumbnail, in place; it is empty where none was given. An id that the collection does not
// hold is ErrNotFound.
func (v *View) Thumbnail(id dataset.ID) ([]byte, error) {
	b, err := v.slot(thumbnailArray, id, thumbnailsPerValue)
	if err == nil && len(b) == 0 {
		_, err = v.Record(id)
	}
	return b, err
}

// chunk returns the embeddings of value n, checked for their number.
func (v *View) chunk(n uint32, payload []byte) ([]float32, error) {
	if uint64(len(payload)) != 4*ChunkRows*uint64(v.st.header.Dim) {
		return nil, fmt.Errorf("value %d of %s: %w: has %d bytes for %d embeddings", n, vectorArray, ErrCorrupt, len(payload),
			ChunkRows)
	}
	return Words[float32](payload), nil
}

// Embedding returns an image's embedding, in place. An id that the collection does not hold is ErrNotFound.
func (v *View) Embedding(id dataset.ID) ([]float32, error) {
	if _, err := v.Record(id); err != nil {
		return nil, err
	}
	n := uint32(id / ChunkRows)
	b, err := v.st.value(vectorArray, n)
	if err != nil {
		return nil, err
	}
	chunk, err := v.chunk(n, b)
	if err != nil {
		return nil, err
	}
	dim := v.st.header.Dim
	row := int(id%ChunkRows) * dim
	return chunk[row : row+dim : row+dim], nil
}

// Embeddings returns all rows ever written, in place: slice i holds the embeddings of the ids from i*ChunkRows on,
// [ChunkRows, Dim] float32. Rows of removed images are among them (see IDs), and zeros where no image is yet.
func (v *View) Embeddings() ([][]float32, error) {
	values, err := v.st.values(vectorArray)
	if err != nil {
		return nil, err
	}
	chunks := make([][]float32, len(values))
	for n, b := range values {
		if chunks[n], err = v.chunk(uint32(n), b); err != nil {
			return nil, err
		}
	}
	return chunks, nil
}

// GraphParts lists the parts of the graph by name.
func (v *View) GraphParts() []string { return v.st.header.graphParts() }

// GraphPart returns the values of a part of the graph, in place; nil where there is no such part.
func (v *View) GraphPart(name string) ([][]byte, error) {
	if _, ok := v.st.header.arrays[graphPrefix+name]; !ok {
		return nil, nil
	}
	values, err := v.st.values(graphPrefix + name)
	if values == nil && err == nil {
		values = [][]byte{}
	}
	return values, err
}

// Map returns the positions on the map, in place: slice i holds those of the ids from i*ChunkRows on, [ChunkRows, 2]
// float32, NaN where an image has none. Images that were added after the map was stored have none, or lie past its end;
// those of removed images are still there (see IDs). There are none where [Header.MapGeneration] is 0.
func (v *View) Map() ([][]float32, error) {
	values, err := v.st.values(mapArray)
	if err != nil {
		return nil, err
	}
	positions := make([][]float32, len(values))
	for n, b := range values {
		if len(b) != 4*2*ChunkRows {
			return nil, fmt.Errorf("value %d of %s: %w: has %d bytes for %d positions", n, mapArray, ErrCorrupt, len(b), ChunkRows)
		}
		positions[n] = Words[float32](b)
	}
	return positions, nil
}

// Usage returns how many bytes of values each kind of content takes: "encoder", "live", "records", "vectors",
// "thumbnails", "graph" and, where there is one, "map".
func (v *View) Usage() map[string]int64 {
	usage := map[string]int64{}
	for name, a := range v.st.header.arrays {
		if strings.HasPrefix(name, graphPrefix) {
			name = "graph"
		}
		usage[name] += a.Bytes
	}
	return usage
}
