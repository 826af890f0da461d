package store

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// kind says what a value holds. The numbers are part of the format.
type kind uint8

const (
	kindHeader kind = 1 + iota
	kindDirectory
	kindEncoder
	kindLive
	kindRecords
	kindVectors
	kindThumbnails
	kindGraph
	kindMap
)

// Every value is a frame: 16 bytes, then the payload, then zeros up to a multiple of 8.
//
//	0  "IS"
//	2  kind
//	3  version of the kind's payload
//	4  number of the value in its array, uint32
//	8  length of the payload, uint32
//	12 CRC-32C of all other bytes of the frame
//
// With keys of 8 bytes, payloads so lie at multiples of 8 in a page, and arrays of float32 and uint32 are read in place.
const (
	frameSize    = 16
	frameVersion = 1
	maxPayload   = 1<<31 - 64 // what bbolt takes
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// frameHead returns the first 12 bytes of a frame.
func frameHead(k kind, number uint32, length int) []byte {
	head := []byte{'I', 'S', byte(k), frameVersion}
	head = binary.LittleEndian.AppendUint32(head, number)
	return binary.LittleEndian.AppendUint32(head, uint32(length))
}

// payloadSum returns the checksum of the frame that a payload makes.
func payloadSum(k kind, number uint32, payload []byte) uint32 {
	sum := crc32.Checksum(frameHead(k, number, len(payload)), castagnoli)
	sum = crc32.Update(sum, castagnoli, payload)
	var zeros [8]byte
	return crc32.Update(sum, castagnoli, zeros[:-len(payload)&7])
}

// encodeFrame returns the value for a payload whose checksum payloadSum gave.
func encodeFrame(k kind, number uint32, payload []byte, sum uint32) []byte {
	value := make([]byte, (frameSize+len(payload)+7)&^7)
	copy(value, frameHead(k, number, len(payload)))
	binary.LittleEndian.PutUint32(value[12:], sum)
	copy(value[frameSize:], payload)
	return value
}

// decodeFrame checks a value and returns its payload, which lies within value, and its checksum. The errors do not say
// which value it is: the caller knows.
func decodeFrame(value []byte, k kind, number uint32) (payload []byte, sum uint32, err error) {
	if len(value) < frameSize || value[0] != 'I' || value[1] != 'S' {
		return nil, 0, fmt.Errorf("%w: is no value of a collection", ErrCorrupt)
	}
	sum = binary.LittleEndian.Uint32(value[12:])
	if got := crc32.Update(crc32.Checksum(value[:12], castagnoli), castagnoli, value[frameSize:]); got != sum {
		return nil, 0, fmt.Errorf("%w: has checksum %08x and should have %08x", ErrCorrupt, got, sum)
	}
	if value[3] != frameVersion {
		return nil, 0, fmt.Errorf("%w: value of version %d, not %d", ErrVersion, value[3], frameVersion)
	}
	length := binary.LittleEndian.Uint32(value[8:])
	if length > maxPayload || (frameSize+int(length)+7)&^7 != len(value) {
		return nil, 0, fmt.Errorf("%w: has length %d in %d bytes", ErrCorrupt, length, len(value))
	}
	if kind(value[2]) != k || binary.LittleEndian.Uint32(value[4:]) != number {
		return nil, 0, fmt.Errorf("%w: is value %d of kind %d in the place of value %d of kind %d", ErrCorrupt,
			binary.LittleEndian.Uint32(value[4:]), value[2], number, k)
	}
	end := frameSize + int(length)
	return value[frameSize:end:end], sum, nil
}
