package dataset

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// OpenAll opens several data sets and joins them in order. An image that two of them hold, as its source tells, is taken
// once, where it comes first. See [Open] for the names and the errors.
func OpenAll(ctx context.Context, names []string, opts Options) (Dataset, error) {
	if len(names) == 0 {
		return nil, fmt.Errorf("no data set named: %w; %s", ErrNotFound, accepted)
	}
	parts := make([]Dataset, 0, len(names))
	for _, name := range names {
		ds, err := Open(ctx, name, opts)
		if err != nil {
			for _, open := range parts {
				_ = open.Close()
			}
			return nil, err
		}
		parts = append(parts, ds)
	}
	return Join(parts...), nil
}

// Join makes one data set of several, in order; an image that two of them hold, as its source tells, is taken once,
// where it comes first. Closing it closes them.
func Join(parts ...Dataset) Dataset {
	if len(parts) == 1 {
		return parts[0]
	}
	j := &joined{parts: parts}
	seen := map[string]bool{}
	for p, part := range parts {
		for i := range part.Len() {
			if source := part.Entry(i).Source; !seen[source] {
				seen[source] = true
				j.at = append(j.at, location{p, i})
			}
		}
	}
	return j
}

// location is an image's place in a joined data set: which part, and where in it.
type location struct{ part, i int }

type joined struct {
	parts []Dataset
	at    []location
}

// maxNames is how many names a joined data set's name lists; of more it gives the number.
const maxNames = 8

func (j *joined) Name() string {
	var names []string
	for _, part := range j.parts[:min(len(j.parts), maxNames)] {
		names = append(names, part.Name())
	}
	if more := len(j.parts) - maxNames; more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return strings.Join(names, "+")
}

func (j *joined) Len() int { return len(j.at) }

func (j *joined) Entry(i int) Entry { return j.parts[j.at[i].part].Entry(j.at[i].i) }

func (j *joined) Read(ctx context.Context, i int) (Sample, error) {
	return j.parts[j.at[i].part].Read(ctx, j.at[i].i)
}

func (j *joined) Close() error {
	errs := make([]error, len(j.parts))
	for i, part := range j.parts {
		errs[i] = part.Close()
	}
	return errors.Join(errs...)
}

func (j *joined) problems() []Problem {
	var all []Problem
	for _, part := range j.parts {
		all = append(all, Problems(part)...)
	}
	return all
}

func (j *joined) ignored() int {
	n := 0
	for _, part := range j.parts {
		n += Ignored(part)
	}
	return n
}
