package atlas

import (
	"cmp"
	"math"
	"slices"

	"imgsearch/index"
)

// LabelOutlier is an image whose neighbours carry other labels than its own.
type LabelOutlier struct {
	// Position is the image's place in the list, Suggested the class that most of its neighbours have.
	Position, Suggested int32
	// Score is 1 minus the share of neighbours of the image's own class, divided by the mean of that share over the images
	// of the class: 1 where no neighbour has its class, 0 for what is usual in the class, below for less doubtful images.
	Score float64
	// Own and Other are the shares of neighbours of its own class and of the suggested one.
	Own, Other float64
}

// outlierTemperature divides the cosine distance in a vote's weight, as in kNN accuracy (Wu et al. 2018).
const outlierTemperature = 0.1

// LabelOutliers finds the images whose neighbours disagree with their label, the most doubtful first. Classes gives the
// class of each image, -1 for none; neighbors and distances are [len(classes), k], the nearest first, as positions in
// classes and as distances of the metric, -1 where there is no neighbour. Images without a class neither vote nor are
// judged; nor is an image without a neighbour that votes.
//
// A neighbour's vote weighs exp(-distance/0.1) where the distance is the cosine's, otherwise 1. What is usual in a class
// is taken from its own images, as in confident learning (Northcutt et al. 2021, arXiv 1911.00068, equation 2): so a
// class that is small, or that the encoder does not know well, is not all doubtful. Equal scores are sorted by falling
// Other, then by position. docs/duplicates.md has the measurements.
func LabelOutliers(classes []int32, neighbors []int32, distances []float32, k int, metric index.Metric) []LabelOutlier {
	most := int32(-1)
	for _, class := range classes {
		most = max(most, class)
	}
	usual := make([]float64, most+1)
	images := make([]int, most+1)
	var judged []LabelOutlier
	votes := make([]float64, most+1)
	for i, class := range classes {
		if class < 0 {
			continue
		}
		clear(votes)
		total := 0.0
		for j := i * k; j < (i+1)*k; j++ {
			if neighbors[j] < 0 || classes[neighbors[j]] < 0 {
				continue
			}
			weight := 1.0
			if metric == index.Cosine {
				// Relative to the nearest, so that the weights of far neighbours do not all vanish.
				weight = math.Exp(-float64(distances[j]-distances[i*k]) / outlierTemperature)
			}
			votes[classes[neighbors[j]]] += weight
			total += weight
		}
		if total == 0 {
			continue
		}
		o := LabelOutlier{Position: int32(i), Own: votes[class] / total, Suggested: -1}
		for other, vote := range votes {
			if int32(other) != class && (o.Suggested < 0 || vote/total > o.Other) {
				o.Suggested, o.Other = int32(other), vote/total
			}
		}
		usual[class] += o.Own
		images[class]++
		judged = append(judged, o)
	}
	for i := range judged {
		o := &judged[i]
		class := classes[o.Position]
		o.Score = 1
		if mean := usual[class] / float64(images[class]); mean > 0 {
			o.Score = 1 - o.Own/mean
		}
	}
	slices.SortFunc(judged, func(a, b LabelOutlier) int {
		return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(b.Other, a.Other), cmp.Compare(a.Position, b.Position))
	})
	return judged
}
