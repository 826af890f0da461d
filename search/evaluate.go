package search

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"imgsearch/dataset"
	"imgsearch/embedder"
	"imgsearch/evaluation"
)

// EvaluateOptions say what Evaluate asks and measures.
type EvaluateOptions struct {
	// Queries are the images that are asked for; it is not closed. Nil asks each image of the collection for its
	// neighbours, itself left out.
	Queries dataset.Dataset
	// Limit bounds the number of queries, drawn by Seed; 0 means all.
	Limit int
	// Exact lets exact search answer instead of the graph.
	Exact bool
	// Baselines puts beside the report what simpler features give: the pixels, their principal components, and an
	// encoder of the same net with its first, random weights. The gallery's pixels are its thumbnails.
	Baselines bool
	// PatchBaselines adds features learned from small patches without back-propagation to the baselines: see
	// [evaluation.Report.AddPatchBaselines]. They take minutes. Without Baselines it does nothing.
	PatchBaselines bool
	// Seed draws the bootstrap, the queries of Limit and the weights of the untrained encoder.
	Seed uint64
	// Threads is the number of threads; 0 means all cores. The report does not depend on it.
	Threads int
	// OnProgress hears what is being done and how far it is.
	OnProgress func(stage string, done, total int)
	// OnProblem hears of each query image that cannot be read; it is left out.
	OnProblem func(dataset.Problem)
}

// Evaluate measures how well the neighbours in the collection share the query's label: see [evaluation.Report].
// Labels are used here and nowhere else. The errors to test for: those of QueryEmbedding and of package evaluation, and
// ErrNoThumbnail for baselines where the collection keeps none.
func (c *Collection) Evaluate(ctx context.Context, o EvaluateOptions) (*evaluation.Report, error) {
	if o.Limit < 0 {
		return nil, fmt.Errorf("%w: Limit %d: must not be negative", ErrOptions, o.Limit)
	}
	if o.OnProgress == nil {
		o.OnProgress = func(string, int, int) {}
	}
	e := &evaluating{collection: c, options: o}
	if err := e.openGallery(ctx); err != nil {
		return nil, err
	}
	if err := e.openQueries(ctx); err != nil {
		return nil, err
	}
	return e.measure(ctx)
}

// evaluating is one call of Evaluate.
type evaluating struct {
	collection *Collection
	options    EvaluateOptions

	content          *content
	gallery, queries evaluation.Set
	// inputs walks over the query images; it is nil where the collection asks itself.
	inputs dataset.Dataset
}

// openGallery reads the collection.
func (e *evaluating) openGallery(ctx context.Context) error {
	c := e.collection
	var err error
	if e.content, err = c.read(ctx, e.options.Threads); err != nil {
		return err
	}
	e.gallery.Dim = c.dim
	for id := range e.content.ids.All() {
		e.gallery.IDs = append(e.gallery.IDs, id)
		e.gallery.Embeddings = append(e.gallery.Embeddings, e.content.rows(id, id+1, c.dim)...)
	}
	labels := make(map[dataset.ID]dataset.Label, len(e.gallery.IDs))
	for record, err := range c.Records(ctx) {
		if err != nil {
			return err
		}
		labels[record.ID] = record.Label
	}
	for _, id := range e.gallery.IDs {
		e.gallery.Labels = append(e.gallery.Labels, labels[id])
	}
	return nil
}

// openQueries embeds the query images, or draws from the gallery.
func (e *evaluating) openQueries(ctx context.Context) error {
	if e.options.Queries == nil {
		e.queries = e.gallery
		if chosen := e.draw(e.gallery.Len()); chosen != nil {
			e.queries = e.gallery.Subset(chosen)
		}
		return nil
	}
	e.inputs = e.options.Queries
	if chosen := e.draw(e.inputs.Len()); chosen != nil {
		var err error
		if e.inputs, err = dataset.Subset(e.inputs, e.inputs.Name(), chosen); err != nil {
			return err
		}
	}
	encoder, err := e.collection.Encoder()
	if err != nil {
		return err
	}
	e.queries.Dim = encoder.Dim()
	var readable []int
	e.queries.Embeddings, err = e.embed(ctx, encoder, "embedding", func(i int, err error) error {
		if err == nil {
			readable = append(readable, i)
			e.queries.Labels = append(e.queries.Labels, e.inputs.Entry(i).Label)
		} else if e.options.OnProblem != nil {
			e.options.OnProblem(dataset.Problem{Source: e.inputs.Entry(i).Source, Err: err})
		}
		return nil
	})
	if err != nil {
		return err
	}
	e.inputs, err = dataset.Subset(e.inputs, e.inputs.Name(), readable)
	return err
}

// draw chooses the queries, in order; nil means all of n.
func (e *evaluating) draw(n int) []int {
	if e.options.Limit == 0 || e.options.Limit >= n {
		return nil
	}
	chosen := rand.New(rand.NewPCG(e.options.Seed, 0x6c696d6974)).Perm(n)[:e.options.Limit]
	slices.Sort(chosen)
	return chosen
}

// embed embeds the query images in order; each hears of every image and whether it could be read.
func (e *evaluating) embed(ctx context.Context, encoder *embedder.Encoder, stage string, each func(i int, err error) error) ([]float32, error) {
	var out []float32
	var waiting []*dataset.Image
	flush := func() error {
		embeddings, err := encoder.Embed(ctx, waiting, e.options.Threads)
		out, waiting = append(out, embeddings...), waiting[:0]
		return err
	}
	err := dataset.Each(ctx, e.inputs, e.options.Threads, func(i int, s dataset.Sample, err error) error {
		if err := each(i, err); err != nil {
			return err
		}
		if err == nil {
			waiting = append(waiting, s.Image)
		}
		e.options.OnProgress(stage, i+1, e.inputs.Len())
		if len(waiting) == embedBatch {
			return flush()
		}
		return nil
	})
	if err == nil {
		err = flush()
	}
	return out, err
}

// measure makes the report.
func (e *evaluating) measure(ctx context.Context) (*evaluation.Report, error) {
	o := evaluation.Options{
		Metric: e.collection.metric, LeaveOneOut: e.inputs == nil, Seed: e.options.Seed, Threads: e.options.Threads,
		OnProgress: func(done, total int) { e.options.OnProgress("searching", done, total) },
	}
	if !e.options.Exact && e.content.fresh && e.content.graph != nil && e.content.graph.Len() > 0 {
		o.Index, o.Engine = e.content.graph, "hnsw"
	}
	report, err := evaluation.Evaluate(ctx, e.queries, e.gallery, o)
	if err != nil || !e.options.Baselines {
		return report, err
	}
	o.Index, o.Engine = nil, ""
	return report, e.baselines(ctx, report, o)
}

// baselines adds simpler features to the report.
func (e *evaluating) baselines(ctx context.Context, report *evaluation.Report, o evaluation.Options) error {
	trained, err := e.collection.Encoder()
	if err != nil {
		return err
	}
	architecture := trained.Architecture()
	weights := embedder.InitWeights(architecture, rand.New(rand.NewPCG(e.options.Seed, 0x7261776e)))
	untrained, err := embedder.New(architecture, weights, embedder.Metadata{})
	if err != nil {
		return err
	}
	galleryPixels, galleryEmbeddings, err := e.galleryBaselines(ctx, untrained)
	if err != nil {
		return err
	}
	queryPixels, queryEmbeddings, err := e.queryBaselines(ctx, untrained, galleryPixels, galleryEmbeddings)
	if err != nil {
		return err
	}
	if err := report.AddPixelBaselines(ctx, queryPixels, galleryPixels, e.queries, e.gallery, o); err != nil {
		return err
	}
	if e.options.PatchBaselines {
		err := report.AddPatchBaselines(ctx, queryPixels, galleryPixels, e.queries, e.gallery, o, e.options.OnProgress)
		if err != nil {
			return err
		}
	}
	queries, gallery := e.queries, e.gallery
	queries.Embeddings, gallery.Embeddings = queryEmbeddings, galleryEmbeddings
	other, err := evaluation.Evaluate(ctx, queries, gallery, o)
	if err != nil {
		return fmt.Errorf("baseline untrained encoder: %w", err)
	}
	report.AddBaseline("untrained encoder", other)
	return nil
}

// galleryBaselines reads the thumbnails as pixels and as embeddings of the untrained encoder.
func (e *evaluating) galleryBaselines(ctx context.Context, untrained *embedder.Encoder) (*evaluation.Pixels, []float32, error) {
	pixels := evaluation.NewPixels(e.gallery.Len())
	embeddings := make([]float32, 0, len(e.gallery.Embeddings))
	for batch := range slices.Chunk(e.gallery.IDs, embedBatch) {
		var images []*dataset.Image
		for _, id := range batch {
			image, err := e.collection.Thumbnail(ctx, id)
			if err != nil {
				return nil, nil, err
			}
			pixels.Set(len(embeddings)/untrained.Dim()+len(images), image)
			images = append(images, image)
		}
		part, err := untrained.Embed(ctx, images, e.options.Threads)
		if err != nil {
			return nil, nil, err
		}
		embeddings = append(embeddings, part...)
		e.options.OnProgress("baselines of the gallery", len(embeddings)/untrained.Dim(), e.gallery.Len())
	}
	return pixels, embeddings, nil
}

// queryBaselines is galleryBaselines for the queries.
func (e *evaluating) queryBaselines(ctx context.Context, untrained *embedder.Encoder, galleryPixels *evaluation.Pixels, galleryEmbeddings []float32) (*evaluation.Pixels, []float32, error) {
	if e.inputs == nil {
		return e.drawnBaselines(untrained.Dim(), galleryPixels, galleryEmbeddings)
	}
	pixels := evaluation.NewPixels(e.inputs.Len())
	err := dataset.Each(ctx, e.inputs, e.options.Threads, func(i int, s dataset.Sample, err error) error {
		if err == nil {
			pixels.Set(i, s.Image)
		}
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	embeddings, err := e.embed(ctx, untrained, "baselines of the queries", func(_ int, err error) error { return err })
	return pixels, embeddings, err
}

// drawnBaselines picks the queries out of the gallery.
func (e *evaluating) drawnBaselines(dim int, pixels *evaluation.Pixels, embeddings []float32) (*evaluation.Pixels, []float32, error) {
	at := make(map[dataset.ID]int, e.gallery.Len())
	for i, id := range e.gallery.IDs {
		at[id] = i
	}
	positions := make([]int, e.queries.Len())
	drawn := make([]float32, 0, e.queries.Len()*dim)
	for i, id := range e.queries.IDs {
		positions[i] = at[id]
		drawn = append(drawn, embeddings[at[id]*dim:(at[id]+1)*dim]...)
	}
	return pixels.Subset(positions), drawn, nil
}
