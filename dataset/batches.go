package dataset

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// Names and sizes of the binary version of CIFAR-10 as published.
const (
	cifarFolder      = "cifar-10-batches-bin"
	cifarArchive     = "cifar-10-binary.tar.gz"
	cifarBatchLength = 10_000 * recordBytes
)

// batch is one published file of records.
type batch struct {
	file   string
	split  string
	length int
	sha256 string
}

// cifarBatches are the six batches of CIFAR-10 in the order of the data set.
var cifarBatches = []batch{
	{"data_batch_1.bin", "train", cifarBatchLength, "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5"},
	{"data_batch_2.bin", "train", cifarBatchLength, "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed"},
	{"data_batch_3.bin", "train", cifarBatchLength, "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67"},
	{"data_batch_4.bin", "train", cifarBatchLength, "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48"},
	{"data_batch_5.bin", "train", cifarBatchLength, "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add"},
	{"test_batch.bin", "test", cifarBatchLength, "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b"},
}

// batchesOf returns the batches of one part; the empty part is everything.
func batchesOf(batches []batch, split string) []batch {
	var out []batch
	for _, b := range batches {
		if split == "" || b.split == split {
			out = append(out, b)
		}
	}
	return out
}

// check compares the content of a batch, read from the file at path, with what was published.
func (b batch) check(path string, data []byte) error {
	if err := b.checkSize(path, int64(len(data))); err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	if got := hex.EncodeToString(sum[:]); got != b.sha256 {
		return fmt.Errorf("%s: %w: SHA-256 %s, published is %s; get the archive again", path, ErrBatchChecksum, got, b.sha256)
	}
	return nil
}

func (b batch) checkSize(path string, length int64) error {
	if length != int64(b.length) {
		return fmt.Errorf("%s: %w: %d bytes, published are %d; get the archive again", path, ErrBatchSize, length, b.length)
	}
	return nil
}
