package dataset

import (
	_ "embed"
	"fmt"
	"sync"

	"imgsearch/dataset/internal/samplecodec"
)

//go:generate go run ./internal/samplegen -archive $IMGSEARCH_CIFAR10 -out sample.bin

// packedSample holds real images of CIFAR-10 with their labels: of each class 400 for training and 100 for tests.
//
//go:embed sample.bin
var packedSample []byte

// unpackSample unpacks the sample once a process, when it is first asked for.
var unpackSample = sync.OnceValues(func() ([]recordRun, error) {
	parts, err := samplecodec.Decode(packedSample)
	if err != nil {
		return nil, fmt.Errorf("%w: %w; build imgsearch again from a fresh copy of its source", ErrSample, err)
	}
	var runs []recordRun
	for _, part := range parts {
		runs = append(runs, recordRun{split: part.Name, data: part.Records})
	}
	return runs, nil
})

// openSample opens the embedded sample.
func openSample(name string, ref reference) (Dataset, error) {
	runs, err := unpackSample()
	if err != nil {
		return nil, err
	}
	set, err := newRecordSet(name, "sample", append([]recordRun(nil), runs...))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSample, err)
	}
	return ref.of(set.part(ref.split), nil)
}
