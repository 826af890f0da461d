package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"unsafe"
)

// This file reads bbolt's page format (version 2) within bounds. bbolt trusts its pages, which have no checksums: a
// damaged one makes it panic, read outside the file, or call itself until the stack is gone, which no recover catches.
// Here a damaged page is an error, whatever its bytes. Wrong bytes that still look like a page are found one level up,
// by the checksums of the values.
//
// Page 0 and 1 are meta pages, written in turn by the commits; the one with the higher transaction id counts. It names the
// root bucket's page, a B+ tree whose leaves name the buckets' root pages; a small bucket lies inline in that leaf.

const (
	boltMagic      = 0xED0CDAED
	boltVersion    = 2
	boltNoFreelist = 1<<64 - 1

	pageHeaderSize = 16 // id uint64, flags uint16, count uint16, overflow uint32
	elementSize    = 16 // leaf: flags, pos, key length, value length uint32; branch: pos, key length uint32, page uint64
	bucketSize     = 16 // root page uint64, sequence uint64
	metaSize       = 64
	branchFlag     = 0x01
	leafFlag       = 0x02
	freelistFlag   = 0x10
	bucketFlag     = 0x01

	minPageSize = 1 << 10
	maxPageSize = 1 << 16

	// maxTreeDepth bounds the way from a root to a leaf. Every branch page has two children at least, so no tree of
	// this program comes near it; a circle of pages does.
	maxTreeDepth = 40
)

// pageError says what is wrong with which page. It wraps ErrCorrupt.
type pageError struct {
	page uint64
	what string
}

func (e *pageError) Error() string { return fmt.Sprintf("%v: page %d: %s", ErrCorrupt, e.page, e.what) }
func (e *pageError) Unwrap() error { return ErrCorrupt }

// boltMeta is the content of a meta page.
type boltMeta struct {
	pageSize int
	root     uint64
	freelist uint64
	pages    uint64 // page ids in use are below it
	tx       uint64
}

// errNoMeta says that bytes do not start with bbolt's letters at all.
var errNoMeta = errors.New("no meta page")

// parseMeta reads the content of a meta page that starts at b[0].
func parseMeta(b []byte) (boltMeta, error) {
	if len(b) < pageHeaderSize+metaSize {
		return boltMeta{}, errNoMeta
	}
	m := b[pageHeaderSize : pageHeaderSize+metaSize]
	le := binary.LittleEndian
	if le.Uint32(m) != boltMagic {
		return boltMeta{}, errNoMeta
	}
	h := fnv.New64a()
	h.Write(m[:56])
	if h.Sum64() != le.Uint64(m[56:]) {
		return boltMeta{}, errors.New("wrong checksum")
	}
	if v := le.Uint32(m[4:]); v != boltVersion {
		return boltMeta{}, fmt.Errorf("%w: bbolt format %d, not %d", ErrVersion, v, boltVersion)
	}
	size := le.Uint32(m[8:])
	if size < minPageSize || size > maxPageSize || size&(size-1) != 0 {
		return boltMeta{}, fmt.Errorf("page size %d", size)
	}
	return boltMeta{pageSize: int(size), root: le.Uint64(m[16:]), freelist: le.Uint64(m[32:]), pages: le.Uint64(m[40:]),
		tx: le.Uint64(m[48:])}, nil
}

// findMeta reads both meta pages from the start of a file of the given size and returns the newer one. b holds the first
// bytes of the file, 2*maxPageSize where it is that long.
//
// bbolt goes back to the older meta page where the newer one is damaged. That would hide the last commit from the reader
// as if it had never been, so here both must be whole: a commit writes one of them with a single write of less than a
// disk sector, after all else has reached the disk, so a crash does not tear it.
func findMeta(b []byte, size int64) (boltMeta, error) {
	first, err := parseMeta(b)
	if errors.Is(err, errNoMeta) {
		for at := minPageSize; at <= maxPageSize && at < len(b); at *= 2 {
			if _, err := parseMeta(b[at:]); !errors.Is(err, errNoMeta) {
				return boltMeta{}, &pageError{0, "is no meta page, though one follows"}
			}
		}
		return boltMeta{}, ErrNotCollection
	}
	if errors.Is(err, ErrVersion) {
		return boltMeta{}, err
	}
	if err != nil {
		return boltMeta{}, &pageError{0, err.Error()}
	}
	if len(b) < 2*first.pageSize {
		return boltMeta{}, fmt.Errorf("%w: it ends after %d bytes", ErrCorrupt, size)
	}
	second, err := parseMeta(b[first.pageSize:])
	if err != nil {
		return boltMeta{}, &pageError{1, err.Error()}
	}
	if second.pageSize != first.pageSize || first.tx%2 != 0 || second.tx != first.tx+1 && second.tx+1 != first.tx {
		return boltMeta{}, &pageError{1, "does not belong to meta page 0"}
	}
	m := first
	if second.tx > first.tx {
		m = second
	}
	if need := m.pages; m.pages < 4 || need > uint64(size)/uint64(m.pageSize) {
		return boltMeta{}, fmt.Errorf("%w: it has %d bytes and should have %d pages of %d", ErrCorrupt, size, need, m.pageSize)
	}
	return m, nil
}

// pages reads the pages of one committed state.
type pages struct {
	data []byte // the file, at least meta.pages pages
	meta boltMeta
}

// page is a page, or the part of a leaf's value that holds a small bucket. Its header and table of elements are within
// body.
type page struct {
	id    uint64 // of the page, or of the one that an inline bucket lies in
	body  []byte
	count int
	leaf  bool
}

// at reads the header of a tree's page.
func (p *pages) at(id uint64) (page, error) {
	body, err := p.body(id)
	if err != nil {
		return page{}, err
	}
	return parsePage(id, body)
}

// body returns a page with those that it overflows into.
func (p *pages) body(id uint64) ([]byte, error) {
	if id < 2 || id >= p.meta.pages {
		return nil, &pageError{id, fmt.Sprintf("is named, but pages are from 2 to %d", p.meta.pages-1)}
	}
	size := uint64(p.meta.pageSize)
	start := id * size
	if self := binary.LittleEndian.Uint64(p.data[start:]); self != id {
		return nil, &pageError{id, fmt.Sprintf("says that it is page %d", self)}
	}
	overflow := uint64(binary.LittleEndian.Uint32(p.data[start+12:]))
	if overflow >= p.meta.pages-id {
		return nil, &pageError{id, fmt.Sprintf("takes %d pages: goes past the end", overflow+1)}
	}
	end := start + (1+overflow)*size
	return p.data[start:end:end], nil
}

// parsePage checks the header of a branch or leaf page.
func parsePage(id uint64, body []byte) (page, error) {
	if len(body) < pageHeaderSize {
		return page{}, &pageError{id, "is too short"}
	}
	pg := page{id: id, body: body, count: int(binary.LittleEndian.Uint16(body[10:]))}
	switch flags := binary.LittleEndian.Uint16(body[8:]); flags {
	case leafFlag:
		pg.leaf = true
	case branchFlag:
		if pg.count == 0 {
			return page{}, &pageError{id, "is a branch without children"}
		}
	default:
		return page{}, &pageError{id, fmt.Sprintf("is of kind %#x, not a branch or leaf", flags)}
	}
	if pageHeaderSize+pg.count*elementSize > len(body) {
		return page{}, &pageError{id, fmt.Sprintf("has no room for its %d elements", pg.count)}
	}
	return pg, nil
}

// element is one entry of a page.
type element struct {
	key, value []byte // value: leaves only
	bucket     bool   // value describes a bucket
	child      uint64 // branches only
}

func (pg page) element(i int) (element, error) {
	at := pageHeaderSize + i*elementSize
	b := pg.body[at : at+elementSize]
	le := binary.LittleEndian
	var e element
	var pos, keyLen, valueLen uint64
	if pg.leaf {
		flags := le.Uint32(b)
		if flags&^bucketFlag != 0 {
			return e, &pageError{pg.id, fmt.Sprintf("element %d has flags %#x", i, flags)}
		}
		e.bucket = flags == bucketFlag
		pos, keyLen, valueLen = uint64(le.Uint32(b[4:])), uint64(le.Uint32(b[8:])), uint64(le.Uint32(b[12:]))
	} else {
		pos, keyLen = uint64(le.Uint32(b)), uint64(le.Uint32(b[4:]))
		e.child = le.Uint64(b[8:])
	}
	start := uint64(at) + pos
	end := start + keyLen + valueLen
	if keyLen == 0 || start < uint64(pageHeaderSize+pg.count*elementSize) || end > uint64(len(pg.body)) {
		return e, &pageError{pg.id, fmt.Sprintf("element %d lies outside", i)}
	}
	e.key = pg.body[start : start+keyLen : start+keyLen]
	e.value = pg.body[start+keyLen : end : end]
	return e, nil
}

// find returns the number of elements with a key that is at most the given one.
func (pg page) find(key []byte) (int, error) {
	low, high := 0, pg.count
	for low < high {
		mid := (low + high) / 2
		e, err := pg.element(mid)
		if err != nil {
			return 0, err
		}
		if bytes.Compare(e.key, key) <= 0 {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low, nil
}

// tree is a bucket.
type tree struct {
	pages  *pages
	root   uint64
	inline page // where root is 0
}

func (p *pages) rootTree() tree { return tree{pages: p, root: p.meta.root} }

// subtree reads the bucket that an element of a page describes.
func (p *pages) subtree(pg page, e element) (tree, error) {
	if len(e.value) < bucketSize {
		return tree{}, &pageError{pg.id, fmt.Sprintf("bucket %q is too short", e.key)}
	}
	t := tree{pages: p, root: binary.LittleEndian.Uint64(e.value)}
	if t.root != 0 {
		return t, nil
	}
	inline, err := parsePage(pg.id, e.value[bucketSize:])
	if err != nil {
		return tree{}, err
	}
	if !inline.leaf {
		return tree{}, &pageError{pg.id, fmt.Sprintf("bucket %q is an inline branch", e.key)}
	}
	t.inline = inline
	return t, nil
}

// get returns the element of a key with the leaf that it lies in; ok is false where there is none.
func (t tree) get(key []byte) (e element, leaf page, ok bool, err error) {
	pg := t.inline
	if t.root != 0 {
		if pg, err = t.pages.at(t.root); err != nil {
			return e, pg, false, err
		}
	}
	for range maxTreeDepth {
		n, err := pg.find(key)
		if err != nil {
			return e, pg, false, err
		}
		if pg.leaf {
			if n == 0 {
				return e, pg, false, nil
			}
			e, err = pg.element(n - 1)
			return e, pg, err == nil && bytes.Equal(e.key, key), err
		}
		if e, err = pg.element(max(n-1, 0)); err != nil {
			return e, pg, false, err
		}
		if pg, err = t.pages.at(e.child); err != nil {
			return e, pg, false, err
		}
	}
	return e, pg, false, &pageError{t.root, "its tree has no end"}
}

// bucket finds a bucket of the root by its name.
func (p *pages) bucket(name string) (tree, bool, error) {
	e, leaf, ok, err := p.rootTree().get([]byte(name))
	if err != nil || !ok {
		return tree{}, false, err
	}
	if !e.bucket {
		return tree{}, false, &pageError{leaf.id, fmt.Sprintf("%q is no bucket", name)}
	}
	t, err := p.subtree(leaf, e)
	return t, err == nil, err
}

// walker goes through every page of a state.
type walker struct {
	pages  *pages
	used   []uint64 // a bit a page: reached from the root or listed as free
	report func(error)
}

// walk checks the structure that bbolt relies on when it writes: each page is reached once or listed as free, never both
// and never neither; keys rise and lie between those of the parent. Each thing that is wrong is reported.
func (p *pages) walk(report func(error)) {
	w := &walker{pages: p, used: make([]uint64, (p.meta.pages+63)/64), report: report}
	w.used[0] = 3 // the meta pages
	w.tree(p.rootTree(), 0)
	w.freelist()
	lost, first := 0, uint64(0)
	for id := p.meta.pages; id > 0; id-- {
		if w.used[(id-1)/64]>>((id-1)%64)&1 == 0 {
			lost, first = lost+1, id-1
		}
	}
	if lost > 0 {
		report(&pageError{first, fmt.Sprintf("is neither used nor free (the first of %d)", lost)})
	}
}

// take marks n pages as used.
func (w *walker) take(id uint64, n int) bool {
	for i := range uint64(n) {
		word, bit := (id+i)/64, uint64(1)<<((id+i)%64)
		if w.used[word]&bit != 0 {
			w.report(&pageError{id + i, "is used twice"})
			return false
		}
		w.used[word] |= bit
	}
	return true
}

func (w *walker) tree(t tree, nested int) {
	if t.root == 0 {
		w.elements(t.inline, nil, nil, 0, nested)
		return
	}
	w.page(t.root, nil, nil, 0, nested)
}

func (w *walker) page(id uint64, low, high []byte, depth, nested int) {
	if depth == maxTreeDepth {
		w.report(&pageError{id, "lies too deep in its tree"})
		return
	}
	pg, err := w.pages.at(id)
	if err != nil {
		w.report(err)
		return
	}
	if w.take(id, len(pg.body)/w.pages.meta.pageSize) {
		w.elements(pg, low, high, depth, nested)
	}
}

// elements checks the entries of a page, whose keys must be at least low and below high; nil means no bound.
func (w *walker) elements(pg page, low, high []byte, depth, nested int) {
	var previous []byte
	all := make([]element, pg.count)
	for i := range all {
		e, err := pg.element(i)
		if err != nil {
			w.report(err)
			return
		}
		if previous != nil && bytes.Compare(previous, e.key) >= 0 || low != nil && bytes.Compare(e.key, low) < 0 ||
			high != nil && bytes.Compare(e.key, high) >= 0 {
			w.report(&pageError{pg.id, fmt.Sprintf("key %d is out of order", i)})
			return
		}
		previous = e.key
		all[i] = e
	}
	for i, e := range all {
		switch {
		case !pg.leaf:
			next := high
			if i+1 < len(all) {
				next = all[i+1].key
			}
			w.page(e.child, e.key, next, depth+1, nested)
		case e.bucket:
			if nested == 1 {
				w.report(&pageError{pg.id, fmt.Sprintf("bucket %q lies in a bucket", e.key)})
				continue
			}
			t, err := w.pages.subtree(pg, e)
			if err != nil {
				w.report(err)
				continue
			}
			w.tree(t, nested+1)
		}
	}
}

func (w *walker) freelist() {
	id := w.pages.meta.freelist
	if id == boltNoFreelist {
		w.report(&pageError{0, "names no list of free pages"})
		return
	}
	body, err := w.pages.body(id)
	if err != nil {
		w.report(err)
		return
	}
	le := binary.LittleEndian
	if flags := le.Uint16(body[8:]); flags != freelistFlag {
		w.report(&pageError{id, fmt.Sprintf("is of kind %#x, not the list of free pages", flags)})
		return
	}
	if !w.take(id, len(body)/w.pages.meta.pageSize) {
		return
	}
	list := body[pageHeaderSize:]
	count := uint64(le.Uint16(body[10:]))
	if count == 0xFFFF {
		count, list = le.Uint64(list), list[8:]
	}
	if count > uint64(len(list))/8 {
		w.report(&pageError{id, fmt.Sprintf("has no room for its %d free pages", count)})
		return
	}
	previous := uint64(1)
	for i := range count {
		free := le.Uint64(list[8*i:])
		if free <= previous || free >= w.pages.meta.pages {
			w.report(&pageError{id, fmt.Sprintf("entry %d, page %d, is out of order or range", i, free)})
			return
		}
		previous = free
		if !w.take(free, 1) {
			return
		}
	}
}

// readAhead asks the system to fetch a part of the file that will be read soon.
func (p *pages) readAhead(part []byte) {
	if len(part) < 4*p.meta.pageSize {
		return
	}
	from := int(uintptr(unsafe.Pointer(unsafe.SliceData(part))) - uintptr(unsafe.Pointer(unsafe.SliceData(p.data))))
	willNeed(p.data, from, from+len(part))
}
