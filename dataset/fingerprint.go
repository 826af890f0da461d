package dataset

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// A hashed data set knows the content hash of its images without reading files.
type hashed interface{ contentHash(i int) Hash }

// Fingerprint returns a SHA-256, in hex, that changes when a data set does. It covers the number, the order, the
// sources, labels and parts of the images; of files also length and modification time, of CIFAR-10, IDX files
// and the sample the pixels. It does not read image files: a file changed without touching its length and time goes unseen, and the same
// folder under another name has another fingerprint.
func Fingerprint(ctx context.Context, ds Dataset) (string, error) {
	sum := sha256.New()
	var buf []byte
	text := func(s string) {
		buf = binary.AppendUvarint(buf, uint64(len(s)))
		buf = append(buf, s...)
	}
	for i := range ds.Len() {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		e := ds.Entry(i)
		buf = buf[:0]
		text(e.Source)
		text(string(e.Label))
		text(e.Split)
		buf = binary.AppendVarint(buf, e.Size)
		if e.ModTime.IsZero() {
			buf = append(buf, 0)
		} else {
			buf = binary.AppendVarint(append(buf, 1), e.ModTime.UnixNano())
		}
		if hash, ok := contentHash(ds, i); ok {
			buf = append(buf, hash[:]...)
		}
		sum.Write(buf)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// contentHash looks through subsets and joins for a data set that knows the hash.
func contentHash(ds Dataset, i int) (Hash, bool) {
	switch ds := ds.(type) {
	case hashed:
		return ds.contentHash(i), true
	case *subset:
		return contentHash(ds.of, ds.indices[i])
	case *joined:
		return contentHash(ds.parts[ds.at[i].part], ds.at[i].i)
	}
	return Hash{}, false
}
