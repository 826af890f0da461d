package evaluation

import (
	"bytes"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"

	"imgsearch/dataset"
	"imgsearch/index"
)

// Report is what Evaluate measured. Its JSON names are stable.
type Report struct {
	// Queries is the number of images asked about, Gallery that of the images among which the neighbours lie.
	Queries int `json:"queries"`
	Gallery int `json:"gallery"`
	Scores
	// Engine names what answered: see Options.Engine.
	Engine string `json:"engine"`
	// LeaveOneOut tells that the queries are of the gallery, each left out of its own neighbours.
	LeaveOneOut bool `json:"leave_one_out"`
	// UnlabelledQueries and UnlabelledGallery are the numbers of images without a label. They are left out of
	// everything but the recall: such queries are not counted, such neighbours are passed over.
	UnlabelledQueries int `json:"unlabelled_queries"`
	UnlabelledGallery int `json:"unlabelled_gallery"`
	// Chance is the purity that neighbours drawn at random would have; null without labels.
	Chance Share `json:"chance"`
	// PerClass has an entry for each label of a query, by rising label.
	PerClass []Class `json:"per_class,omitempty"`
	// Matrix tells who is whose neighbour; nil without labels or with more than Options.MatrixLabels of them.
	Matrix *Matrix `json:"matrix,omitempty"`
	// Baselines are the same measures of other embeddings of the same images.
	Baselines []Baseline `json:"baselines,omitempty"`
}

// Scores are the measures that embeddings are compared by.
type Scores struct {
	// Dim is the length of an embedding.
	Dim int `json:"dim"`
	// Metric is the distance that orders the neighbours.
	Metric index.Metric `json:"metric"`
	// Purity is purity@k by k: the mean share of a query's k nearest that carry its label. A query that has fewer than
	// k labelled images to choose from is measured by those; an index that answers with fewer than there are has the
	// missing ones counted as mismatches. Nil (JSON null) without labels.
	Purity AtK `json:"purity"`
	// KNNAccuracy is the share of queries whose label wins the weighted vote; NaN (JSON null) without labels.
	KNNAccuracy Share `json:"knn_accuracy"`
	// ANNRecall is the recall@k of the index by k; nil (left out in JSON) where exact search answered.
	ANNRecall AtK `json:"ann_recall,omitempty"`
	// Intervals are the confidence intervals of the measures.
	Intervals Intervals `json:"intervals"`
}

// Intervals are percentile bootstrap intervals over the queries: how far a measure would move with other queries of the
// same kind. They say nothing about another gallery or another training run.
type Intervals struct {
	// Confidence is the share of the resamples inside an interval, Resamples their number.
	Confidence  float64       `json:"confidence"`
	Resamples   int           `json:"resamples"`
	Purity      ByK[Interval] `json:"purity,omitempty"`
	KNNAccuracy *Interval     `json:"knn_accuracy,omitempty"`
	ANNRecall   ByK[Interval] `json:"ann_recall,omitempty"`
}

// Interval is the lower and the upper end.
type Interval [2]float64

// Class is what was measured for the queries of one label.
type Class struct {
	Label dataset.Label `json:"label"`
	// Queries and Gallery are the numbers of images with this label.
	Queries     int     `json:"queries"`
	Gallery     int     `json:"gallery"`
	Purity      AtK     `json:"purity"`
	KNNAccuracy float64 `json:"knn_accuracy"`
	// TakenFor are the other labels most frequent among the Options.MatrixK nearest, at most five, by falling share.
	TakenFor []LabelShare `json:"taken_for,omitempty"`
}

// LabelShare is the share of one label among neighbours.
type LabelShare struct {
	Label dataset.Label `json:"label"`
	Share float64       `json:"share"`
}

// Matrix tells how the labels of the K nearest are spread.
type Matrix struct {
	K int `json:"k"`
	// Labels name the rows and columns.
	Labels []dataset.Label `json:"labels"`
	// Shares holds in row i, column j the share of label j among the K nearest of the queries with label i. Rows sum to
	// 1; those of labels without queries are zero.
	Shares [][]float64 `json:"shares"`
}

// Baseline is a report's measures for other embeddings of the same queries and gallery, by exact search.
type Baseline struct {
	Name string `json:"name"`
	Scores
}

// Share is a number from 0 to 1, or NaN where there is none, which is null in JSON.
type Share float64

// MarshalJSON writes NaN as null.
func (s Share) MarshalJSON() ([]byte, error) {
	if math.IsNaN(float64(s)) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(s))
}

// UnmarshalJSON reads null as NaN.
func (s *Share) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		*s = Share(math.NaN())
		return nil
	}
	return json.Unmarshal(data, (*float64)(s))
}

// ByK holds something for each number of neighbours k.
type ByK[V any] map[int]V

// AtK holds a measure by the number of neighbours k.
type AtK = ByK[float64]

// MarshalJSON writes the entries by rising k.
func (m ByK[V]) MarshalJSON() ([]byte, error) {
	if m == nil {
		return []byte("null"), nil
	}
	var b bytes.Buffer
	b.WriteByte('{')
	for i, k := range sortedKeys(m) {
		if i > 0 {
			b.WriteByte(',')
		}
		v, err := json.Marshal(m[k])
		if err != nil {
			return nil, err
		}
		b.WriteString(strconv.Quote(strconv.Itoa(k)))
		b.WriteByte(':')
		b.Write(v)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

func sortedKeys[V any](m ByK[V]) []int { return slices.Sorted(maps.Keys(m)) }
