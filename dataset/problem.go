package dataset

import "fmt"

// Problem is an image or a folder that could not be taken in, and why.
type Problem struct {
	// Source is the file, the folder, or the image's source.
	Source string
	// Err is the reason. Its text names the source.
	Err error
}

// Error returns the reason, which names the source.
func (p Problem) Error() string {
	if p.Err == nil {
		return fmt.Sprintf("%s: unknown problem", p.Source)
	}
	return p.Err.Error()
}

// Unwrap returns the reason.
func (p Problem) Unwrap() error { return p.Err }

// A lister knows what its listing left out.
type lister interface {
	problems() []Problem
	ignored() int
}

// Problems returns what the listing of a data set could not take in: folders without permission, loops of links,
// broken links, images in a format that imgsearch does not read. Images that turn out to be damaged are not here: their
// Read gives the error.
func Problems(ds Dataset) []Problem {
	if l, ok := ds.(lister); ok {
		return l.problems()
	}
	return nil
}

// Ignored returns how many files the listing of a data set passed over because they are hidden or their names do not
// end like an image's.
func Ignored(ds Dataset) int {
	if l, ok := ds.(lister); ok {
		return l.ignored()
	}
	return 0
}
