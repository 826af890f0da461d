package atlas

import "errors"

var (
	// ErrSheetSize is returned by Sheet for rows that make a larger picture than the options allow, and by Pages and
	// SaveSheets where even a single row does.
	ErrSheetSize = errors.New("the contact sheet is too large")
	// ErrNothing is returned where there is nothing to draw.
	ErrNothing = errors.New("nothing to draw")
	// ErrNeighbors is returned by TSNE for lists of neighbours that do not fit the points: another number of lists, an id
	// that is no point or is there twice, a distance that is no number, no neighbours at all.
	ErrNeighbors = errors.New("unusable lists of neighbours")
	// ErrOption is returned for an option that is out of its range.
	ErrOption = errors.New("option out of range")
)
