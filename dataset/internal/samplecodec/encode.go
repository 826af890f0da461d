package samplecodec

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// Part is a named run of records, RecordBytes each.
type Part struct {
	Name    string
	Records []byte
}

const (
	magic      = "imgsmpl1" // the last digit is the version; 1: the only one so far
	maxParts   = 8
	maxRecords = 20_000 // in all parts
	streams    = 1 + 3*contexts
)

// Encode packs the parts.
func Encode(parts []Part) ([]byte, error) {
	out := append([]byte(magic), byte(len(parts)))
	if len(parts) > maxParts {
		return nil, fmt.Errorf("%d parts: at most %d can be packed", len(parts), maxParts)
	}
	sum, total := sha256.New(), 0
	var raw [streams][]byte
	var m model
	for _, part := range parts {
		n := len(part.Records) / RecordBytes
		total += n
		if n*RecordBytes != len(part.Records) || total > maxRecords || len(part.Name) > 255 {
			return nil, fmt.Errorf("part %q: %d bytes are not whole records, at most %d in all", part.Name, len(part.Records), maxRecords)
		}
		out = append(append(out, byte(len(part.Name))), part.Name...)
		out = binary.LittleEndian.AppendUint32(out, uint32(n))
		sum.Write(part.Records)
		for r := range n {
			record := part.Records[r*RecordBytes : (r+1)*RecordBytes]
			raw[0] = append(raw[0], record[0])
			m.split(record[1:])
			for p := range 3 {
				for at := range plane {
					x, y := at%side, at/side
					expected, context := m.predict(p, x, y)
					residual := wrap(m.values[p][at] - expected)
					m.set(p, x, y, m.values[p][at], residual)
					stream := 1 + p*contexts + context
					raw[stream] = append(raw[stream], byte(residual))
				}
			}
		}
	}
	out = sum.Sum(out)
	for i, data := range raw {
		level := flate.HuffmanOnly
		if i == 0 {
			level = flate.BestCompression
		}
		packed, err := deflate(data, level)
		if err != nil {
			return nil, err
		}
		out = append(binary.LittleEndian.AppendUint32(out, uint32(len(packed))), packed...)
	}
	return out, nil
}

func deflate(data []byte, level int) ([]byte, error) {
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, level)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
