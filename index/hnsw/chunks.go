package hnsw

import "unsafe"

// chunks is a table of rows of equal width in slices of ChunkNodes rows. A slice that came from outside is copied before
// it is written to.
type chunks[T float32 | uint32] struct {
	width int
	data  [][]T
	owned []bool
	dirt
}

// row returns row i.
func (c *chunks[T]) row(i uint32) []T {
	at := int(i&chunkMask) * c.width
	return c.data[i>>chunkShift][at : at+c.width : at+c.width]
}

// pointer returns the address of row i.
func (c *chunks[T]) pointer(i uint32) *T {
	return &c.data[i>>chunkShift][int(i&chunkMask)*c.width]
}

// write makes row i ready to be written to.
func (c *chunks[T]) write(i uint32) {
	n := i >> chunkShift
	if !c.owned[n] {
		c.data[n] = append([]T(nil), c.data[n]...)
		c.owned[n] = true
	}
	c.mark(i)
}

// grow makes room for rows rows.
func (c *chunks[T]) grow(rows int) {
	for len(c.data)*ChunkNodes < rows {
		c.data = append(c.data, make([]T, ChunkNodes*c.width))
		c.owned = append(c.owned, true)
	}
}

// dirt says which chunks changed since they were last saved.
type dirt struct{ changed []bool }

// mark notes a change of row i.
func (d *dirt) mark(i uint32) {
	n := int(i >> chunkShift)
	for len(d.changed) <= n {
		d.changed = append(d.changed, false)
	}
	d.changed[n] = true
}

func (d *dirt) isChanged(n int) bool { return n < len(d.changed) && d.changed[n] }

// bytesOf returns the little-endian bytes of words, in place where the processor stores them so.
func bytesOf[T float32 | uint32](words []T) []byte {
	if len(words) == 0 {
		return nil
	}
	if littleEndian {
		return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), 4*len(words))
	}
	return swapped(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), 4*len(words)))
}

// wordsOf is the inverse of bytesOf. It refers to data where that is aligned, otherwise it copies.
func wordsOf[T float32 | uint32](data []byte) []T {
	if len(data) < 4 {
		return nil
	}
	if !littleEndian {
		data = swapped(data)
	}
	first := unsafe.Pointer(unsafe.SliceData(data))
	if uintptr(first)%4 != 0 {
		words := make([]T, len(data)/4)
		copy(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), 4*len(words)), data)
		return words
	}
	return unsafe.Slice((*T)(first), len(data)/4)
}

var littleEndian = func() bool {
	word := uint16(1)
	return *(*byte)(unsafe.Pointer(&word)) == 1
}()

// swapped returns a copy of data with the bytes of each word of four reversed, aligned for words.
func swapped(data []byte) []byte {
	words := make([]uint32, len(data)/4)
	out := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), 4*len(words))
	for i := 0; i+4 <= len(data); i += 4 {
		out[i], out[i+1], out[i+2], out[i+3] = data[i+3], data[i+2], data[i+1], data[i]
	}
	return out
}
