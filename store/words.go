package store

import (
	"encoding/binary"
	"math"
	"unsafe"
)

// Word is what the arrays of a collection are made of.
type Word interface{ ~float32 | ~uint32 }

// Bytes returns the bytes of the words, in place.
func Bytes[T Word](words []T) []byte {
	if len(words) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), 4*len(words))
}

// Words returns bytes as words: in place where they lie at a multiple of 4, as the store's values do, copied otherwise.
// Bytes behind the last whole word are left out.
func Words[T Word](b []byte) []T {
	n := len(b) / 4
	if n == 0 {
		return nil
	}
	if uintptr(unsafe.Pointer(unsafe.SliceData(b)))%4 == 0 {
		return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), n)
	}
	words := make([]T, n)
	copy(Bytes(words), b)
	return words
}

// encodeDirectory writes the checksums of an array's values.
func encodeDirectory(sums []uint32) []byte {
	b := make([]byte, 0, 4*len(sums))
	for _, s := range sums {
		b = binary.LittleEndian.AppendUint32(b, s)
	}
	return b
}

// finite reports whether all values are numbers.
func finite(values []float32) bool {
	for _, v := range values {
		if math.Float32bits(v)&0x7F800000 == 0x7F800000 {
			return false
		}
	}
	return true
}
