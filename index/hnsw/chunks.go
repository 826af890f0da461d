package hnsw

import "unsafe"

// ChunkNodes is the number of slots whose embeddings, or level-0 links, lie in one slice.
const ChunkNodes = 1024

const (
	chunkShift = 10
	chunkMask  = ChunkNodes - 1
)

// chunks is a table of rows of equal width in slices of ChunkNodes rows each. A slice that came from outside is copied
// before it is written to.
type chunks[T float32 | uint32 | uint8] struct {
	width int
	data  [][]T
	first []*T // of each slice
	owned []bool
	dirt
}

// row returns row i.
func (c *chunks[T]) row(i uint32) []T { return unsafe.Slice(c.pointer(i), c.width) }

// pointer returns the address of row i. It is what a search does most, so that only the number of the slice is checked:
// every slice has ChunkNodes rows.
func (c *chunks[T]) pointer(i uint32) *T {
	return (*T)(unsafe.Add(unsafe.Pointer(c.first[i>>chunkShift]), uintptr(i&chunkMask)*uintptr(c.width)*unsafe.Sizeof(*c.first[0])))
}

// write returns row i to be written to.
func (c *chunks[T]) write(i uint32) []T {
	n := i >> chunkShift
	if !c.owned[n] {
		c.set(n, append([]T(nil), c.data[n]...), true)
	}
	c.mark(i)
	return c.row(i)
}

// grow makes room for rows rows, filled with a value.
func (c *chunks[T]) grow(rows int, fill T) {
	for len(c.data)*ChunkNodes < rows {
		slice := make([]T, ChunkNodes*c.width)
		if fill != 0 {
			for i := range slice {
				slice[i] = fill
			}
		}
		c.attach(slice, true)
	}
}

// attach adds a slice of ChunkNodes rows.
func (c *chunks[T]) attach(slice []T, owned bool) {
	n := uint32(len(c.data))
	c.data, c.first, c.owned = append(c.data, nil), append(c.first, nil), append(c.owned, false)
	c.set(n, slice, owned)
}

func (c *chunks[T]) set(n uint32, slice []T, owned bool) {
	if len(slice) != ChunkNodes*c.width {
		panic("hnsw: a chunk of the wrong length")
	}
	c.data[n], c.first[n], c.owned[n] = slice, unsafe.SliceData(slice), owned
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
