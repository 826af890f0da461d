package patches

import (
	"errors"
	"fmt"
)

// Method says what is made of the codes of an image's patches.
type Method string

const (
	// Dictionary sums the codes over the cells of a grid: features of Atoms * Grid * Grid values.
	Dictionary Method = "dictionary"
	// Manifold maps the codes to Components values, in which patches of one image lie close together, and averages
	// these over the cells of a grid: features of Components * Grid * Grid values.
	Manifold Method = "manifold"
)

// Coding says how a patch is described by the atoms of the dictionary.
type Coding string

const (
	// Triangle is how much nearer than the mean of all atoms an atom is to the patch: max(0, mean of distances -
	// distance) (Coates, Ng & Lee 2011, equation 2). Only for the method Dictionary.
	Triangle Coding = "triangle"
	// Cosine is by how much the cosine of an atom and the patch exceeds the threshold. A patch that no atom reaches gets its nearest one.
	Cosine Coding = "cosine"
	// Binary is 1 where Cosine is positive.
	Binary Coding = "binary"
)

// Options say how features of patches are made. The zero value stands for the defaults.
type Options struct {
	// Method is what is made of the codes; default Manifold.
	Method Method
	// Coding describes the patches; default Triangle for the method Dictionary, Binary for Manifold.
	Coding Coding
	// PatchSide is the side of a square patch in pixels; default 6.
	PatchSide int
	// Stride is the distance of neighbouring patches in pixels; default 2. The time grows with its inverse square.
	Stride int
	// Atoms is the size of the dictionary; default 2,048. Time and, squared, the memory of Manifold grow with it.
	Atoms int
	// Rounds is the number of rounds of k-means that the dictionary is improved by; default 4, negative for none: the
	// atoms are then patches drawn at random.
	Rounds int
	// Smoothing is added to the variances of the patches' principal components before they are evened out, as a share
	// of the mean variance; default 0.01. Less amplifies fine detail and noise.
	Smoothing float64
	// Threshold is the cosine that counts as similar, for the codings Cosine and Binary; default 0.2. Some 100 atoms a
	// patch are good: a larger dictionary needs a higher threshold. Time grows with the square of their number.
	Threshold float64
	// Components is the number of values of a patch for the method Manifold; default 256.
	Components int
	// Ridge is added to the variances of the codes before they are evened out, as a share of their mean; default 0.01.
	Ridge float64
	// Context is the side, in patches, of the windows inside which patches should lie close together; default 0, the
	// whole image.
	Context int
	// Grid is the number of cells along each side that codes are summed over; default 4 for the method Manifold, 2 for
	// Dictionary.
	Grid int
	// Mirror adds up the features of the image and of its mirror image, for twice the time.
	Mirror bool
	// FitImages bounds the images that the dictionary and the components are fitted on, spread evenly over those given;
	// default 20,000.
	FitImages int
	// Seed draws the patches that the dictionary is made of and the start of iterations.
	Seed uint64
	// Threads is the number of threads; default all cores. Features do not depend on it.
	Threads int
	// OnProgress, where it is not nil, hears what is being done and how far it is, from one goroutine at a time.
	OnProgress func(stage string, done, total int)
}

var (
	// ErrOption is returned for an Options field that is out of its range.
	ErrOption = errors.New("option out of range")
	// ErrImages is returned where there are too few images to fit on, or images of another size than those fitted on.
	ErrImages = errors.New("unusable images")
)

func (o Options) withDefaults(side int) (Options, error) {
	o.Method = orDefault(o.Method, Manifold)
	coding, grid := Binary, 4
	if o.Method == Dictionary {
		coding, grid = Triangle, 2
	}
	o.Coding = orDefault(o.Coding, coding)
	o.Grid = orDefault(o.Grid, grid)
	o.PatchSide = orDefault(o.PatchSide, 6)
	o.Stride = orDefault(o.Stride, 2)
	o.Atoms = orDefault(o.Atoms, 2048)
	o.Rounds = orDefault(o.Rounds, 4)
	o.Smoothing = orDefault(o.Smoothing, 0.01)
	o.Threshold = orDefault(o.Threshold, 0.2)
	o.Components = orDefault(o.Components, 256)
	o.Ridge = orDefault(o.Ridge, 0.01)
	o.FitImages = orDefault(o.FitImages, 20_000)
	if o.OnProgress == nil {
		o.OnProgress = func(string, int, int) {}
	}
	if o.PatchSide < 2 || o.PatchSide > side {
		return o, fmt.Errorf("%w: PatchSide is %d, 2 to %d is possible", ErrOption, o.PatchSide, side)
	}
	if o.Stride < 1 {
		return o, fmt.Errorf("%w: Stride is %d, at least 1 is needed", ErrOption, o.Stride)
	}
	across := (side-o.PatchSide)/o.Stride + 1
	switch {
	case o.Method != Dictionary && o.Method != Manifold:
		return o, fmt.Errorf("%w: Method is %q, known are %q and %q", ErrOption, o.Method, Dictionary, Manifold)
	case o.Coding != Triangle && o.Coding != Cosine && o.Coding != Binary:
		return o, fmt.Errorf("%w: Coding is %q, known are %q, %q and %q", ErrOption, o.Coding, Triangle, Cosine, Binary)
	case o.Coding == Triangle && o.Method == Manifold:
		return o, fmt.Errorf("%w: Coding %q is only for the method %q", ErrOption, o.Coding, Dictionary)
	case o.Atoms < 2 || o.Atoms > 1<<16:
		return o, fmt.Errorf("%w: Atoms is %d, 2 to 65536 is possible", ErrOption, o.Atoms)
	case !(o.Smoothing > 0 && o.Smoothing <= 1e6):
		return o, fmt.Errorf("%w: Smoothing is %v, above 0 to 1e6 is possible", ErrOption, o.Smoothing)
	case !(o.Threshold > 0 && o.Threshold < 1):
		return o, fmt.Errorf("%w: Threshold is %v, a number between 0 and 1 is needed", ErrOption, o.Threshold)
	case o.Method == Manifold && (o.Components < 1 || o.Components >= o.Atoms):
		return o, fmt.Errorf("%w: Components is %d, 1 to %d (below Atoms) is possible", ErrOption, o.Components, o.Atoms-1)
	case !(o.Ridge >= 1e-5 && o.Ridge <= 1e6):
		return o, fmt.Errorf("%w: Ridge is %v, 1e-5 to 1e6 is possible", ErrOption, o.Ridge)
	case o.Context < 0:
		return o, fmt.Errorf("%w: Context is %d, must not be negative", ErrOption, o.Context)
	case o.Grid < 1 || o.Grid > across:
		return o, fmt.Errorf("%w: Grid is %d, 1 to %d (patches across an image) is possible", ErrOption, o.Grid, across)
	case o.FitImages < 1:
		return o, fmt.Errorf("%w: FitImages is %d, at least 1 is needed", ErrOption, o.FitImages)
	}
	if o.Context == 0 || o.Context > across {
		o.Context = across
	}
	return o, nil
}

func orDefault[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}
