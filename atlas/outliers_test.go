package atlas

import (
	"math"
	"testing"

	"imgsearch/index"
)

func TestLabelOutliers(t *testing.T) {
	// Two classes of four and an image without a class. Image 3 lies among those of class 1.
	classes := []int32{0, 0, 0, 0, 1, 1, 1, 1, -1}
	neighbors := []int32{
		1, 2, 8,
		0, 2, 3,
		0, 1, -1,
		4, 5, 6,
		5, 6, 7,
		4, 6, 7,
		4, 5, 3,
		4, 5, 6,
		0, 1, 2,
	}
	got := LabelOutliers(classes, neighbors, make([]float32, len(neighbors)), 3, index.L2)
	if len(got) != 8 {
		t.Fatalf("%d images judged, want 8: the one without a class is not", len(got))
	}
	first := got[0]
	if first.Position != 3 || first.Suggested != 1 || first.Score != 1 || first.Own != 0 || first.Other != 1 {
		t.Errorf("first %+v", first)
	}
	// Class 1: own shares 1, 1, 2/3, 1, so what is usual is 11/12.
	second := got[1]
	if want := 1 - (2./3)/(11./12); second.Position != 6 || math.Abs(second.Score-want) > 1e-12 {
		t.Errorf("second %+v, want score %v", second, want)
	}
}

func TestLabelOutliersWeighsNearNeighboursMore(t *testing.T) {
	classes := []int32{0, 0, 1, 1}
	neighbors := []int32{1, 2, 3, 0, 2, 3, 3, 0, 1, 2, 0, 1}
	distances := []float32{0.1, 0.5, 0.5, 0.1, 0.5, 0.5, 0.1, 0.5, 0.5, 0.1, 0.5, 0.5}
	for metric, want := range map[index.Metric]float64{index.L2: 1. / 3, index.Cosine: 1 / (1 + 2*math.Exp(-4))} {
		for _, o := range LabelOutliers(classes, neighbors, distances, 3, metric) {
			if math.Abs(o.Own-want) > 1e-6 {
				t.Errorf("%s: share %v, want %v", metric, o.Own, want)
			}
		}
	}
}

// TestLabelOutliersSparesSmallClasses looks at a class that is too small to win any vote.
func TestLabelOutliersSparesSmallClasses(t *testing.T) {
	classes := []int32{0, 0, 0, 0, 0, 1, 1}
	const k = 4
	neighbors := []int32{
		1, 2, 3, 4,
		0, 2, 3, 4,
		0, 1, 3, 4,
		0, 1, 2, 5,
		5, 6, 0, 1, // class 0, half of its neighbours of class 1
		6, 0, 1, 2, // a quarter is all that class 1 can have
		5, 0, 1, 2,
	}
	got := LabelOutliers(classes, neighbors, make([]float32, len(neighbors)), k, index.L2)
	if got[0].Position != 4 {
		t.Errorf("first %+v, want image 4", got[0])
	}
	for _, o := range got {
		if classes[o.Position] == 1 && o.Score != 0 {
			t.Errorf("%+v: nothing is unusual about it", o)
		}
	}
}
