package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"imgsearch/dataset"
)

// CreateOptions say what a new collection is.
type CreateOptions struct {
	// Encoder is the encoder's file and Fingerprint names it.
	Encoder     []byte
	Fingerprint string
	// Dim is the length of every embedding, 1 to MaxDim.
	Dim int
	// Metric names the distance.
	Metric string
	// Options are the caller's own, JSON.
	Options json.RawMessage
	// Created is the time to note; the zero time means now.
	Created time.Time
	// Wait is that of [Options].
	Wait time.Duration
}

// Create makes an empty collection and opens it for changes. The file gets its name when all of it is on the disk, so no
// partial file ever has it. The errors to test for: ErrExists, ErrInvalid, ErrLocked, ErrReadOnly.
func Create(path string, options CreateOptions) (*Store, error) {
	path, err := resolve(path)
	if err != nil {
		return nil, fmt.Errorf("create collection: %w", err)
	}
	s := newStore(path, Options{Write: true, Wait: options.Wait})
	if err := s.create(options); err != nil {
		return nil, fmt.Errorf("create %s: %w", path, errors.Join(err, s.Close()))
	}
	return s, nil
}

// temporarySuffix, followed by a random number, is added to a collection's name while it is created.
const temporarySuffix = ".new-"

func (s *Store) create(options CreateOptions) error {
	h := header{Header: Header{Created: options.Created, Fingerprint: options.Fingerprint, Dim: options.Dim,
		Metric: options.Metric, Options: options.Options}, arrays: map[string]array{}}
	if h.Created.IsZero() {
		h.Created = time.Now()
	}
	h.Created = h.Created.UTC().Truncate(time.Second)
	h.Generation = 1 // 0 is that of no graph
	if err := checkHeader(h.Header); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if n := len(options.Encoder); n == 0 || n > maxPayload {
		return fmt.Errorf("%w: encoder of %d bytes: must have 1 to %d", ErrInvalid, n, maxPayload)
	}
	if _, err := os.Lstat(s.path); err == nil {
		return ErrExists
	}
	var err error
	if s.session, err = startSession(s.path); err != nil {
		return err
	}
	removeLeftovers(s.path)
	name := fmt.Sprintf("%s%s%08x", s.path, temporarySuffix, rand.Uint32())
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return writeError(err)
	}
	defer os.Remove(name)
	if err := f.Close(); err != nil {
		return err
	}
	d := newDraft(nil, h)
	d.put(encoderArray, 0, options.Encoder)
	c, err := d.finish()
	if err != nil {
		return err
	}
	open := func() (*os.File, error) { return os.OpenFile(name, os.O_RDWR, 0) }
	if err := commitFile(name, open, nil, c); err != nil {
		return writeError(err)
	}
	// A link fails where the name is taken meanwhile; a rename would replace.
	if err := os.Link(name, s.path); err != nil {
		if _, taken := os.Lstat(s.path); taken == nil {
			return ErrExists
		}
		if err := os.Rename(name, s.path); err != nil { // a file system without links
			return err
		}
	}
	if err := syncFolder(filepath.Dir(s.path)); err != nil {
		return err
	}
	return s.open()
}

// removeLeftovers removes what a killed Create left behind. The caller holds the lock, so it is nobody's.
func removeLeftovers(path string) {
	names, err := filepath.Glob(escapeGlob(path) + temporarySuffix + "*")
	if err != nil {
		return
	}
	for _, name := range names {
		_ = os.Remove(name)
	}
}

func escapeGlob(path string) string {
	if os.PathSeparator == '\\' {
		return path // Windows knows no escape; a name with [ keeps its leftovers
	}
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// Item is an image to add.
type Item struct {
	// Record describes it; its ID is ignored.
	Record Record
	// Embedding has Dim finite values.
	Embedding []float32
	// Thumbnail is kept as it is; it may be empty.
	Thumbnail []byte
}

// Batch is a set of changes that are committed together.
type Batch struct {
	// Remove are ids that the collection holds, each once. Their records and thumbnails are deleted.
	Remove []dataset.ID
	// Touch replaces the records of these ids; their embeddings and thumbnails stay.
	Touch []Record
	// Add are new images; they get the next ids in this order.
	Add []Item
	// Options, where not nil, replace those of the header.
	Options json.RawMessage
}

// Apply commits a batch as a whole and returns the id of the first image added. It waits for Views, those of other
// processes for [Options.Wait] at most. When it returns without error the batch is on the disk; when it returns an error
// the collection is as before, unless the disk failed at the very last step.
//
// That no two records share a source is the caller's duty. The errors to test for: ErrReadOnly, ErrInvalid, ErrNotFound,
// ErrLocked, ErrCorrupt, ErrClosed.
func (s *Store) Apply(ctx context.Context, b Batch) (first dataset.ID, err error) {
	err = s.commit(ctx, func(st *state) (*draft, error) {
		first = st.header.NextID
		return batchDraft(st, b)
	})
	if err != nil {
		return 0, err
	}
	return first, nil
}

// GraphPart is a named part of the graph, cut into values.
type GraphPart struct {
	// Name has 1 to 32 of the characters a-z, 0-9 and -.
	Name   string
	Values [][]byte
}

// PutGraph commits a graph: it replaces all parts that there are. generation is that of the header when the embeddings
// were read that the graph was made from; another one than the collection's own is ErrInvalid. Values that are as before
// are not written again. Errors and waiting are those of Apply.
func (s *Store) PutGraph(ctx context.Context, generation uint64, parts []GraphPart) error {
	return s.commit(ctx, func(st *state) (*draft, error) { return graphDraft(st, generation, parts) })
}

// PutMap commits positions on a map, in place of those that there were: slice i holds those of the ids from i*ChunkRows on,
// [ChunkRows, 2] float32, both NaN for an id without an image. generation is that of the header when the images were read;
// another one than the collection's own, a position of an image that is not finite, and a collection without images are
// ErrInvalid. info is the caller's own, JSON. Errors and waiting are those of Apply.
func (s *Store) PutMap(ctx context.Context, generation uint64, positions [][]float32, info json.RawMessage) error {
	return s.commit(ctx, func(st *state) (*draft, error) { return mapDraft(st, generation, positions, info) })
}

// commit makes a draft of the next state and writes it.
func (s *Store) commit(ctx context.Context, plan func(*state) (*draft, error)) error {
	if !s.options.Write {
		return fmt.Errorf("change %s: %w: it was opened for reading", s.path, ErrReadOnly)
	}
	s.changes.Lock()
	defer s.changes.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("change %s: %w", s.path, ErrClosed)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	var c change
	err := s.recoverFaults(func() error {
		if s.state == nil { // a commit before this one could not be read back
			if err := s.refresh(); err != nil {
				return err
			}
		}
		d, err := plan(s.state)
		if err != nil {
			return err
		}
		c, err = d.finish()
		return err
	})
	if err != nil {
		return fmt.Errorf("change %s: %w", s.path, err)
	}
	if err := s.write(ctx, c); err != nil {
		err = fmt.Errorf("change %s: %w", s.path, writeError(err))
		if s.recoverFaults(s.refresh) != nil {
			s.state = nil
		}
		return err
	}
	if err := s.recoverFaults(s.refresh); err != nil {
		s.state = nil
		return fmt.Errorf("read %s after a change: %w", s.path, err)
	}
	return nil
}

// write gives a change to bbolt.
func (s *Store) write(ctx context.Context, c change) error {
	open := func() (*os.File, error) {
		f, err := os.OpenFile(s.path, os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		ours, err := s.file.Stat()
		var theirs fs.FileInfo
		if err == nil {
			theirs, err = f.Stat()
		}
		if err == nil && !os.SameFile(ours, theirs) {
			err = errors.New("another file has taken its place (open it anew)")
		}
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		return f, nil
	}
	// Writers that obey the lock file cannot have come between; one that reached the file by another name could.
	unchanged := func() error {
		meta, _, err := s.readMeta()
		if err == nil && meta != s.state.pages.meta {
			err = fmt.Errorf("%w: it changed since it was opened: two names, or a deleted lock file", ErrLocked)
		}
		return err
	}
	// bbolt must not even open a file that changed: it would build on it.
	if err := unchanged(); err != nil {
		return err
	}
	s.session.committing(true)
	defer s.session.committing(false)
	return s.waitFor(ctx, commitWait, func() (bool, error) {
		err := commitFile(s.path, open, unchanged, c)
		if errors.Is(err, errBusy) {
			return false, nil
		}
		return err == nil, err
	}, func() error {
		return fmt.Errorf("%w: another process reads it for long", ErrLocked)
	})
}

// draft is the next state in the making.
type draft struct {
	base   *state // nil for a new file
	header header
	puts   map[string]map[uint32][]byte // nil: delete
	sums   map[string][]uint32          // of arrays with puts
	drop   []string
	err    error
}

func newDraft(base *state, h header) *draft {
	return &draft{base: base, header: h.clone(), puts: map[string]map[uint32][]byte{}, sums: map[string][]uint32{}}
}

// open makes the checksums of an array ready for change.
func (d *draft) open(name string) {
	if d.puts[name] != nil || d.err != nil {
		return
	}
	d.puts[name] = map[uint32][]byte{}
	if d.base == nil || d.base.header.arrays[name].Values == 0 {
		return
	}
	a, err := d.base.array(name)
	if err != nil {
		d.err = err
		return
	}
	sums := make([]uint32, len(a.sums)/4)
	for i := range sums {
		sums[i] = binary.LittleEndian.Uint32(a.sums[4*i:])
	}
	d.sums[name] = sums
}

// put sets a value: one that is there, or the next. One that is the same as before is left alone.
func (d *draft) put(name string, n uint32, payload []byte) {
	if d.open(name); d.err != nil {
		return
	}
	if len(payload) > maxPayload {
		d.err = fmt.Errorf("%w: value %d of %s has %d bytes: must have at most %d", ErrInvalid, n, name, len(payload), maxPayload)
		return
	}
	sum := payloadSum(kindOf(name), n, payload)
	info := d.header.arrays[name]
	if int(n) < len(d.sums[name]) {
		old, a, err := d.base.raw(name, n)
		if err == nil && d.sums[name][n] == sum {
			var before []byte
			if before, err = a.payload(name, n, old); err == nil && bytes.Equal(before, payload) {
				return
			}
		}
		if err != nil {
			d.err = err
			return
		}
		info.Bytes -= int64(len(old))
		d.sums[name][n] = sum
	} else {
		d.sums[name] = append(d.sums[name], sum)
		info.Values++
	}
	value := encodeFrame(kindOf(name), n, payload, sum)
	info.Bytes += int64(len(value))
	d.header.arrays[name] = info
	d.puts[name][n] = value
}

// shorten deletes the values of an array from number n on.
func (d *draft) shorten(name string, n uint32) {
	info := d.header.arrays[name]
	if d.err != nil || info.Values <= n {
		return
	}
	if n == 0 { // an array without values has no bucket
		d.drop = append(d.drop, name)
		delete(d.puts, name)
		d.header.arrays[name] = array{}
		return
	}
	if d.open(name); d.err != nil {
		return
	}
	for i := n; i < info.Values; i++ {
		old, _, err := d.base.raw(name, i)
		if err != nil {
			d.err = err
			return
		}
		info.Bytes -= int64(len(old))
		d.puts[name][i] = nil
	}
	info.Values = n
	d.sums[name] = d.sums[name][:n]
	d.header.arrays[name] = info
}

// finish closes the draft.
func (d *draft) finish() (change, error) {
	if d.err != nil {
		return change{}, d.err
	}
	c := change{puts: map[string]map[uint32][]byte{}, drop: d.drop, directories: map[string][]byte{}}
	for name, values := range d.puts {
		if len(values) == 0 {
			continue
		}
		info := d.header.arrays[name]
		c.puts[name] = values
		sums := encodeDirectory(d.sums[name])
		info.Sum = payloadSum(kindDirectory, info.Values, sums)
		c.directories[name] = encodeFrame(kindDirectory, info.Values, sums, info.Sum)
		d.header.arrays[name] = info
	}
	if err := d.header.check(); err != nil {
		return change{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	payload, err := d.header.encode()
	if err != nil {
		return change{}, err
	}
	c.header = encodeFrame(kindHeader, 0, payload, payloadSum(kindHeader, 0, payload))
	return c, nil
}

// slotted changes the slots of an array whose values are packs.
type slotted struct {
	draft *draft
	name  string
	per   uint64
	next  uint64 // ids before the change
	packs map[uint32][][]byte
}

func (d *draft) slotted(name string, per uint64) *slotted {
	return &slotted{d, name, per, uint64(d.base.header.NextID), map[uint32][][]byte{}}
}

func (s *slotted) set(id dataset.ID, b []byte) {
	n := uint32(uint64(id) / s.per)
	slots, ok := s.packs[n]
	if first := uint64(n) * s.per; !ok && first < s.next && s.draft.err == nil {
		p, err := (&View{s.draft.base}).slots(s.name, n, s.per)
		if err == nil {
			slots, err = p.slots()
		}
		if err != nil {
			s.draft.err = err
		}
	}
	if s.draft.err != nil {
		return
	}
	if i := int(uint64(id) % s.per); i < len(slots) {
		slots[i] = b
	} else {
		slots = append(slots, b)
	}
	s.packs[n] = slots
}

func (s *slotted) finish() {
	for _, n := range slices.Sorted(maps.Keys(s.packs)) {
		s.draft.put(s.name, n, encodePack(s.packs[n]))
	}
}

// batchDraft plans a batch.
func batchDraft(st *state, b Batch) (*draft, error) {
	if len(b.Options) > 0 && (len(b.Options) > MaxOptions || !json.Valid(b.Options)) {
		return nil, fmt.Errorf("%w: options of %d bytes: must be JSON of at most %d", ErrInvalid, len(b.Options), MaxOptions)
	}
	if room := MaxImages - uint64(st.header.NextID); uint64(len(b.Add)) > room {
		return nil, fmt.Errorf("%w: %d images to add: there are ids for %d", ErrInvalid, len(b.Add), room)
	}
	d := newDraft(st, st.header)
	h := &d.header
	if b.Options != nil {
		h.Options = slices.Clone(b.Options)
	}
	v := &View{st}
	ids, err := v.IDs()
	if err != nil {
		return nil, err
	}
	live := ids.words
	records := d.slotted(recordArray, recordsPerValue)
	thumbnails := d.slotted(thumbnailArray, thumbnailsPerValue)
	changed := map[uint32]bool{} // values of the live array
	for _, id := range b.Remove {
		if !ids.Has(id) {
			return nil, fmt.Errorf("remove id %d: %w", id, ErrNotFound)
		}
		live[id/64] &^= 1 << (id % 64)
		records.set(id, nil)
		thumbnails.set(id, nil)
		changed[uint32(id/idsPerLiveValue)] = true
		h.Count--
	}
	for _, r := range b.Touch {
		if !ids.Has(r.ID) {
			return nil, fmt.Errorf("touch id %d: %w", r.ID, ErrNotFound)
		}
		if err := checkRecord(r); err != nil {
			return nil, err
		}
		records.set(r.ID, encodeRecord(r))
	}
	dim := h.Dim
	chunks := map[uint32][]float32{}
	for _, item := range b.Add {
		if err := checkRecord(item.Record); err != nil {
			return nil, err
		}
		if len(item.Embedding) != dim || !finite(item.Embedding) {
			return nil, fmt.Errorf("%w: embedding of %s has %d values: must have %d, all finite", ErrInvalid,
				item.Record.Source, len(item.Embedding), dim)
		}
		if len(item.Thumbnail) > MaxThumbnail {
			return nil, fmt.Errorf("%w: thumbnail of %s has %d bytes: must have at most %d", ErrInvalid, item.Record.Source,
				len(item.Thumbnail), MaxThumbnail)
		}
		id := h.NextID
		records.set(id, encodeRecord(item.Record))
		thumbnails.set(id, item.Thumbnail)
		n := uint32(id / ChunkRows)
		if chunks[n] == nil {
			chunks[n] = make([]float32, dim*ChunkRows)
			if int(n) < int(st.header.arrays[vectorArray].Values) {
				old, err := st.value(vectorArray, n)
				if err != nil {
					return nil, err
				}
				copy(Bytes(chunks[n]), old)
			}
		}
		copy(chunks[n][int(id%ChunkRows)*dim:], item.Embedding)
		if id%64 == 0 {
			live = append(live, 0)
		}
		live[id/64] |= 1 << (id % 64)
		changed[uint32(id/idsPerLiveValue)] = true
		h.NextID++
		h.Count++
	}
	if len(b.Remove)+len(b.Add) > 0 {
		h.Generation++
	}
	records.finish()
	thumbnails.finish()
	for _, n := range slices.Sorted(maps.Keys(chunks)) {
		d.put(vectorArray, n, Bytes(chunks[n]))
	}
	for _, n := range slices.Sorted(maps.Keys(changed)) {
		const words = idsPerLiveValue / 64
		var payload []byte
		for _, w := range live[n*words : min(int(n+1)*words, len(live))] {
			payload = binary.LittleEndian.AppendUint64(payload, w)
		}
		d.put(liveArray, n, payload)
	}
	return d, d.err
}

// graphDraft plans a new graph.
func graphDraft(st *state, generation uint64, parts []GraphPart) (*draft, error) {
	if generation != st.header.Generation {
		return nil, fmt.Errorf("%w: graph of generation %d: the collection is at %d", ErrInvalid, generation, st.header.Generation)
	}
	d := newDraft(st, st.header)
	d.header.GraphGeneration = generation
	names := map[string]bool{}
	for _, part := range parts {
		name := graphPrefix + part.Name
		if names[name] || !partName.MatchString(part.Name) || len(part.Values) > maxGraphValues {
			return nil, fmt.Errorf("%w: part %.100q of the graph with %d values", ErrInvalid, part.Name, len(part.Values))
		}
		names[name] = true
		if _, ok := d.header.arrays[name]; !ok {
			d.header.arrays[name] = array{}
		}
		for n, payload := range part.Values {
			d.put(name, uint32(n), payload)
		}
		d.shorten(name, uint32(len(part.Values)))
	}
	for _, name := range st.header.graphParts() {
		if name = graphPrefix + name; !names[name] {
			if st.header.arrays[name].Values > 0 {
				d.drop = append(d.drop, name)
			}
			delete(d.header.arrays, name)
		}
	}
	return d, d.err
}

// mapDraft plans new positions on the map.
func mapDraft(st *state, generation uint64, positions [][]float32, info json.RawMessage) (*draft, error) {
	if generation != st.header.Generation {
		return nil, fmt.Errorf("%w: map of generation %d: the collection is at %d", ErrInvalid, generation, st.header.Generation)
	}
	ids, err := (&View{st}).IDs()
	if err != nil {
		return nil, err
	}
	if want := st.header.arrays[vectorArray].Values; len(positions) != int(want) || want == 0 {
		return nil, fmt.Errorf("%w: map of %d values for %d of embeddings", ErrInvalid, len(positions), want)
	}
	for n, chunk := range positions {
		if len(chunk) != 2*ChunkRows {
			return nil, fmt.Errorf("%w: value %d of the map has %d numbers: must have %d", ErrInvalid, n, len(chunk), 2*ChunkRows)
		}
	}
	for id := range ids.All() {
		if at := positions[id/ChunkRows][2*(id%ChunkRows):][:2]; !finite(at) {
			return nil, fmt.Errorf("%w: position of image %d is %v", ErrInvalid, id, at)
		}
	}
	d := newDraft(st, st.header)
	d.header.MapGeneration, d.header.MapInfo = generation, slices.Clone(info)
	for n, chunk := range positions {
		d.put(mapArray, uint32(n), Bytes(chunk))
	}
	d.shorten(mapArray, uint32(len(positions)))
	return d, d.err
}
