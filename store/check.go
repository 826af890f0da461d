package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"imgsearch/dataset"
)

// Check goes through all of the file: every page, every value with its checksum, every record, and how they fit each
// other. It reports each thing that is wrong with an error that says where; what depends on a damaged part is left out.
// The graph's parts are checked as bytes only. It returns ctx's error, or nil.
func (v *View) Check(ctx context.Context, report func(error)) error {
	st := v.st
	st.pages.walk(report)
	expected := map[string]bool{headerBucket: true, directoryBucket: true}
	damaged := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(st.header.arrays)) {
		expected[name] = true
		err := st.checkArray(ctx, name, func(err error) {
			damaged[name] = true
			report(err)
		})
		if err != nil {
			return err
		}
	}
	err := st.pages.rootTree().each(maxTreeDepth, func(e element) error {
		if !expected[string(e.key)] {
			report(fmt.Errorf("%w: bucket %.100q belongs to nothing", ErrCorrupt, e.key))
		}
		return nil
	})
	if err != nil {
		report(err)
	}
	if damaged[liveArray] {
		return nil
	}
	ids, err := v.IDs()
	if err != nil {
		report(err)
		return nil
	}
	if !damaged[recordArray] {
		if err := v.checkRecords(ctx, ids, report); err != nil {
			return err
		}
	}
	if !damaged[thumbnailArray] {
		if err := v.checkThumbnails(ctx, ids, report); err != nil {
			return err
		}
	}
	if !damaged[mapArray] {
		v.checkMap(ids, report)
	}
	if !damaged[vectorArray] {
		return v.checkEmbeddings(ctx, ids, report)
	}
	return nil
}

// checkMap checks that images have a position or none, and all one where the map is of this generation.
func (v *View) checkMap(ids IDs, report func(error)) {
	h := v.st.header
	if h.MapGeneration == 0 {
		return
	}
	positions, err := v.Map()
	if err != nil {
		report(err)
		return
	}
	for id := range ids.All() {
		none := true
		if n := int(id / ChunkRows); n < len(positions) {
			at := positions[n][2*(id%ChunkRows):][:2]
			none = at[0] != at[0] && at[1] != at[1]
			if !none && !finite(at) {
				report(fmt.Errorf("position %d: %w: is %v", id, ErrCorrupt, at))
			}
		}
		if none && h.MapGeneration == h.Generation {
			report(fmt.Errorf("position %d: %w: is missing in the map of this state", id, ErrCorrupt))
		}
	}
}

// each calls fn with the elements of a tree.
func (t tree) each(depth int, fn func(element) error) error {
	pg := t.inline
	if t.root != 0 {
		var err error
		if pg, err = t.pages.at(t.root); err != nil {
			return err
		}
	}
	if depth == 0 {
		return &pageError{t.root, "its tree has no end"}
	}
	for i := range pg.count {
		e, err := pg.element(i)
		if err != nil {
			return err
		}
		if pg.leaf {
			err = fn(e)
		} else {
			err = tree{pages: t.pages, root: e.child}.each(depth-1, fn)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkArray checks every value of an array, and that there are no others.
func (st *state) checkArray(ctx context.Context, name string, report func(error)) error {
	info := st.header.arrays[name]
	if info.Values == 0 {
		if _, ok, err := st.pages.bucket(name); err != nil || ok {
			report(fmt.Errorf("%s: %w: is there, and should be empty", name, ErrCorrupt))
		}
		return nil
	}
	a, err := st.array(name)
	if err != nil {
		report(err)
		return nil
	}
	var total int64
	for n := range info.Values {
		if err := ctx.Err(); err != nil {
			return err
		}
		value, _, err := st.raw(name, n)
		if err == nil {
			total += int64(len(value))
			_, err = a.payload(name, n, value)
		}
		if err != nil {
			report(err)
		}
	}
	if total != info.Bytes {
		report(fmt.Errorf("%s: %w: has %d bytes of values and should have %d", name, ErrCorrupt, total, info.Bytes))
	}
	count := uint32(0)
	err = a.tree.each(maxTreeDepth, func(e element) error {
		if len(e.key) != 8 || binary.BigEndian.Uint64(e.key) >= uint64(info.Values) || e.bucket {
			report(fmt.Errorf("%s: %w: key %x belongs to nothing", name, ErrCorrupt, e.key))
		}
		count++
		return ctx.Err()
	})
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil && count != info.Values {
		err = fmt.Errorf("%s: %w: has %d values and should have %d", name, ErrCorrupt, count, info.Values)
	}
	if err != nil {
		report(err)
	}
	return nil
}

// eachSlot calls fn with every slot of an array of packs.
func (v *View) eachSlot(ctx context.Context, name string, per uint64, report func(error), fn func(dataset.ID, []byte)) error {
	for n := range v.st.header.arrays[name].Values {
		if err := ctx.Err(); err != nil {
			return err
		}
		p, err := v.slots(name, n, per)
		if err != nil {
			report(err)
			continue
		}
		for i := range p.count {
			b, err := p.slot(i)
			if err != nil {
				report(fmt.Errorf("value %d of %s: %w", n, name, err))
				continue
			}
			fn(dataset.ID(uint64(n)*per+uint64(i)), b)
		}
	}
	return nil
}

func (v *View) checkRecords(ctx context.Context, ids IDs, report func(error)) error {
	sources := make(map[string]dataset.ID, ids.Len())
	return v.eachSlot(ctx, recordArray, recordsPerValue, report, func(id dataset.ID, b []byte) {
		if ids.Has(id) != (len(b) > 0) {
			report(fmt.Errorf("record %d: %w: %d bytes, and the list of ids says %t", id, ErrCorrupt, len(b), ids.Has(id)))
			return
		}
		if len(b) == 0 {
			return
		}
		r, err := v.record(id, b, &Record{})
		if err != nil {
			report(err)
			return
		}
		if other, ok := sources[r.Source]; ok {
			report(fmt.Errorf("record %d: %w: has the source of record %d, %s", id, ErrCorrupt, other, r.Source))
		}
		sources[r.Source] = id
	})
}

func (v *View) checkThumbnails(ctx context.Context, ids IDs, report func(error)) error {
	return v.eachSlot(ctx, thumbnailArray, thumbnailsPerValue, report, func(id dataset.ID, b []byte) {
		if len(b) > MaxThumbnail || len(b) > 0 && !ids.Has(id) {
			report(fmt.Errorf("thumbnail %d: %w: %d bytes of an image that is in the collection: %t", id, ErrCorrupt, len(b),
				ids.Has(id)))
		}
	})
}

func (v *View) checkEmbeddings(ctx context.Context, ids IDs, report func(error)) error {
	chunks, err := v.Embeddings()
	if err != nil {
		report(err)
		return nil
	}
	dim := v.st.header.Dim
	for n, chunk := range chunks {
		if err := ctx.Err(); err != nil {
			return err
		}
		for i := range len(chunk) / dim {
			id := dataset.ID(n*ChunkRows + i)
			if ids.Has(id) && !finite(chunk[i*dim:(i+1)*dim]) {
				report(fmt.Errorf("embedding %d: %w: has values that are not finite", id, ErrCorrupt))
			}
		}
	}
	return nil
}
