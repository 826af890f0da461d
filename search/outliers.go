package search

import (
	"context"
	"fmt"

	"imgsearch/atlas"
	"imgsearch/dataset"
)

// OutlierOptions say how labels are judged. The zero value means the defaults.
type OutlierOptions struct {
	// K is the number of neighbours that vote, at most 1,000. Default: 100, but no more than a tenth of the images and no
	// fewer than 10. Fewer let a handful of images with the same wrong label confirm each other.
	K int
	// Limit is how many images are reported. Default 100.
	Limit int
	// Threads is the number of threads; 0 means all cores. The report does not depend on it.
	Threads int
	// OnProgress hears what is being done and how far it is.
	OnProgress func(stage string, done, total int)
}

const (
	defaultOutlierK     = 100
	leastOutlierK       = 10
	maxOutlierK         = 1000
	defaultOutlierLimit = 100
	// shownNeighbors is how many neighbours an Outlier names.
	shownNeighbors = 10
)

// Outlier is an image whose label disagrees with those of its neighbours.
type Outlier struct {
	Rank   int           `json:"rank"`
	ID     dataset.ID    `json:"id"`
	Source string        `json:"source"`
	Label  dataset.Label `json:"label"`
	// Suggested is the label that most of the neighbours have, leaving out its own.
	Suggested dataset.Label `json:"suggested"`
	// Score, Own and Other are those of atlas.LabelOutlier.
	Score float64 `json:"score"`
	Own   float64 `json:"own"`
	Other float64 `json:"other"`
	// Neighbors are the nearest of those that voted, at most ten.
	Neighbors []OutlierNeighbor `json:"neighbors"`
}

// OutlierNeighbor is a neighbour of an Outlier.
type OutlierNeighbor struct {
	ID       dataset.ID    `json:"id"`
	Label    dataset.Label `json:"label"`
	Distance float32       `json:"distance"`
}

// OutlierReport is what Outliers found.
type OutlierReport struct {
	// Images is the number of images in the collection, Labelled that of those with a label, Labels that of labels.
	Images   int `json:"images"`
	Labelled int `json:"labelled"`
	Labels   int `json:"labels"`
	// K is the number of neighbours that voted.
	K int `json:"k"`
	// Outvoted counts the images for which another label won the vote.
	Outvoted int `json:"outvoted"`
	// Outliers are the most doubtful images, worst first.
	Outliers []Outlier `json:"outliers"`
}

// Outliers finds the images whose label disagrees with those of their neighbours in the graph: candidates for wrong labels.
// Copies of an image have no vote on it, and of other images that are copies of one another one votes. Labels are used
// here, and nothing is learned from them.
//
// Beside the collection itself it takes some 900 bytes an image at the default K. The errors to test for: ErrOptions,
// ErrNoLabels, ErrLocked, ErrCorrupt. An empty collection gives an empty report.
func (c *Collection) Outliers(ctx context.Context, o OutlierOptions) (*OutlierReport, error) {
	switch {
	case o.K < 0 || o.K > maxOutlierK:
		return nil, fmt.Errorf("%w: K %d: must be 0 to %d", ErrOptions, o.K, maxOutlierK)
	case o.Limit < 0:
		return nil, fmt.Errorf("%w: Limit %d: must not be negative", ErrOptions, o.Limit)
	case o.Threads < 0 || o.Threads > 4096:
		return nil, fmt.Errorf("%w: Threads %d: must be 0 to 4096", ErrOptions, o.Threads)
	}
	if o.Limit == 0 {
		o.Limit = defaultOutlierLimit
	}
	if o.OnProgress == nil {
		o.OnProgress = func(string, int, int) {}
	}
	var classes []int32
	var labels []dataset.Label
	numbers := map[dataset.Label]int32{}
	report := &OutlierReport{Outliers: []Outlier{}}
	t, err := c.readContents(ctx, func(r Record) {
		class := int32(-1)
		if r.Label != "" {
			report.Labelled++
			known := false
			if class, known = numbers[r.Label]; !known {
				class = int32(len(labels))
				numbers[r.Label] = class
				labels = append(labels, r.Label)
			}
		}
		classes = append(classes, class)
	})
	if err != nil {
		return nil, err
	}
	report.Images, report.Labels = len(t.ids), len(labels)
	switch {
	case report.Images == 0:
		return report, nil
	case report.Labels == 0:
		return nil, fmt.Errorf("%s: %w: none of its %d images has a label: put the images into sub-folders that are named by label, and index that folder",
			c.Path(), ErrNoLabels, report.Images)
	case report.Labels == 1:
		return nil, fmt.Errorf("%s: %w: all %d images with a label have the label %q: index images of other labels too",
			c.Path(), ErrNoLabels, report.Labelled, labels[0])
	}
	if report.K = o.K; o.K == 0 {
		report.K = min(defaultOutlierK, max(leastOutlierK, report.Images/10))
	}
	k := report.K
	neighbors := make([]int32, len(t.ids)*k)
	distances := make([]float32, len(t.ids)*k)
	firsts := t.firsts()
	for from := 0; from < len(firsts); from += viewSlice {
		to := min(from+viewSlice, len(firsts))
		if err := c.neighborsOf(ctx, t, firsts[from:to], k, o.Threads, func(i int, found []distinct) {
			at := int(firsts[from+i]) * k
			for j := range k {
				neighbors[at+j] = -1
				if j < len(found) {
					neighbors[at+j], distances[at+j] = found[j].at, found[j].distance
				}
			}
		}); err != nil {
			return nil, err
		}
		o.OnProgress("searching", to, len(firsts))
	}
	// Images of one content have the same neighbours.
	for at, first := range t.first {
		if at, first := at*k, int(first)*k; at != first {
			copy(neighbors[at:at+k], neighbors[first:first+k])
			copy(distances[at:at+k], distances[first:first+k])
		}
	}
	doubtful := atlas.LabelOutliers(classes, neighbors, distances, k, c.metric)
	for _, d := range doubtful {
		if d.Other > d.Own {
			report.Outvoted++
		}
	}
	for i, d := range doubtful[:min(len(doubtful), o.Limit)] {
		record, err := c.Record(ctx, t.ids[d.Position])
		if err != nil {
			return nil, err
		}
		out := Outlier{
			Rank: i + 1, ID: record.ID, Source: record.Source, Label: labels[classes[d.Position]], Suggested: labels[d.Suggested],
			Score: d.Score, Own: d.Own, Other: d.Other, Neighbors: []OutlierNeighbor{},
		}
		for j := int(d.Position) * k; j < int(d.Position+1)*k && len(out.Neighbors) < shownNeighbors; j++ {
			if n := neighbors[j]; n >= 0 && classes[n] >= 0 {
				out.Neighbors = append(out.Neighbors, OutlierNeighbor{t.ids[n], labels[classes[n]], distances[j]})
			}
		}
		report.Outliers = append(report.Outliers, out)
	}
	return report, nil
}
