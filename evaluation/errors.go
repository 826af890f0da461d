package evaluation

import "errors"

var (
	// ErrSet is returned for a Set whose arrays do not fit together, that is empty, that holds a value that is not
	// finite or an id twice, and for queries and a gallery of different dim.
	ErrSet = errors.New("unusable set")
	// ErrNoLabels is returned by Evaluate where no query or nothing in the gallery has a label and Options gives no
	// Index whose recall could be measured instead.
	ErrNoLabels = errors.New("no labels to compare")
	// ErrUnknownNeighbor is returned by Evaluate where the index answers with an id that the gallery lacks: index and
	// gallery are not of the same collection.
	ErrUnknownNeighbor = errors.New("the index answered with an image that is not in the gallery")
	// ErrOption is returned for an Options field that is out of its range.
	ErrOption = errors.New("option out of range")
)
