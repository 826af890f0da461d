// Package dataset reads images: CIFAR-10, IDX files (MNIST, Fashion-MNIST), folders of pictures, single files, and a sample
// that is built in.
//
// [Open] takes a name, as users write it on the command line, and returns a [Dataset]: an ordered list of images. Of
// each it tells an [Entry] (source, label, part) without decoding it, and reads a [Sample] (an [Image] in RGB, and the
// [Hash] of its content) on demand. [OpenAll] joins several, [Subset] takes some. [Each] and [Load] decode a whole data
// set on several goroutines, in order. [Get] fetches CIFAR-10.
//
// What it guarantees:
//
//   - The images of a data set have the same order each time: CIFAR-10's own, and of folders that of the sorted paths.
//     [Fingerprint] tells whether two data sets are the same.
//   - CIFAR-10 is used only if its batches have the published size and SHA-256.
//   - A damaged, oversized or unreadable image is an error that names it, at the time of its Read, and leaves the others
//     readable. What a folder's listing could not take in is kept as a [Problem].
//   - The size in a picture's header is checked before anything is allocated, and what all pictures being decoded in the
//     process take together is bounded by about 768 MiB. Images come reduced to a shorter side of 256 pixels.
//   - A data set may be read from several goroutines at once.
//
// What it does not: files that change while a data set is open are read as they are then; there is no lock against that.
// Of animations only the first frame is read, colour profiles are not applied, and of metadata only the orientation
// counts.
//
// The record of CIFAR-10, and of the sample made from it, is a byte of label and 32x32 pixels in three planes; see
// https://www.cs.toronto.edu/~kriz/cifar.html (A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images,
// 2009).
package dataset
