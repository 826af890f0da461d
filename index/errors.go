package index

import "errors"

var (
	// ErrExists is returned by Add for an id that the index holds already or that is given twice.
	ErrExists = errors.New("id is in the index already")
	// ErrNotFound is returned for an id that the index does not hold.
	ErrNotFound = errors.New("id is not in the index")
	// ErrVector is returned for an embedding or query of the wrong length, with a value that is not finite, so long that
	// its squared distances leave float32's range (9.2e18 and more), or of length zero where the distance is Cosine.
	ErrVector = errors.New("unusable embedding")
	// ErrK is returned for a number of neighbours below 1.
	ErrK = errors.New("k must be at least 1")
)
