package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"imgsearch/dataset"
)

// Record is what a collection knows of an image.
type Record struct {
	ID dataset.ID
	// Source says where the image is; two records never share one.
	Source string
	Label  dataset.Label
	// Split is "train", "test" or "".
	Split string
	Hash  dataset.Hash
	// Size and ModTime are those of the file; 0 and the zero time where the image is no file of its own. The time is
	// given back in UTC.
	Size    int64
	ModTime time.Time
}

// A record is written as the hash; the size; the time's nanoseconds plus one and its seconds since 1970, or only 0 where
// there is none; then source, label and split, each as a length and bytes. Numbers are varints, the seconds signed. The
// id is not written: it is the position.

func encodeRecord(r Record) []byte {
	b := make([]byte, 0, len(r.Hash)+6*binary.MaxVarintLen64+len(r.Source)+len(r.Label)+len(r.Split))
	b = append(b, r.Hash[:]...)
	b = binary.AppendUvarint(b, uint64(r.Size))
	if r.ModTime.IsZero() {
		b = append(b, 0)
	} else {
		b = binary.AppendUvarint(b, uint64(r.ModTime.Nanosecond())+1)
		b = binary.AppendVarint(b, r.ModTime.Unix())
	}
	for _, s := range []string{r.Source, string(r.Label), r.Split} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return b
}

// decodeRecord reads a record; an error does not wrap a sentinel. Where label and split are those of like, a record read
// before, their memory is shared.
func decodeRecord(id dataset.ID, b []byte, like *Record) (Record, error) {
	r := Record{ID: id}
	if len(b) < len(r.Hash) {
		return r, errors.New("is cut off in the hash")
	}
	b = b[copy(r.Hash[:], b):]
	size, n := binary.Uvarint(b)
	if n <= 0 || size > math.MaxInt64 {
		return r, errors.New("has no size")
	}
	b = b[n:]
	r.Size = int64(size)
	nanos, n := binary.Uvarint(b)
	if n <= 0 || nanos > 1e9 {
		return r, errors.New("has no time")
	}
	b = b[n:]
	if nanos > 0 {
		seconds, n := binary.Varint(b)
		if n <= 0 {
			return r, errors.New("has no time")
		}
		b = b[n:]
		r.ModTime = time.Unix(seconds, int64(nanos)-1).UTC()
	}
	var label string
	for _, f := range [...]struct {
		name string
		to   *string
		like string
		max  uint64
	}{{"source", &r.Source, "", MaxSource}, {"label", &label, string(like.Label), MaxLabel}, {"split", &r.Split, like.Split, MaxLabel}} {
		length, n := binary.Uvarint(b)
		if n <= 0 || length > f.max || length > uint64(len(b)-n) {
			return r, fmt.Errorf("is cut off in the %s", f.name)
		}
		text := b[n : n+int(length)]
		if *f.to = f.like; string(text) != f.like {
			*f.to = string(text)
		}
		b = b[n+int(length):]
	}
	r.Label = dataset.Label(label)
	if r.Source == "" {
		return r, errors.New("has no source")
	}
	if len(b) > 0 {
		return r, fmt.Errorf("has %d bytes too many", len(b))
	}
	return r, nil
}

// checkRecord checks what a caller gives.
func checkRecord(r Record) error {
	switch {
	case r.Source == "" || len(r.Source) > MaxSource:
		return fmt.Errorf("%w: source %.100q of %d bytes: must have 1 to %d", ErrInvalid, r.Source, len(r.Source), MaxSource)
	case len(r.Label) > MaxLabel:
		return fmt.Errorf("%w: label of %d bytes: must have at most %d", ErrInvalid, len(r.Label), MaxLabel)
	case len(r.Split) > MaxLabel:
		return fmt.Errorf("%w: split of %d bytes: must have at most %d", ErrInvalid, len(r.Split), MaxLabel)
	case r.Size < 0:
		return fmt.Errorf("%w: size %d: must not be negative", ErrInvalid, r.Size)
	}
	return nil
}
