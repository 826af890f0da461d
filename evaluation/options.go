package evaluation

import (
	"fmt"
	"math"
	"slices"

	"imgsearch/index"
)

// Options say what Evaluate measures. The zero value measures everything of exact search by the cosine.
type Options struct {
	// Index is asked for the neighbours and has its ANN recall measured; it must hold exactly the gallery. Nil lets
	// exact search answer, and leaves the recall out.
	Index index.Index
	// Engine names what answers, for the report; default "index" with an Index, "exact" without.
	Engine string
	// Metric orders the neighbours of exact search. The default is the Index's, which it must equal where both are
	// given, or index.Cosine without an Index.
	Metric index.Metric
	// LeaveOneOut says that the queries are images of the gallery, known by their ids: each query's own image is left
	// out of its neighbours. A query whose id the gallery lacks is answered by all of it.
	LeaveOneOut bool
	// K are the depths at which purity is measured; default 1, 5, 10, 100.
	K []int
	// Vote is the number of neighbours that vote for the kNN accuracy; default 200.
	Vote int
	// Temperature divides the cosine in a vote's weight exp(cos/Temperature); default 0.1.
	Temperature float64
	// MatrixK is the number of neighbours that the class matrix counts; default 10.
	MatrixK int
	// MatrixLabels is the largest number of classes that get a matrix; default 100. Classes always list the labels
	// that they are taken for.
	MatrixLabels int
	// RecallK are the depths at which the ANN recall of Index is measured, each by a search of its own that asks for
	// just so many; default 10.
	RecallK []int
	// Resamples is the number of bootstrap resamples behind an interval; default 1,000. More make the ends of the
	// intervals steadier and take proportionally longer.
	Resamples int
	// Confidence is the share of resamples inside an interval; default 0.95.
	Confidence float64
	// Seed draws the resamples.
	Seed uint64
	// Threads is the number of threads; default all cores. The results do not depend on it.
	Threads int
	// OnProgress is called, by one goroutine at a time, with the number of searches done and of all to be done.
	OnProgress func(done, total int)
}

// withDefaults fills in the defaults and checks the rest.
func (o Options) withDefaults() (Options, error) {
	if o.Metric == "" {
		o.Metric = index.Cosine
		if o.Index != nil {
			o.Metric = o.Index.Metric()
		}
	}
	if o.Engine == "" {
		o.Engine = "exact"
		if o.Index != nil {
			o.Engine = "index"
		}
	}
	if o.K == nil {
		o.K = []int{1, 5, 10, 100}
	}
	if o.RecallK == nil {
		o.RecallK = []int{10}
	}
	o.Vote = orDefault(o.Vote, 200)
	o.MatrixK = orDefault(o.MatrixK, 10)
	o.MatrixLabels = orDefault(o.MatrixLabels, 100)
	o.Resamples = orDefault(o.Resamples, 1000)
	o.Temperature = orDefault(o.Temperature, 0.1)
	o.Confidence = orDefault(o.Confidence, 0.95)
	switch {
	case o.Index != nil && o.Metric != o.Index.Metric():
		return o, fmt.Errorf("%w: Metric is %q, but the index measures %q", ErrOption, o.Metric, o.Index.Metric())
	case len(o.K) == 0 || slices.Min(o.K) < 1:
		return o, fmt.Errorf("%w: K is %v, depths of at least 1 are needed", ErrOption, o.K)
	case len(o.RecallK) == 0 || slices.Min(o.RecallK) < 1:
		return o, fmt.Errorf("%w: RecallK is %v, depths of at least 1 are needed", ErrOption, o.RecallK)
	case o.Vote < 1:
		return o, fmt.Errorf("%w: Vote is %d, at least 1 is needed", ErrOption, o.Vote)
	case o.MatrixK < 1:
		return o, fmt.Errorf("%w: MatrixK is %d, at least 1 is needed", ErrOption, o.MatrixK)
	case o.MatrixLabels < 1:
		return o, fmt.Errorf("%w: MatrixLabels is %d, at least 1 is needed", ErrOption, o.MatrixLabels)
	case o.Resamples < 1:
		return o, fmt.Errorf("%w: Resamples is %d, at least 1 is needed", ErrOption, o.Resamples)
	case !(o.Temperature > 0) || math.IsInf(o.Temperature, 0):
		return o, fmt.Errorf("%w: Temperature is %v, a positive number is needed", ErrOption, o.Temperature)
	case !(o.Confidence > 0 && o.Confidence < 1):
		return o, fmt.Errorf("%w: Confidence is %v, a number between 0 and 1 is needed", ErrOption, o.Confidence)
	}
	return o, checkMetric(o.Metric)
}

func orDefault[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}
