package store

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"sync"
)

// state is one committed state of the file.
type state struct {
	pages  *pages
	header header

	mu     sync.Mutex
	arrays map[string]*openArray
}

// openArray is an array that was looked at.
type openArray struct {
	tree tree
	sums []byte // uint32 each: the checksums of its values
}

// loadState reads the header.
func loadState(p *pages) (*state, error) {
	top, ok, err := p.bucket(headerBucket)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("%w: it is a bbolt file of another program", ErrNotCollection)
	}
	e, _, ok, err := top.get([]byte(headerKey))
	if err != nil {
		return nil, err
	}
	if !ok || e.bucket {
		return nil, fmt.Errorf("%w: it has no header", ErrCorrupt)
	}
	payload, _, err := decodeFrame(e.value, kindHeader, 0)
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	h, err := decodeHeader(payload)
	if err != nil {
		return nil, err
	}
	return &state{pages: p, header: h, arrays: map[string]*openArray{}}, nil
}

func valueKey(n uint32) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

// array opens an array; it has values.
func (st *state) array(name string) (*openArray, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if a := st.arrays[name]; a != nil {
		return a, nil
	}
	info := st.header.arrays[name]
	fail := func(err error) error { return fmt.Errorf("directory of %s: %w", name, err) }
	directories, ok, err := st.pages.bucket(directoryBucket)
	if err != nil {
		return nil, fail(err)
	}
	if !ok {
		return nil, fmt.Errorf("%w: it has no directory", ErrCorrupt)
	}
	e, _, ok, err := directories.get([]byte(name))
	if err != nil {
		return nil, fail(err)
	}
	if !ok || e.bucket {
		return nil, fail(fmt.Errorf("%w: is missing", ErrCorrupt))
	}
	sums, sum, err := decodeFrame(e.value, kindDirectory, info.Values)
	if err != nil {
		return nil, fail(err)
	}
	if sum != info.Sum || uint64(len(sums)) != 4*uint64(info.Values) {
		return nil, fail(fmt.Errorf("%w: is not the one that the header names", ErrCorrupt))
	}
	t, ok, err := st.pages.bucket(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if !ok {
		return nil, fmt.Errorf("%s: %w: is missing", name, ErrCorrupt)
	}
	a := &openArray{tree: t, sums: sums}
	st.arrays[name] = a
	return a, nil
}

// raw returns a value as it is stored, unchecked.
func (st *state) raw(name string, n uint32) ([]byte, *openArray, error) {
	if n >= st.header.arrays[name].Values {
		return nil, nil, fmt.Errorf("value %d of %s: %w: is missing", n, name, ErrCorrupt)
	}
	a, err := st.array(name)
	if err != nil {
		return nil, nil, err
	}
	e, _, ok, err := a.tree.get(valueKey(n))
	if err != nil {
		return nil, nil, fmt.Errorf("value %d of %s: %w", n, name, err)
	}
	if !ok || e.bucket {
		return nil, nil, fmt.Errorf("value %d of %s: %w: is missing", n, name, ErrCorrupt)
	}
	return e.value, a, nil
}

// value returns the checked payload of a value, in place.
func (st *state) value(name string, n uint32) ([]byte, error) {
	value, a, err := st.raw(name, n)
	if err != nil {
		return nil, err
	}
	return a.payload(name, n, value)
}

// payload checks a value.
func (a *openArray) payload(name string, n uint32, value []byte) ([]byte, error) {
	payload, sum, err := decodeFrame(value, kindOf(name), n)
	if err == nil && sum != binary.LittleEndian.Uint32(a.sums[4*n:]) {
		err = fmt.Errorf("%w: is of another commit", ErrCorrupt)
	}
	if err != nil {
		return nil, fmt.Errorf("value %d of %s: %w", n, name, err)
	}
	return payload, nil
}

// values returns the checked payloads of all values of an array, in place. It asks the system to read ahead first:
// they are mostly one run of pages.
func (st *state) values(name string) ([][]byte, error) {
	count := int(st.header.arrays[name].Values)
	if count == 0 {
		return nil, nil
	}
	all := make([][]byte, 0, min(count, 1<<16))
	var a *openArray
	total := 0
	for n := range count {
		value, open, err := st.raw(name, uint32(n))
		if err != nil {
			return nil, err
		}
		a = open
		st.pages.readAhead(value)
		all = append(all, value)
		total += len(value)
	}
	threads := min(runtime.GOMAXPROCS(0), count, 1+total/checkShare)
	errs := make([]error, threads)
	check := func(thread int) {
		errs[thread] = st.guard(func() error {
			for n := thread * count / threads; n < (thread+1)*count/threads; n++ {
				payload, err := a.payload(name, uint32(n), all[n])
				if err != nil {
					return err
				}
				all[n] = payload
			}
			return nil
		})
	}
	var others sync.WaitGroup
	for thread := 1; thread < threads; thread++ {
		others.Go(func() { check(thread) })
	}
	check(0)
	others.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// checkShare is the number of bytes to check that are worth a thread.
const checkShare = 2 << 20

// guard calls fn and turns a fault within the mapping into an error.
func (st *state) guard(fn func() error) (err error) {
	defer catchFaults(func() []byte { return st.pages.data }, &err)()
	return fn()
}
