package training

import (
	"fmt"
	"math"

	"imgsearch/embedder"
	"imgsearch/internal/kernel"
)

// MultiViewOptions asks for more views of each image than two: further ones of the full size, as EMP-SSL has many of
// them (Tong et al. 2023, arXiv 2304.03977), and small crops, whose way through the net costs in proportion to their
// pixels (multi-crop; Caron et al. 2020, arXiv 2006.09882, section 3.3). The zero value has two views and no crops. More
// than that is for [LossNTXent], [LossSmoothTriplet] and [LossEMP].
//
// The contrastive losses compare every view and every crop of an image with each full-size view of the same image, one
// after the other, against the full-size views of all other images: see [manyScorer]. Gradients flow into both sides.
// Batch normalisation takes crops and full-size views apart, and its running statistics are those of the latter, which are
// what the finished encoder sees.
type MultiViewOptions struct {
	// Views is the number of full-size views of an image, 2 to 32; 0 stands for 2. Time and memory grow in proportion; the
	// contrastive losses hold (Views+Crops)*Views*Batch*Batch numbers of 4 bytes besides.
	Views int `json:"views,omitempty"`
	// Crops is the number of small crops of an image, 0 to 32. Default none. With them the net must work at any size, as
	// for [SizeOptions].
	Crops int `json:"crops,omitempty"`
	// CropSize is the side of crops in pixels, 8 to the encoder's; 0 stands for half the encoder's. A stage of
	// [SizeOptions] at a smaller size has crops of that size.
	CropSize int `json:"crop_size,omitempty"`
	// CropAreaLeast and CropAreaMost are the smallest and the largest share of the image's area that a crop shows, above 0
	// to 1; 0 stands for 0.05 and 0.25. A crop must not have more than twice its CropSize pixels along a side. Everything
	// else that happens to crops is what [ViewOptions] says, AnchorPlain and Dropout apart.
	CropAreaLeast float64 `json:"crop_area_least,omitempty"`
	CropAreaMost  float64 `json:"crop_area_most,omitempty"`
	// CropWeight is how much a crop counts in the mean over all anchors of a contrastive loss, a full-size view counting 1:
	// above 0 to 100; 0 stands for 1. To LossEMP all views are alike, and it wants 0.
	CropWeight float64 `json:"crop_weight,omitempty"`
}

const maxViews = 32

// rows returns the number of full-size images in a group.
func (o MultiViewOptions) rows(l LossOptions) int {
	if o.Views > 2 {
		return o.Views
	}
	return l.rows()
}

// many reports whether there is more than two views.
func (o MultiViewOptions) many() bool { return o.Views > 2 || o.Crops > 0 }

// complete fills in what stands for something else and checks all fields for a run that trains a.
func (o MultiViewOptions) complete(a embedder.Architecture, l LossOptions, sizes SizeOptions) (MultiViewOptions, error) {
	fail := func(name string, value any, allowed string) (MultiViewOptions, error) {
		return MultiViewOptions{}, optionError("multi view: "+name, value, allowed)
	}
	if o.Views != 0 && (o.Views < 2 || o.Views > maxViews) {
		return fail("views", o.Views, fmt.Sprintf("2 to %d", maxViews))
	}
	if o.Crops < 0 || o.Crops > maxViews {
		return fail("crops", o.Crops, fmt.Sprintf("0 to %d", maxViews))
	}
	if o.many() && !l.comparesMany() {
		return fail("views and crops", fmt.Sprintf("%d and %d", o.Views, o.Crops),
			fmt.Sprintf("two and none with the loss %s: only %s, %s and %s compare more", l.Loss, LossSmoothTriplet, LossNTXent, LossEMP))
	}
	if o.Crops == 0 {
		if o.CropSize != 0 || o.CropAreaLeast != 0 || o.CropAreaMost != 0 || o.CropWeight != 0 {
			return fail("crops", 0, "above 0 where something is said of them")
		}
		return o, nil
	}
	if o.CropSize == 0 {
		o.CropSize = max(leastSide, a.InputSize/2)
	}
	if o.CropAreaLeast == 0 {
		o.CropAreaLeast = 0.05
	}
	if o.CropAreaMost == 0 {
		o.CropAreaMost = max(0.25, o.CropAreaLeast)
	}
	if o.CropSize < leastSide || o.CropSize > a.InputSize {
		return fail("crop size", o.CropSize, fmt.Sprintf("%d to %d", leastSide, a.InputSize))
	}
	if err := worksAt(a, o.CropSize); err != nil {
		return MultiViewOptions{}, fmt.Errorf("%w: multi view: crop size %d: %w", ErrOptions, o.CropSize, err)
	}
	if !(o.CropAreaMost > 0 && o.CropAreaMost <= 1) {
		return fail("crop area most", o.CropAreaMost, "above 0 to 1")
	}
	if !(o.CropAreaLeast > 0 && o.CropAreaLeast <= o.CropAreaMost) {
		return fail("crop area least", o.CropAreaLeast, fmt.Sprintf("above 0 to %v, the crop area most", o.CropAreaMost))
	}
	least := o.CropSize
	for _, s := range sizes.Stages {
		least = min(least, s.Size)
	}
	longest := min(1, math.Sqrt(o.CropAreaMost*widest)) * float64(a.InputSize)
	if longest > kernel.MaxShrink*float64(least) {
		return fail("crop area most", o.CropAreaMost, fmt.Sprintf("less, or crops larger: one of size %d would show up to %.1f pixels along a side, more than %d",
			least, longest, kernel.MaxShrink*least))
	}
	switch {
	case l.Loss == LossEMP && o.CropWeight != 0:
		return fail("crop weight", o.CropWeight, fmt.Sprintf("0 with the loss %s", LossEMP))
	case l.Loss == LossEMP:
	case o.CropWeight == 0:
		o.CropWeight = 1
	}
	if !(o.CropWeight >= 0 && o.CropWeight <= 100) {
		return fail("crop weight", o.CropWeight, "above 0 to 100")
	}
	return o, nil
}

// comparesMany reports whether the loss can have more than two views of an image.
func (o LossOptions) comparesMany() bool {
	return o.Loss == LossSmoothTriplet || o.Loss == LossNTXent || o.Loss == LossEMP
}

// cropSide is the side of crops beside views of the given side.
func (o MultiViewOptions) cropSide(side int) int { return min(o.CropSize, side) }

// crops returns how the small crops are made.
func (o MultiViewOptions) crops(v ViewOptions) ViewOptions {
	v.CropArea, v.CropAreaMost = o.CropAreaLeast, o.CropAreaMost
	return v
}

// equalLoss is that of the function of the same name, for so many views.
func (o MultiViewOptions) equalLoss(l LossOptions, batch int) float64 {
	if !o.many() || l.Loss == LossEMP {
		return equalLoss(l, batch)
	}
	return math.Log(float64(o.rows(l)*(batch-1) + 1))
}
