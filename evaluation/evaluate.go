package evaluation

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"imgsearch/dataset"
	"imgsearch/index"
	"imgsearch/internal/kernel"
)

// Evaluate asks for the neighbours of every query in the gallery and measures them.
//
// The embeddings of both sets are needed whatever answers: the votes are weighed by the cosine, whichever distance
// chooses the voters. With Options.Index the recall compares, by distance, each answer to exact search; an answer at
// the distance of the k-th exact neighbour counts, so that equal images may stand for each other.
//
// Cancelling ctx ends the evaluation with ctx's error. Other errors: ErrSet, ErrOption, ErrNoLabels,
// ErrUnknownNeighbor, and whatever Index.Search returns.
func Evaluate(ctx context.Context, queries, gallery Set, options Options) (*Report, error) {
	o, err := options.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := checkSets(queries, gallery, o.LeaveOneOut); err != nil {
		return nil, err
	}
	if o.Index != nil && (o.Index.Dim() != gallery.Dim || o.Index.Len() != gallery.Len()) {
		return nil, fmt.Errorf("%w: a gallery of %d embeddings of dim %d for an index of %d of dim %d",
			ErrSet, gallery.Len(), gallery.Dim, o.Index.Len(), o.Index.Dim())
	}
	at, err := gallery.positions("gallery")
	if err != nil {
		return nil, err
	}
	e := &evaluator{Options: o, ctx: ctx, queries: queries, gallery: gallery, at: at}
	e.scanOf = func(q, g []int) *scan {
		queries, gallery := queries, gallery
		if q != nil {
			queries = queries.Subset(q)
		}
		if g != nil {
			gallery = gallery.Subset(g)
		}
		return newScan(queries, gallery, o.Metric, o.Threads)
	}
	return e.run()
}

// run measures what the evaluator was set up for.
func (e *evaluator) run() (*Report, error) {
	o, queries, gallery := e.Options, e.queries, e.gallery
	if o.LeaveOneOut {
		e.self = selfPositions(queries, e.at)
	}
	e.labelled()
	report := &Report{
		Queries: queries.Len(), Gallery: gallery.Len(), Engine: o.Engine, LeaveOneOut: o.LeaveOneOut,
		UnlabelledQueries: queries.Len() - len(e.asked), UnlabelledGallery: gallery.Len() - e.labelledGallery,
		Scores: Scores{
			Dim: gallery.Dim, Metric: o.Metric, KNNAccuracy: Share(math.NaN()),
			Intervals: Intervals{Confidence: o.Confidence, Resamples: o.Resamples},
		},
		Chance: Share(math.NaN()),
	}
	least := 1
	if o.LeaveOneOut {
		least = 2 // the only labelled image may be the query itself
	}
	byLabel := len(e.asked) > 0 && e.labelledGallery >= least
	if !byLabel && o.Index == nil {
		return nil, fmt.Errorf("%w: %d of %d queries and %d of %d images in the gallery have a label", ErrNoLabels,
			len(e.asked), queries.Len(), e.labelledGallery, gallery.Len())
	}
	if byLabel {
		e.total += len(e.asked)
	}
	if o.Index != nil {
		e.total += 2 * queries.Len()
	}
	if byLabel {
		if err := e.measureLabels(report); err != nil {
			return nil, err
		}
	}
	if o.Index != nil {
		if err := e.measureRecall(report); err != nil {
			return nil, err
		}
	}
	return report, nil
}

// voter is one neighbour: its row in the gallery and its cosine with the query.
type voter struct {
	at  int32
	cos float32
}

// evaluator is one call of Evaluate.
type evaluator struct {
	Options
	ctx              context.Context
	queries, gallery Set // of the pixel baseline without Embeddings
	at               map[dataset.ID]int32
	// scanOf gives the exact search of some of the queries in some of the gallery; nil stands for all.
	scanOf func(queries, gallery []int) *scan
	self   []int32 // the gallery's row of each query's own image, -1 where there is none; nil: none at all

	classes         []dataset.Label
	queryClass      []int32 // index into classes, -1 for no label
	galleryClass    []int32
	asked           []int // the labelled queries
	labelledGallery int

	total    int
	done     int // searches of finished phases
	reported sync.Mutex
}

// labelled numbers the classes and counts what has one.
func (e *evaluator) labelled() {
	seen := map[dataset.Label]bool{}
	for _, set := range []Set{e.queries, e.gallery} {
		for i := range set.Len() {
			if l := set.Label(i); l != "" && !seen[l] {
				seen[l] = true
				e.classes = append(e.classes, l)
			}
		}
	}
	slices.Sort(e.classes)
	number := make(map[dataset.Label]int32, len(e.classes))
	for c, l := range e.classes {
		number[l] = int32(c)
	}
	classOf := func(s Set) []int32 {
		out := make([]int32, s.Len())
		for i := range out {
			out[i] = -1
			if l := s.Label(i); l != "" {
				out[i] = number[l]
			}
		}
		return out
	}
	e.queryClass, e.galleryClass = classOf(e.queries), classOf(e.gallery)
	for i, c := range e.queryClass {
		if c >= 0 {
			e.asked = append(e.asked, i)
		}
	}
	for _, c := range e.galleryClass {
		if c >= 0 {
			e.labelledGallery++
		}
	}
}

func (e *evaluator) report(done int) {
	if e.OnProgress == nil {
		return
	}
	e.reported.Lock()
	defer e.reported.Unlock()
	e.OnProgress(min(e.done+done, e.total), e.total)
}

// available is the number of labelled images that query q could be answered with.
func (e *evaluator) available(q int) int {
	n := e.labelledGallery
	if e.self != nil && e.self[q] >= 0 && e.galleryClass[e.self[q]] >= 0 {
		n--
	}
	return n
}

// measureLabels fills in what depends on labels.
func (e *evaluator) measureLabels(report *Report) error {
	answers, err := e.labelledNeighbors(max(slices.Max(e.K), e.Vote, e.MatrixK))
	if err != nil {
		return err
	}
	measures := len(e.K) + 1
	values := make([]float32, len(e.asked)*measures) // a row for each query: purity at each K, then 1 for a won vote
	kernel.ParallelRanges(e.Threads, len(e.asked), func(_, from, to int) {
		votes := make([]float64, len(e.classes))
		for i := from; i < to; i++ {
			q := e.asked[i]
			row := values[i*measures:][:measures]
			for m, k := range e.K {
				row[m] = e.purity(q, answers[i], k)
			}
			if e.vote(answers[i], votes) == e.queryClass[q] {
				row[measures-1] = 1
			}
		}
	})
	mean := columnMeans(values, measures)
	intervals := bootstrap(values, measures, e.Options)
	report.Purity, report.Intervals.Purity = AtK{}, ByK[Interval]{}
	for m, k := range e.K {
		report.Purity[k] = mean[m]
		report.Intervals.Purity[k] = intervals[m]
	}
	report.KNNAccuracy = Share(mean[measures-1])
	report.Intervals.KNNAccuracy = &intervals[measures-1]
	report.Chance = Share(e.chance())
	e.measureClasses(report, answers, values)
	return nil
}

// purity is the share of the k nearest with the query's label.
func (e *evaluator) purity(q int, answer []voter, k int) float32 {
	k = min(k, e.available(q))
	same := 0
	for _, n := range answer[:min(k, len(answer))] {
		if e.galleryClass[n.at] == e.queryClass[q] {
			same++
		}
	}
	return float32(same) / float32(k)
}

// vote returns the class that wins among the nearest; of equal ones the class of the nearest neighbour of them wins.
// votes is scratch, zero before and after.
func (e *evaluator) vote(answer []voter, votes []float64) int32 {
	answer = answer[:min(e.Vote, len(answer))]
	for _, n := range answer {
		// Relative to a cosine of 1, so that a low temperature cannot overflow.
		votes[e.galleryClass[n.at]] += math.Exp((float64(n.cos) - 1) / e.Temperature)
	}
	winner := int32(-1)
	for _, n := range answer {
		if c := e.galleryClass[n.at]; winner < 0 || votes[c] > votes[winner] {
			winner = c
		}
	}
	for _, n := range answer {
		votes[e.galleryClass[n.at]] = 0
	}
	return winner
}

// chance is the expected purity of random neighbours.
func (e *evaluator) chance() float64 {
	size := make([]int, len(e.classes))
	for _, c := range e.galleryClass {
		if c >= 0 {
			size[c]++
		}
	}
	sum := 0.0
	for _, q := range e.asked {
		same := size[e.queryClass[q]]
		if e.self != nil && e.self[q] >= 0 && e.galleryClass[e.self[q]] == e.queryClass[q] {
			same--
		}
		sum += float64(same) / float64(e.available(q))
	}
	return sum / float64(len(e.asked))
}

// takenForLabels is the number of other labels that a Class lists.
const takenForLabels = 5

// measureClasses fills in the per-class measures and the matrix; values is as in measureLabels.
func (e *evaluator) measureClasses(report *Report, answers [][]voter, values []float32) {
	measures := len(e.K) + 1
	members := make([][]int, len(e.classes)) // positions in e.asked
	for i, q := range e.asked {
		members[e.queryClass[q]] = append(members[e.queryClass[q]], i)
	}
	size := make([]int, len(e.classes))
	for _, c := range e.galleryClass {
		if c >= 0 {
			size[c]++
		}
	}
	var matrix *Matrix
	if len(e.classes) <= e.MatrixLabels {
		matrix = &Matrix{K: e.MatrixK, Labels: e.classes, Shares: make([][]float64, len(e.classes))}
	}
	for c, label := range e.classes {
		shares := make([]float64, len(e.classes))
		found := 0
		sums := make([]float64, measures)
		for _, i := range members[c] {
			for m, v := range values[i*measures:][:measures] {
				sums[m] += float64(v)
			}
			nearest := answers[i][:min(e.MatrixK, len(answers[i]))]
			for _, g := range nearest {
				shares[e.galleryClass[g.at]]++
			}
			found += len(nearest)
		}
		for j := range shares {
			shares[j] /= float64(max(found, 1))
		}
		if matrix != nil {
			matrix.Shares[c] = shares
		}
		if len(members[c]) == 0 {
			continue
		}
		n := float64(len(members[c]))
		class := Class{Label: label, Queries: len(members[c]), Gallery: size[c], Purity: AtK{}, KNNAccuracy: sums[measures-1] / n}
		for m, k := range e.K {
			class.Purity[k] = sums[m] / n
		}
		for j, share := range shares {
			if j != c && share > 0 {
				class.TakenFor = append(class.TakenFor, LabelShare{e.classes[j], share})
			}
		}
		slices.SortStableFunc(class.TakenFor, func(a, b LabelShare) int {
			switch {
			case a.Share > b.Share:
				return -1
			case a.Share < b.Share:
				return 1
			}
			return 0
		})
		class.TakenFor = slices.Clip(class.TakenFor[:min(takenForLabels, len(class.TakenFor))])
		report.PerClass = append(report.PerClass, class)
	}
	report.Matrix = matrix
}

// labelledNeighbors returns, for each query in e.asked, its depth nearest labelled images, itself left out.
func (e *evaluator) labelledNeighbors(depth int) ([][]voter, error) {
	defer func() { e.done += len(e.asked) }()
	if e.Index != nil {
		return e.askIndex(depth)
	}
	var askedOnly, rowOf []int // nil where every query, everything in the gallery has a label
	self := e.self
	if len(e.asked) < len(e.queryClass) {
		askedOnly = e.asked
		if self != nil {
			self = pick(self, askedOnly)
		}
	}
	if e.labelledGallery < len(e.galleryClass) {
		newRow := make([]int32, len(e.galleryClass))
		for i, c := range e.galleryClass {
			newRow[i] = -1
			if c >= 0 {
				newRow[i] = int32(len(rowOf))
				rowOf = append(rowOf, i)
			}
		}
		if self != nil {
			self = slices.Clone(self)
			for q, g := range self {
				if g >= 0 {
					self[q] = newRow[g]
				}
			}
		}
	}
	s := e.scanOf(askedOnly, rowOf)
	s.self, s.progress = self, e.report
	found, err := s.run(e.ctx, depth)
	if err != nil {
		return nil, err
	}
	out := make([][]voter, len(found))
	for i, list := range found {
		out[i] = make([]voter, len(list))
		for j, c := range list {
			out[i][j] = voter{c.at, 1 - c.distance}
			if rowOf != nil {
				out[i][j].at = int32(rowOf[c.at])
			}
		}
	}
	if e.Metric != index.Cosine {
		e.cosines(out)
	}
	return out, nil
}

// cosines fills in the voters' cosines from the embeddings.
func (e *evaluator) cosines(answers [][]voter) {
	queryScale, galleryScale := inverseLengths(e.queries, e.Threads), inverseLengths(e.gallery, e.Threads)
	kernel.Parallel(e.Threads, len(answers), func(i int) {
		q := e.asked[i]
		for j := range answers[i] {
			n := &answers[i][j]
			n.cos = kernel.Dot(e.queries.Row(q), e.gallery.Row(int(n.at))) * queryScale[q] * galleryScale[n.at]
		}
	})
}

// askIndex lets the index answer. Where unlabelled images are among the answers, it is asked again for twice as many
// until enough labelled ones are there or the index has no more.
func (e *evaluator) askIndex(depth int) ([][]voter, error) {
	out := make([][]voter, len(e.asked))
	err := e.eachQuery(len(e.asked), func(i int) error {
		q := e.asked[i]
		want := min(depth, e.available(q))
		for fetch := want + e.ownImage(q); ; fetch *= 2 {
			fetch = min(fetch, e.gallery.Len())
			answer, err := e.search(q, fetch)
			if err != nil {
				return err
			}
			got := len(answer)
			answer = slices.DeleteFunc(answer, func(g int32) bool { return e.galleryClass[g] < 0 || e.isSelf(q, g) })
			if len(answer) >= want || got < fetch || fetch == e.gallery.Len() {
				out[i] = make([]voter, min(want, len(answer)))
				for j := range out[i] {
					out[i][j].at = answer[j]
				}
				return nil
			}
		}
	})
	if err != nil {
		return nil, err
	}
	e.cosines(out)
	return out, nil
}

// ownImage is 1 where query q is itself in the gallery and to be left out, otherwise 0.
func (e *evaluator) ownImage(q int) int {
	if e.self != nil && e.self[q] >= 0 {
		return 1
	}
	return 0
}

func (e *evaluator) isSelf(q int, g int32) bool { return e.self != nil && e.self[q] == g }

// search asks the index and returns rows of the gallery.
func (e *evaluator) search(q, k int) ([]int32, error) {
	answer, err := e.Index.Search(e.queries.Row(q), k)
	if err != nil {
		return nil, fmt.Errorf("ask for the neighbours of query %d: %w", q, err)
	}
	out := make([]int32, len(answer))
	for i, n := range answer {
		at, ok := e.at[n.ID]
		if !ok {
			return nil, fmt.Errorf("%w: id %d", ErrUnknownNeighbor, n.ID)
		}
		out[i] = at
	}
	return out, nil
}

// eachQuery calls fn(0), …, fn(n-1) on all threads and returns the error of the lowest that failed.
func (e *evaluator) eachQuery(n int, fn func(i int) error) error {
	const stride = 64
	errs := make([]error, n)
	var next, finished atomic.Int64
	kernel.Parallel(e.Threads, kernel.Threads(e.Threads), func(int) {
		for {
			from := int(next.Add(stride)) - stride
			if from >= n {
				return
			}
			for i := from; i < min(from+stride, n); i++ {
				if errs[i] = e.ctx.Err(); errs[i] == nil {
					errs[i] = fn(i)
				}
				if errs[i] != nil {
					next.Store(int64(n))
					return
				}
			}
			e.report(int(finished.Add(int64(min(stride, n-from)))))
		}
	})
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// measureRecall compares the index with exact search.
func (e *evaluator) measureRecall(report *Report) error {
	n := e.queries.Len()
	s := e.scanOf(nil, nil)
	s.self, s.progress = e.self, e.report
	exact, err := s.run(e.ctx, slices.Max(e.RecallK))
	if err != nil {
		return err
	}
	e.done += n
	measures := len(e.RecallK)
	values := make([]float32, n*measures)
	distance := func(q int, g int32) float32 {
		if e.Metric == index.L2 {
			return s.measure(q, int(g))
		}
		// The order of summation of the matrix product is not that of Dot: the product is taken again for this pair.
		var dot [1]float32
		dim := e.gallery.Dim
		kernel.Gemm(false, true, 1, 1, dim, -1, s.queries.block(q, q+1, nil), dim, s.gallery.block(int(g), int(g)+1, nil), dim, 0, dot[:], 1)
		return max(1+dot[0], 0)
	}
	err = e.eachQuery(n, func(q int) error {
		for m, k := range e.RecallK {
			truth := exact[q][:min(k, len(exact[q]))]
			if len(truth) == 0 { // the gallery is the query alone
				values[q*measures+m] = 1
				continue
			}
			answer, err := e.search(q, len(truth)+e.ownImage(q))
			if err != nil {
				return err
			}
			answer = slices.DeleteFunc(answer, func(g int32) bool { return e.isSelf(q, g) })
			limit := truth[len(truth)-1].distance
			hits := 0
			for _, g := range answer[:min(len(truth), len(answer))] {
				if distance(q, g) <= limit {
					hits++
				}
			}
			values[q*measures+m] = float32(hits) / float32(len(truth))
		}
		return nil
	})
	if err != nil {
		return err
	}
	e.done += n
	mean := columnMeans(values, measures)
	intervals := bootstrap(values, measures, e.Options)
	report.ANNRecall, report.Intervals.ANNRecall = AtK{}, ByK[Interval]{}
	for m, k := range e.RecallK {
		report.ANNRecall[k] = mean[m]
		report.Intervals.ANNRecall[k] = intervals[m]
	}
	return nil
}

// inverseLengths are the factors that scale the embeddings to length one, 0 for zero vectors.
func inverseLengths(s Set, threads int) []float32 {
	out := make([]float32, s.Len())
	kernel.Parallel(threads, len(out), func(i int) {
		var sum float64
		for _, v := range s.Row(i) {
			sum += float64(v) * float64(v)
		}
		if sum > 0 {
			out[i] = float32(1 / math.Sqrt(sum))
		}
	})
	return out
}

func columnMeans(values []float32, columns int) []float64 {
	sums := make([]float64, columns)
	for i, v := range values {
		sums[i%columns] += float64(v)
	}
	for c := range sums {
		sums[c] /= float64(len(values) / columns)
	}
	return sums
}
