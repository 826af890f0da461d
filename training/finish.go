package training

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"imgsearch/dataset"
	"imgsearch/embedder"
	"imgsearch/internal/eigen"
	"imgsearch/internal/kernel"
)

// FinishOptions say what is computed after the last step and becomes part of the encoder. The zero value adds nothing: the
// encoder is the net that was trained.
//
// What the loss sees is made for the loss: it forgets what the views change, which neighbours may need. The features
// before it are better ones (Chen et al. 2020, arXiv 2002.05709, section 4.2). So with PCA the net that is trained ends in
// features, Options.Head comes between them and the loss, and the layer that brings them down to Dim values is computed
// from the features of training images. It takes no label and no gradient. The held-back images are measured during the
// training as if it were finished then, with the components of their own features, and at the end with the encoder's.
type FinishOptions struct {
	// PCA makes the encoder end in a Linear layer and an L2Norm that are not trained but computed: the first Dim principal
	// components of the features of training images, scaled by Whitening. Options.Dim is the number of values that they
	// leave, at most that of the features; 0 is what the architecture, or the preset, ends in. Where the architecture
	// ends in a Linear layer, with L2Norm behind it or not, these two are left out of the training, so that the features
	// are what goes into them. The loss sees features of any length where there is no Head.
	PCA bool `json:"pca,omitempty"`
	// Whitening is the exponent p, 0 to 1: each component is divided by its standard deviation to the power of p. 0 keeps
	// the distances of the features as far as Dim values can; 1 gives all directions the same weight (whitening of the
	// embedding: arXiv 2408.07519); between the two, weaker directions count for more, and so does noise.
	Whitening float64 `json:"whitening,omitempty"`
	// NormalizeFirst brings features to length 1 before the components are taken; the encoder then has an L2Norm there.
	NormalizeFirst bool `json:"normalize_first,omitempty"`
	// KeepLinear trains the Linear layer that the architecture ends in, which must be there: the components are those of
	// its output. Without NormalizeFirst the two linear maps become one layer.
	KeepLinear bool `json:"keep_linear,omitempty"`
	// Mirror gives the encoder an [embedder.MirrorMean]: an image and its mirror image are embedded alike, at twice the
	// price. The mean is taken of the features: before L2Norm and the affine layers at the end, which the mean commutes
	// with and which need not be computed twice; PCA sees the means. It goes without PCA too.
	Mirror bool `json:"mirror,omitempty"`
	// Images is the number of training images, drawn by the seed, whose features the components are taken of; 0 is 20,000,
	// or all where there are fewer. More take longer, in proportion: as long as it takes to embed them.
	Images int `json:"images,omitempty"`
}

const (
	finishImages = 20_000
	// finishFloor is the least variance of a component that whitening reckons with, as a share of the greatest one's:
	// directions in which features hardly vary are noise.
	finishFloor = 1e-4
	// finishPerFeature is the number of images for each feature below which a run is warned of.
	finishPerFeature = 4
	// maxFeatures bounds the features: their covariance has to fit into memory, and takes time as its third power.
	maxFeatures = 4096
)

// complete fills in what is left open and checks all fields.
func (f FinishOptions) complete() (FinishOptions, error) {
	fail := func(name string, value any, allowed string) (FinishOptions, error) {
		return FinishOptions{}, optionError("finish: "+name, value, allowed)
	}
	if !(f.Whitening >= 0 && f.Whitening <= 1) {
		return fail("whitening", f.Whitening, "0 to 1")
	}
	if f.Images != 0 && f.Images < 2 {
		return fail("images", f.Images, "2 or more, or 0 for 20000")
	}
	if !f.PCA {
		switch {
		case f.Whitening != 0:
			return fail("whitening", f.Whitening, "0 without PCA")
		case f.NormalizeFirst:
			return fail("normalize first", true, "false without PCA")
		case f.KeepLinear:
			return fail("keep linear", true, "false without PCA")
		case f.Images != 0:
			return fail("images", f.Images, "0 without PCA")
		}
		return f, nil
	}
	if f.Images == 0 {
		f.Images = finishImages
	}
	return f, nil
}

// net returns the architecture to train so that the finished encoder leaves dim values, and dim, which may be 0 for that
// of the valid architecture a.
func (f FinishOptions) net(a embedder.Architecture, dim int) (embedder.Architecture, int, error) {
	fail := func(name string, value any, allowed string) (embedder.Architecture, int, error) {
		return embedder.Architecture{}, 0, optionError(name, value, allowed)
	}
	if slices.ContainsFunc(a.Layers, func(l embedder.Layer) bool { return l.Kind == embedder.MirrorMean }) {
		return fail("architecture", fmt.Sprintf("with a layer %s", embedder.MirrorMean), "without it: Finish.Mirror adds it after the training")
	}
	if !f.PCA {
		return a, a.OutputDim(), nil
	}
	if dim == 0 {
		dim = a.OutputDim()
	}
	linear := len(a.Layers) - 1
	if a.Layers[linear].Kind == embedder.L2Norm {
		linear--
	}
	ends := linear >= 0 && a.Layers[linear].Kind == embedder.Linear
	switch {
	case f.KeepLinear && !ends:
		return fail("finish: keep linear", true, "false where the architecture does not end in a linear layer")
	case !f.KeepLinear && ends:
		a.Layers = a.Layers[:linear]
	}
	features := a.OutputDim()
	if features > maxFeatures {
		return fail("finish: pca", fmt.Sprintf("of %d features", features), fmt.Sprintf("at most %d", maxFeatures))
	}
	if most := min(features, maxDim); dim < minDim || dim > most {
		return fail("dim", dim, fmt.Sprintf("%d to %d: there are %d features", minDim, most, features))
	}
	return a, dim, nil
}

// add returns the encoder that ends in what the components are taken of, and its weights: the trained net a, without an
// L2Norm at its end, with the mean over mirror images and the L2Norm that are asked for. Without PCA it is the finished
// encoder. Tensors are shared with w.
func (f FinishOptions) add(a embedder.Architecture, w embedder.Weights) (embedder.Architecture, embedder.Weights) {
	a, w = a.Clone(), maps.Clone(w)
	if f.Mirror {
		at := len(a.Layers)
		if a.Layers[at-1].Kind == embedder.L2Norm {
			at--
		}
		for at > 0 && (a.Layers[at-1].Kind == embedder.Linear || a.Layers[at-1].Kind == embedder.BatchNorm) {
			at--
		}
		for last := len(a.Layers) - 1; last >= at; last-- {
			for _, name := range slices.Collect(maps.Keys(w)) {
				if rest, ok := strings.CutPrefix(name, fmt.Sprintf("layers.%d.", last)); ok {
					w[fmt.Sprintf("layers.%d.%s", last+1, rest)] = w[name]
					delete(w, name)
				}
			}
		}
		a.Layers = slices.Insert(a.Layers, at, embedder.Layer{Kind: embedder.MirrorMean})
	}
	if f.PCA {
		if last := len(a.Layers) - 1; a.Layers[last].Kind == embedder.L2Norm {
			a.Layers = a.Layers[:last]
		}
		if f.NormalizeFirst {
			a.Layers = append(a.Layers, embedder.Layer{Kind: embedder.L2Norm})
		}
	}
	return a, w
}

// project adds a projection to what add returned: as a layer of its own, or as part of the linear layer before it.
func (f FinishOptions) project(a embedder.Architecture, w embedder.Weights, p projection) (embedder.Architecture, embedder.Weights) {
	a, w = a.Clone(), maps.Clone(w)
	last := len(a.Layers) - 1
	if a.Layers[last].Kind == embedder.Linear {
		name := "layers." + strconv.Itoa(last)
		p = p.after(w[name+".weight"], w[name+".bias"].Data)
	} else {
		a.Layers = append(a.Layers, embedder.Layer{Kind: embedder.Linear})
		last++
	}
	l := &a.Layers[last]
	l.Out, l.Bias = p.dim(), true
	name := "layers." + strconv.Itoa(last)
	weight, bias := embedder.NewTensor(p.dim(), p.features), embedder.NewTensor(p.dim())
	for i, x := range p.weight {
		weight.Data[i] = float32(x)
	}
	for i, x := range p.bias {
		bias.Data[i] = float32(x)
	}
	w[name+".weight"], w[name+".bias"] = weight, bias
	a.Layers = append(a.Layers, embedder.Layer{Kind: embedder.L2Norm})
	return a, w
}

// finished returns the encoder's net and weights as they are after the last step.
func (t *trainer) finished(ctx context.Context) (embedder.Architecture, embedder.Weights, error) {
	begun := t.now()
	defer func() { t.spent.finishing = t.now().Sub(begun) }()
	a, w := t.Finish.add(t.Architecture, t.net.weights())
	if !t.Finish.PCA {
		return a, w, nil
	}
	t.report(Finishing)
	encoder, err := embedder.New(a, w, embedder.Metadata{})
	if err != nil {
		return a, w, fmt.Errorf("%w: %w", ErrDiverged, err)
	}
	m, err := momentsOf(ctx, encoder, t.corpus, t.finishSample(), t.Threads)
	if err == nil {
		err = t.corpus.err()
	}
	if err != nil {
		return a, w, fmt.Errorf("features of the training images: %w", err)
	}
	p, err := m.components(t.Dim, t.Finish.Whitening)
	if err != nil {
		return a, w, fmt.Errorf("principal components of the features: %w", err)
	}
	a, w = t.Finish.project(a, w, p)
	return a, w, nil
}

// finishSample returns the training images whose features are looked at, ascending.
func (t *trainer) finishSample() []int32 {
	n := min(t.Finish.Images, len(t.train))
	r := newRNG(t.Seed, streamFinish, 0, 0)
	rows := r.permutation(len(t.train))[:n]
	for i, k := range rows {
		rows[i] = t.train[k]
	}
	slices.Sort(rows)
	return rows
}

// finishChunk is how many images are embedded at a time.
const finishChunk = 512

// momentsOf returns the moments of what the encoder makes of images of the corpus.
func momentsOf(ctx context.Context, encoder *embedder.Encoder, c *corpus, rows []int32, threads int) (*moments, error) {
	m := newMoments(encoder.Dim())
	images := make([]*dataset.Image, min(len(rows), finishChunk))
	for i := range images {
		images[i] = dataset.NewImage(c.size, c.size)
	}
	for ; len(rows) > 0; rows = rows[min(len(rows), finishChunk):] {
		chunk := images[:min(len(images), len(rows))]
		kernel.Parallel(threads, len(chunk), func(i int) {
			interleave(c.pixels(rows[i]), chunk[i].Pix, func(x uint8) uint8 { return x })
		})
		features, err := encoder.Embed(ctx, chunk, threads)
		if err != nil {
			return nil, err
		}
		m.add(features, threads)
	}
	return m, nil
}

// moments add up rows for their mean and covariance. The result depends on the order of the rows and on how they were
// grouped, not on the number of threads.
type moments struct {
	dim, count int
	// shift is the mean of the first group: sums are over differences from it, so that they keep their digits.
	shift    []float32
	sum      []float64
	products []float64 // [dim, dim]
	centred  []float32
	group    []float32
}

func newMoments(dim int) *moments {
	return &moments{dim: dim, sum: make([]float64, dim), products: make([]float64, dim*dim), group: make([]float32, dim*dim)}
}

// add takes in rows [n, dim], at least one, which it does not change.
func (m *moments) add(rows []float32, threads int) {
	n := len(rows) / m.dim
	if m.count == 0 {
		m.shift = make([]float32, m.dim)
		for j := range m.shift {
			var s float64
			for i := j; i < len(rows); i += m.dim {
				s += float64(rows[i])
			}
			m.shift[j] = float32(s / float64(n))
		}
	}
	m.count += n
	m.centred = append(m.centred[:0], rows...)
	for i := 0; i < len(m.centred); i += m.dim {
		for j, s := range m.shift {
			m.centred[i+j] -= s
			m.sum[j] += float64(m.centred[i+j])
		}
	}
	kernel.GemmParallel(threads, true, false, m.dim, m.dim, n, 1, m.centred, m.dim, m.centred, m.dim, 0, m.group, m.dim)
	for i, x := range m.group {
		m.products[i] += float64(x)
	}
}

// statistics returns mean and covariance, [dim] and [dim, dim].
func (m *moments) statistics() (mean, covariance []float64) {
	mean, covariance = make([]float64, m.dim), make([]float64, m.dim*m.dim)
	n := float64(m.count)
	for i, s := range m.sum {
		mean[i] = float64(m.shift[i]) + s/n
		for j := range i + 1 {
			x := (m.products[i*m.dim+j]+m.products[j*m.dim+i])/(2*n) - s/n*m.sum[j]/n
			covariance[i*m.dim+j], covariance[j*m.dim+i] = x, x
		}
	}
	return mean, covariance
}

// components returns the projection on the first dim principal components, the strongest first, each divided by its
// standard deviation, as a share of the greatest one, to the power of whitening. The mean goes to zero.
func (m *moments) components(dim int, whitening float64) (projection, error) {
	mean, covariance := m.statistics()
	values, vectors, err := eigen.Symmetric(covariance, m.dim)
	if errors.Is(err, eigen.ErrConverge) {
		return projection{}, fmt.Errorf("%w: %w", ErrDiverged, err)
	} else if err != nil {
		return projection{}, err
	}
	eigen.FixSigns(vectors, m.dim)
	p := projection{features: m.dim, weight: vectors[:dim*m.dim], bias: make([]float64, dim)}
	for k := range dim {
		row := p.weight[k*m.dim:][:m.dim]
		scale := 1.0
		if values[0] > 0 {
			scale = math.Pow(max(values[k]/values[0], finishFloor), -whitening/2)
		}
		for j := range row {
			row[j] *= scale
			p.bias[k] -= row[j] * mean[j]
		}
	}
	return p, nil
}

// projection is an affine map of features: x W^T + b.
type projection struct {
	features int
	weight   []float64 // [dim, features]
	bias     []float64 // [dim]
}

func (p projection) dim() int { return len(p.bias) }

// after returns the projection that does the work of a linear layer, [features, inputs] and its bias, which may be nil, and
// then that of p.
func (p projection) after(weight embedder.Tensor, bias []float32) projection {
	inputs := weight.Shape[1]
	out := projection{features: inputs, weight: make([]float64, p.dim()*inputs), bias: slices.Clone(p.bias)}
	for k := range out.bias {
		row := out.weight[k*inputs:][:inputs]
		for j, x := range p.weight[k*p.features:][:p.features] {
			for i, y := range weight.Data[j*inputs:][:inputs] {
				row[i] += x * float64(y)
			}
			if bias != nil {
				out.bias[k] += x * float64(bias[j])
			}
		}
	}
	return out
}

// apply returns the projections of rows [n, features], each brought to length 1: [n, dim].
func (p projection) apply(rows []float32, threads int) []float32 {
	n, dim := len(rows)/p.features, p.dim()
	out := make([]float32, n*dim)
	kernel.Parallel(threads, n, func(i int) {
		x, y := rows[i*p.features:][:p.features], out[i*dim:][:dim]
		values := slices.Clone(p.bias)
		var square float64
		for k, v := range values {
			for j, w := range p.weight[k*p.features:][:p.features] {
				v += w * float64(x[j])
			}
			values[k] = v
			square += v * v
		}
		length := max(math.Sqrt(square), 1e-12)
		for k, v := range values {
			y[k] = float32(v / length)
		}
	})
	return out
}
