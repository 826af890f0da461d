package store

import (
	"encoding/binary"
	"fmt"
)

// A pack holds several byte strings in one value: their number, uint32; the offsets of all and of the end, uint32,
// counted from the end of the offsets; the bytes. An empty string is an empty slot.

func encodePack(slots [][]byte) []byte {
	total := 4 + 4*(len(slots)+1)
	for _, s := range slots {
		total += len(s)
	}
	b := make([]byte, 0, total)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(slots)))
	at := uint32(0)
	for _, s := range slots {
		b = binary.LittleEndian.AppendUint32(b, at)
		at += uint32(len(s))
	}
	b = binary.LittleEndian.AppendUint32(b, at)
	for _, s := range slots {
		b = append(b, s...)
	}
	return b
}

// pack reads single slots of an encoded pack.
type pack struct {
	count   int
	offsets []byte
	data    []byte
}

// decodePack checks the head of a pack of count slots.
func decodePack(b []byte, count int) (pack, error) {
	if len(b) < 4 || int64(binary.LittleEndian.Uint32(b)) != int64(count) {
		return pack{}, fmt.Errorf("%w: does not have %d slots", ErrCorrupt, count)
	}
	b = b[4:]
	if len(b)/4 < count+1 {
		return pack{}, fmt.Errorf("%w: has no room for %d slots", ErrCorrupt, count)
	}
	p := pack{count: count, offsets: b[:4*(count+1)], data: b[4*(count+1):]}
	if binary.LittleEndian.Uint32(p.offsets) != 0 || uint64(p.offset(count)) != uint64(len(p.data)) {
		return pack{}, fmt.Errorf("%w: its slots do not fill it", ErrCorrupt)
	}
	return p, nil
}

func (p pack) offset(i int) uint32 { return binary.LittleEndian.Uint32(p.offsets[4*i:]) }

// slot returns slot i, which lies within the pack's bytes.
func (p pack) slot(i int) ([]byte, error) {
	from, to := p.offset(i), p.offset(i+1)
	if from > to || uint64(to) > uint64(len(p.data)) {
		return nil, fmt.Errorf("%w: slot %d lies outside", ErrCorrupt, i)
	}
	return p.data[from:to:to], nil
}

// slots returns all slots.
func (p pack) slots() ([][]byte, error) {
	all := make([][]byte, p.count)
	for i := range all {
		var err error
		if all[i], err = p.slot(i); err != nil {
			return nil, err
		}
	}
	return all, nil
}
