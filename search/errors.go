package search

import (
	"errors"

	"imgsearch/index"
	"imgsearch/store"
)

// What can be tested for with errors.Is. The texts say the way out; what wraps them names the file.
var (
	// ErrNotExist is returned by Open where there is no file.
	ErrNotExist = store.ErrNotExist
	// ErrExists is returned by Create where there is a file already.
	ErrExists = store.ErrExists
	// ErrNotCollection is returned by Open for a file that is no collection.
	ErrNotCollection = store.ErrNotCollection
	// ErrVersion is returned by Open for a collection of another format version.
	ErrVersion = store.ErrVersion
	// ErrCorrupt is returned by every method where the file is not what was written.
	ErrCorrupt = store.ErrCorrupt
	// ErrLocked is returned by Create, Open and the methods that write where another process writes the collection, and
	// by the others where another process's commit takes too long.
	ErrLocked = store.ErrLocked
	// ErrReadOnly is returned by the methods that write for a collection opened with ReadOnly, and by Open and Create
	// where the file or its folder may not be written.
	ErrReadOnly = store.ErrReadOnly
	// ErrNoSpace is returned by the methods that write when the disk is full.
	ErrNoSpace = store.ErrNoSpace
	// ErrNotFound is returned for an id, or a source, that the collection does not hold.
	ErrNotFound = store.ErrNotFound
	// ErrClosed is returned by the methods of a closed Collection.
	ErrClosed = store.ErrClosed
	// ErrK is returned by queries for a k below 1.
	ErrK = index.ErrK
	// ErrEmbedding is returned by queries for an embedding of the wrong length, with values that are not finite, or of
	// length zero where the distance is the cosine.
	ErrEmbedding = index.ErrVector
	// ErrExamples is returned by QueryExamples for pictures that make no question.
	ErrExamples = errors.New("unusable examples")
	// ErrOptions is returned for options out of range; the message names the field, the value and the range.
	ErrOptions = errors.New("unusable option")
	// ErrEncoder is returned by RequireEncoder for an encoder that did not make the collection.
	ErrEncoder = errors.New("the collection was made with another encoder (leave the encoder out: the collection holds its own; or index the images into a new file)")
	// ErrEmpty is returned by Map for a collection without images.
	ErrEmpty = errors.New("the collection holds no images (put some in: imgsearch index)")
	// ErrNoThumbnail is returned by Thumbnail for an image of a collection without thumbnails.
	ErrNoThumbnail = errors.New("no thumbnail is stored (read the image from its source)")
	// ErrNoLabels is returned by Outliers where fewer than two labels occur.
	ErrNoLabels = errors.New("there are no labels to compare")
	// ErrRepeated is the reason of a [dataset.Problem] for an image whose source came before in the same data set.
	ErrRepeated = errors.New("this source came before in the data set")
)
