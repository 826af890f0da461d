package atlas

import "errors"

var (
	// ErrSheetSize is returned by Sheet for rows that make a larger picture than the options allow, and by Pages and
	// SaveSheets where even a single row does.
	ErrSheetSize = errors.New("the contact sheet is too large")
	// ErrNothing is returned where there is nothing to draw.
	ErrNothing = errors.New("nothing to draw")
	// ErrOption is returned for an option that is out of its range.
	ErrOption = errors.New("option out of range")
)
