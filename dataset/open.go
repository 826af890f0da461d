package dataset

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// accepted ends the errors about a name that means nothing.
const accepted = "a data set is a folder of images, an image file, a folder of IDX files, a CIFAR-10 folder or " +
	"cifar-10-binary.tar.gz, cifar10 or sample; the last five take :train or :test behind the name"

// Open opens a data set by its name:
//
//   - "sample", the images inside the program;
//   - "cifar10", all of CIFAR-10 at its place on this machine (see [Get] and [Place]);
//   - a folder with the CIFAR-10 batches, or cifar-10-binary.tar.gz, anywhere;
//   - a folder with IDX files as MNIST and Fashion-MNIST have them: train-images-idx3-ubyte and train-labels-idx1-ubyte,
//     the same with t10k or test, each packed by gzip (.gz) or not. Labels are numbers, or the lines of a labels.txt that
//     lies beside the files; without a file of labels there are none;
//   - a folder of images, taken with all its sub-folders; the name of the first sub-folder on an image's path is its
//     label, and where all images lie in sub-folders named train and test, these are parts and the next one the label;
//   - an image file.
//
// Behind ":train" or ":test" only that part is taken, and of the first four behind ":test/17" only one image, counted
// from 0, as [Entry.Source] has it. The names sample and cifar10 win over files in the working directory: write
// "./sample" for a folder of that name.
//
// A folder's images are found by the endings of their names, in any case, and sorted by their paths. Hidden files and
// folders, whose names begin with a dot, are passed over (see [Ignored]). Links are followed, each folder is listed once.
// What cannot be listed is kept as a [Problem] (see [Problems]).
//
// CIFAR-10 is checked against the published sizes and SHA-256 sums of its batches and then held in memory, and so are
// IDX files, a byte a pixel, once their sizes fit. A folder is listed, not decoded. Close the data set after use.
//
// Errors: [ErrNotFound], [ErrNotDownloaded], [ErrNoPart], [ErrNoImages], [ErrArchive], [ErrBatchMissing],
// [ErrBatchSize], [ErrBatchChecksum], [ErrIDX], those of [DecodeFile] for an image file, and those of the file system.
func Open(ctx context.Context, name string, opts Options) (Dataset, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	if name == "" {
		return nil, fmt.Errorf("the empty name: %w; %s", ErrNotFound, accepted)
	}
	// A file that really has this name is meant, even when the name looks like one with a part behind it.
	if _, err := os.Lstat(name); err == nil && !isBuiltIn(name) {
		return openPath(ctx, name, reference{base: name, position: -1}, opts)
	}
	ref := parseName(name)
	switch ref.base {
	case "sample":
		return openSample(name, ref)
	case "cifar10":
		return openPlaced(ctx, name, ref)
	}
	return openPath(ctx, name, ref, opts)
}

func isBuiltIn(name string) bool {
	base := parseName(name).base
	return base == "sample" || base == "cifar10"
}

// openPath opens the file or folder that ref.base names.
func openPath(ctx context.Context, name string, ref reference, opts Options) (Dataset, error) {
	info, err := os.Stat(ref.base)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: %w: no such file or folder; %s", name, ErrNotFound, accepted)
	case err != nil:
		return nil, err
	case info.IsDir():
		if dir, ok := cifarFolderAt(ref.base, cifarBatches); ok {
			return ref.of(openCIFARFolder(ctx, name, dir, ref.split, cifarBatches))
		}
		pairs, err := idxPairsIn(ref.base)
		if err != nil {
			return nil, err
		}
		if len(pairs) > 0 {
			set, err := openIDX(ctx, name, ref.base, ref.split, pairs)
			if err != nil {
				return nil, err
			}
			return set.only(ref)
		}
		if ref.position >= 0 {
			return nil, fmt.Errorf("%s: %w: an image of a folder is named by its path", name, ErrNoPart)
		}
		return openFolder(ctx, osFileSystem, name, ref.base, ref.split, opts)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s: %w: neither a file nor a folder", ref.base, ErrNotFound)
	case isArchive(ref.base):
		return ref.of(openCIFARArchive(ctx, name, ref.base, ref.split, cifarBatches))
	}
	if ref.split != "" {
		return nil, fmt.Errorf("%s: %w: %s is a single file", name, ErrNoPart, ref.base)
	}
	return openFile(name, ref.base, info, opts)
}

// of narrows a record set to the one image that the reference names, if it names one.
func (ref reference) of(set *recordSet, err error) (Dataset, error) {
	if err != nil {
		return nil, err
	}
	if ref.position < 0 {
		return set, nil
	}
	if ref.position >= set.Len() {
		return nil, fmt.Errorf("%s: %w: the images of %s count from 0 to %d", set.Name(), ErrNoPart, ref.split, set.Len()-1)
	}
	return set.only(ref.position), nil
}

// isArchive tells whether a file is a gzip archive, by its name or its first bytes.
func isArchive(path string) bool {
	lower := strings.ToLower(path)
	if strings.HasSuffix(lower, ".tar.gz") || strings.HasSuffix(lower, ".tgz") {
		return true
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	var magic [2]byte
	_, err = io.ReadFull(f, magic[:])
	return err == nil && magic == [2]byte{0x1f, 0x8b}
}
