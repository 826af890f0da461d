package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"imgsearch/dataset"
)

func FuzzFrame(f *testing.F) {
	f.Add(framed(kindRecords, 7, []byte("payload")), uint32(7))
	f.Add([]byte("IS"), uint32(0))
	f.Fuzz(func(t *testing.T, b []byte, n uint32) {
		payload, sum, err := decodeFrame(b, kindRecords, n)
		if err != nil {
			if !isDamage(err) {
				t.Errorf("unexpected error %v", err)
			}
			return
		}
		if again := encodeFrame(kindRecords, n, payload, sum); !bytes.Equal(again[:frameSize+len(payload)], b[:frameSize+len(payload)]) {
			t.Errorf("%x was read from %x", again, b)
		}
	})
}

func FuzzHeader(f *testing.F) {
	h := header{Header: Header{Created: time.Unix(1, 0), Fingerprint: "f", Dim: 3, Metric: "l2", NextID: 1, Count: 1, Generation: 2},
		arrays: map[string]array{"encoder": {1, 24, 5}, "live": {1, 24, 1}, "records": {1, 99, 2}, "vectors": {1, 28, 3},
			"thumbnails": {1, 40, 4}, "graph/x": {3, 100, 9}}}
	b, err := h.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"format":2}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := decodeHeader(b)
		if err != nil {
			if !isDamage(err) {
				t.Errorf("unexpected error %v", err)
			}
			return
		}
		again, err := h.encode()
		if err != nil {
			return // a year that JSON does not know
		}
		if _, err := decodeHeader(again); err != nil {
			t.Errorf("%s does not come back: %v", again, err)
		}
	})
}

func FuzzRecord(f *testing.F) {
	f.Add(encodeRecord(Record{Source: "a/b.png", Label: "cat", Split: "test", Size: 77, ModTime: time.Unix(5, 6)}))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeRecord(5, b, &Record{Label: "cat"})
		if err != nil {
			return
		}
		again, err := decodeRecord(5, encodeRecord(r), &Record{Split: "test"})
		if err != nil || again.Source != r.Source || again.Label != r.Label || again.Split != r.Split ||
			again.Hash != r.Hash || again.Size != r.Size || !again.ModTime.Equal(r.ModTime) {
			t.Errorf("%+v came back as %+v, %v", r, again, err)
		}
	})
}

func FuzzPack(f *testing.F) {
	f.Add(encodePack([][]byte{[]byte("one"), nil, []byte("three")}), 3)
	f.Fuzz(func(t *testing.T, b []byte, count int) {
		count &= 1<<12 - 1
		p, err := decodePack(b, count)
		if err != nil {
			return
		}
		slots, err := p.slots()
		if err != nil {
			return
		}
		if again := encodePack(slots); !bytes.Equal(again, b) {
			t.Errorf("%x came back as %x", b, again)
		}
	})
}

// FuzzFile takes bytes for a whole file, with the checksums of the meta pages made right, and reads all there is.
func FuzzFile(f *testing.F) {
	file, _ := realFile(f)
	end := len(bytes.TrimRight(file, "\x00"))
	f.Add(file[:(end+pageSize-1)/pageSize*pageSize], uint16(0), uint64(0))
	f.Add(file[:5*pageSize], uint16(2*pageSize), uint64(1<<63))
	f.Fuzz(func(t *testing.T, b []byte, at uint16, word uint64) {
		b = bytes.Clone(b)
		if int(at)+8 <= len(b) {
			binary.LittleEndian.PutUint64(b[at:], word)
		}
		fixMeta(b)
		meta, err := findMeta(b, int64(len(b)))
		if err != nil {
			if !isDamage(err) {
				t.Errorf("unexpected error %v", err)
			}
			return
		}
		p := &pages{data: b, meta: meta}
		p.walk(func(err error) {
			if !isDamage(err) {
				t.Errorf("unexpected error %v", err)
			}
		})
		st, err := loadState(p)
		if err != nil {
			if !isDamage(err) {
				t.Errorf("unexpected error %v", err)
			}
			return
		}
		v := &View{st}
		errs := []error{v.Check(context.Background(), func(error) {})}
		_, err = v.Encoder()
		errs = append(errs, err)
		_, err = v.IDs()
		errs = append(errs, err)
		_, err = v.Embeddings()
		errs = append(errs, err)
		for _, part := range v.GraphParts() {
			_, err = v.GraphPart(part)
			errs = append(errs, err)
		}
		for range 3 {
			id := dataset.ID(rand.Uint64N(uint64(v.Header().NextID) + 1))
			_, err = v.Record(id)
			errs = append(errs, err)
			_, err = v.Thumbnail(id)
			errs = append(errs, err)
			_, err = v.Embedding(id)
			errs = append(errs, err)
		}
		for _, err := range errs {
			if err != nil && !isDamage(err) && !errors.Is(err, ErrNotFound) {
				t.Errorf("unexpected error %v", err)
			}
		}
	})
}
