// Package store keeps a collection in one bbolt file: the encoder, the records, the thumbnails, the embeddings, the
// parts of the neighbour graph and the positions on the map, all under one generation number.
//
// [Create] and [Open] give a [Store]. [Store.View] shows the last committed state as a [View]; [Store.Apply],
// [Store.PutGraph] and [Store.PutMap] each commit one change as a whole. The store knows nothing of encoders, distances or graphs: the
// encoder is bytes with a fingerprint, the metric a word, the options and the graph's parts are bytes.
//
// # The file
//
// Everything lies in arrays of values, one bucket an array, keyed by the value's number (8 bytes, big-endian):
//
//	imgsearch    "header": the header, JSON; says what the other buckets hold
//	directory    an array's name -> the checksums of all its values
//	encoder      the encoder file, whole, in one value
//	live         65,536 ids a value: one bit an id, set while the image is in the collection
//	records      64 records a value, behind a table of offsets
//	vectors      1,024 embeddings a value, [1024, dim] float32, zeros at the end, read in place from the mapping
//	thumbnails   16 thumbnails a value, behind a table of offsets
//	map          1,024 positions on the map a value, [1024, 2] float32, NaN where an image has none; may be missing
//	graph/NAME   the parts of the neighbour graph, as the index cuts them
//
// An id is a position in records, vectors and thumbnails, so nothing is searched for: what is not where it must be is
// damage. Every value starts with 16 bytes: the letters IS, its kind, its version, its number, the length of what
// follows, and a CRC-32C. The directory repeats the checksums of all values, the header those of the directories. A
// reader therefore gets what the last commit wrote, or an error.
//
// # Guarantees
//
// A commit is all or nothing: after a crash at any moment the file holds the last committed state. [Create] writes under
// a temporary name, so a partial file never gets the real one. Damage gives an error that wraps [ErrCorrupt]; bbolt itself
// trusts its pages (a damaged one can make it panic, read elsewhere or recurse without end), so views read the pages with
// this package's own bounded reader, and a file is walked through before bbolt writes to it. A mapping that is cut off
// under a reader gives ErrCorrupt too.
//
// One process writes at a time. It holds a lock file beside the collection, named like it with ".lock" added, while the
// Store is open; a second writer gets [ErrLocked] at once, with the holder named. Readers lock out no one but commits,
// and only during a View; during a commit they wait a moment.
//
// # What it does not do
//
// Slices that a View hands out point into the mapped file and are valid until the View's function returns. Removed
// images leave their embedding in place until the file is made anew; ids are never given twice. Files are little-endian.
package store
