package samplecodec

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ErrFormat says that the data is not a packed sample, is damaged, or is of another version.
var ErrFormat = errors.New("not a packed sample")

// Decode unpacks what Encode packed. It never allocates more than the records that the data really holds, and checks
// them against the checksum in the file.
func Decode(data []byte) ([]Part, error) {
	f := &file{rest: data}
	if string(f.take(len(magic))) != magic {
		return nil, fmt.Errorf("%w of version %s", ErrFormat, magic[len(magic)-1:])
	}
	parts := make([]Part, 0, maxParts)
	counts, total := make([]int, 0, maxParts), 0
	n := f.byte()
	if n > maxParts {
		return nil, fmt.Errorf("%w: %d parts", ErrFormat, n)
	}
	for range n {
		parts = append(parts, Part{Name: string(f.take(f.byte()))})
		count := f.uint32()
		if count > maxRecords || total+count > maxRecords {
			return nil, fmt.Errorf("%w: more than %d records", ErrFormat, maxRecords)
		}
		counts = append(counts, count)
		total += count
	}
	sum := f.take(sha256.Size)
	var raw [streams][]byte
	length := 0
	for i := range raw {
		limit := total
		if i > 0 {
			limit = total*3*plane - length
		}
		raw[i] = f.inflate(f.take(f.uint32()), limit)
		if i > 0 {
			length += len(raw[i])
		}
	}
	if f.err == nil && (len(f.rest) > 0 || len(raw[0]) != total || length != total*3*plane) {
		f.err = errors.New("the streams do not fit the number of records")
	}
	if f.err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, f.err)
	}
	records := make([]byte, total*RecordBytes)
	if err := decodeRecords(records, &raw); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if got := sha256.Sum256(records); !bytes.Equal(got[:], sum) {
		return nil, fmt.Errorf("%w: wrong checksum", ErrFormat)
	}
	for i, count := range counts {
		parts[i].Records, records = records[:count*RecordBytes:count*RecordBytes], records[count*RecordBytes:]
	}
	return parts, nil
}

// decodeRecords fills the records from the streams.
func decodeRecords(records []byte, raw *[streams][]byte) error {
	var m model
	for r := 0; r*RecordBytes < len(records); r++ {
		record := records[r*RecordBytes : (r+1)*RecordBytes]
		record[0] = raw[0][r]
		for p := range 3 {
			for y := range side {
				for x := range side {
					expected, context := m.predict(p, x, y)
					stream := &raw[1+p*contexts+context]
					if len(*stream) == 0 {
						return errors.New("a stream ends early")
					}
					residual := int(int8((*stream)[0]))
					*stream = (*stream)[1:]
					value := expected + residual
					if p == 0 {
						value &= 0xff
					} else {
						value = wrap(value)
					}
					m.set(p, x, y, value, residual)
				}
			}
		}
		m.join(record[1:])
	}
	return nil
}

// file reads the fields of a packed sample; after the first error it gives zeros.
type file struct {
	rest []byte
	err  error
}

func (f *file) take(n int) []byte {
	if f.err == nil && n > len(f.rest) {
		f.err = io.ErrUnexpectedEOF
	}
	if f.err != nil {
		return nil
	}
	out := f.rest[:n]
	f.rest = f.rest[n:]
	return out
}

func (f *file) byte() int {
	if b := f.take(1); b != nil {
		return int(b[0])
	}
	return 0
}

func (f *file) uint32() int {
	if b := f.take(4); b != nil {
		return int(binary.LittleEndian.Uint32(b))
	}
	return 0
}

// inflate unpacks one stream; more than limit bytes are an error.
func (f *file) inflate(packed []byte, limit int) []byte {
	if f.err != nil {
		return nil
	}
	out, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(packed)), int64(limit)+1))
	if err == nil && len(out) > limit {
		err = errors.New("a stream is too long")
	}
	if err != nil {
		f.err = err
		return nil
	}
	return out
}
