package dataset

import "errors"

// Errors that a caller can test for with [errors.Is]. The errors returned wrap them and name the file.
var (
	// ErrNotFound says that a name is neither a data set, a folder nor a file.
	ErrNotFound = errors.New("no such data set")
	// ErrNotDownloaded says that cifar10 was named, but is not in its place yet.
	ErrNotDownloaded = errors.New("CIFAR-10 is not on this machine yet")
	// ErrNoPart says that a part was asked of something that has none, or a position outside a part.
	ErrNoPart = errors.New("no such part")
	// ErrNoImages says that a folder holds no image.
	ErrNoImages = errors.New("no images")
	// ErrArchive says that a .tar.gz archive is damaged, cut short or not CIFAR-10.
	ErrArchive = errors.New("not a readable CIFAR-10 archive")
	// ErrBatchMissing says that one of the six CIFAR-10 batches is not where it should be.
	ErrBatchMissing = errors.New("CIFAR-10 batch is missing")
	// ErrBatchSize says that a CIFAR-10 batch has not the published length.
	ErrBatchSize = errors.New("CIFAR-10 batch has the wrong size")
	// ErrBatchChecksum says that a CIFAR-10 batch has not the published SHA-256.
	ErrBatchChecksum = errors.New("CIFAR-10 batch has the wrong checksum")
	// ErrIDX says that an IDX file is damaged or cut short, or that the files of a folder do not fit together.
	ErrIDX = errors.New("not readable as IDX files")
	// ErrFormat says that a file is no image of a kind that is read.
	ErrFormat = errors.New("not an image")
	// ErrDamaged says that an image file is cut short or otherwise broken.
	ErrDamaged = errors.New("image is damaged")
	// ErrTooLarge says that a picture has more pixels, or a file more bytes, than [Options] allow.
	ErrTooLarge = errors.New("image is too large")
	// ErrDownload says that a download did not come to its end; what came is kept and the next [Get] goes on from there.
	ErrDownload = errors.New("download failed")
	// ErrSample says that the embedded sample is damaged.
	ErrSample = errors.New("embedded sample is damaged")
)
