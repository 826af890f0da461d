package evaluation

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"

	"gonum.org/v1/gonum/mat"

	"imgsearch/dataset"
)

// covarianceLike returns a positive semidefinite [n, n] matrix whose eigenvalues fall as those of natural images do,
// some of them equal.
func covarianceLike(rng *rand.Rand, n int) []float32 {
	data := mat.NewDense(n, n, nil)
	for i := range n {
		for j := range n {
			data.Set(i, j, rng.NormFloat64())
		}
	}
	var qr mat.QR
	qr.Factorize(data)
	var q mat.Dense
	qr.QTo(&q)
	values := make([]float64, n*n)
	for i := range n {
		values[i*n+i] = 100 * math.Pow(float64(1+i/2*2), -1.5)
	}
	var a mat.Dense
	a.Product(&q, mat.NewDense(n, n, values), q.T())
	out := make([]float32, n*n)
	for i := range n {
		for j := range n {
			out[i*n+j] = float32((a.At(i, j) + a.At(j, i)) / 2)
		}
	}
	return out
}

func TestLeadingEigenvectorsAgreeWithTheFullDecomposition(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	const n, k = 200, 20
	a := covarianceLike(rng, n)
	vectors, values, err := leadingEigenvectors(context.Background(), a, n, k, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	all, rows, err := symmetricEigen(a, n)
	if err != nil {
		t.Fatal(err)
	}
	for i := range k {
		if math.Abs(values[i]-all[i]) > 1e-5*all[0] {
			t.Errorf("eigenvalue %d is %v, want %v", i, values[i], all[i])
		}
	}
	// Eigenvectors of equal eigenvalues are free within their plane: the space that all span must be the same.
	for i := range k {
		inside := 0.0
		for j := range k {
			dot := 0.0
			for c := range n {
				dot += float64(vectors[i*n+c]) * float64(rows[j*n+c])
			}
			inside += dot * dot
		}
		if math.Abs(inside-1) > 1e-4 {
			t.Errorf("vector %d lies in the leading space by %v", i, inside)
		}
	}
	other, _, err := leadingEigenvectors(context.Background(), a, n, k, 1, 1)
	if err != nil || !reflect.DeepEqual(vectors, other) {
		t.Errorf("one thread gives other vectors than two (%v)", err)
	}
}

func TestLeadingEigenvectorsOfSmallRank(t *testing.T) {
	const n = 30
	a := make([]float32, n*n)
	a[0], a[n+1] = 4, 1 // rank 2
	vectors, values, err := leadingEigenvectors(context.Background(), a, n, 5, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []float64{4, 1, 0, 0, 0} {
		if math.Abs(values[i]-want) > 1e-5 {
			t.Errorf("eigenvalue %d is %v, want %v", i, values[i], want)
		}
	}
	if math.Abs(float64(vectors[0])-1) > 1e-5 || math.Abs(float64(vectors[n+1])-1) > 1e-5 {
		t.Errorf("vectors %v %v", vectors[:n], vectors[n:2*n])
	}
	if _, values, err = leadingEigenvectors(context.Background(), make([]float32, n*n), n, 3, 1, 1); err != nil || values[0] != 0 {
		t.Errorf("zero matrix: %v, %v", values, err)
	}
}

// shades returns images between black and white in steps, n of them, with a little noise.
func shades(rng *rand.Rand, n int) *Pixels {
	p := NewPixels(n)
	for i := range n {
		img := dataset.NewImage(40, 36)
		for j := range img.Pix {
			img.Pix[j] = uint8(20 + i*200/n + rng.IntN(5))
		}
		p.Set(i, img)
	}
	return p
}

func TestPCAOfImages(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	pixels := shades(rng, 60)
	pca, err := FitPCA(context.Background(), pixels, PCAOptions{Dim: 8, Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	if pca.Dim() != 8 || len(pca.Mean) != PixelDim || len(pca.Components) != 8*PixelDim {
		t.Fatalf("dim %d, %d, %d", pca.Dim(), len(pca.Mean), len(pca.Components))
	}
	projected := pca.Project(pixels, false, 1)
	variance := make([]float64, 8)
	for i, v := range projected {
		variance[i%8] += float64(v) * float64(v) / 60
	}
	for c, v := range variance {
		if math.Abs(v-pca.Variances[c]) > 1e-3*pca.Variances[0] || c > 0 && pca.Variances[c] > pca.Variances[c-1] {
			t.Errorf("component %d: variance %v, said to be %v", c, v, pca.Variances[c])
		}
	}
	// Brightness is the one thing that varies: it rises along the first component, which is 1/sqrt(3072) everywhere.
	for i := 1; i < 60; i++ {
		if projected[i*8] <= projected[(i-1)*8] {
			t.Errorf("image %d: %v after %v", i, projected[i*8], projected[(i-1)*8])
		}
	}
	whitened := pca.Project(pixels, true, 1)
	ratio := float64(projected[8*5+3]) / float64(whitened[8*5+3])
	if want := math.Pow(pca.Variances[3], 0.25); math.Abs(ratio-want) > 1e-4*want {
		t.Errorf("half-whitening divides by %v, want %v", ratio, want)
	}
}

func TestPCAOfLittle(t *testing.T) {
	ctx := context.Background()
	if _, err := FitPCA(ctx, NewPixels(1), PCAOptions{}); !errors.Is(err, ErrSet) {
		t.Errorf("one image: %v", err)
	}
	pca, err := FitPCA(ctx, NewPixels(3), PCAOptions{})
	if err != nil || pca.Dim() < 1 {
		t.Errorf("three equal images: %v, %v", pca, err)
	}
	for _, o := range []PCAOptions{{Dim: -1}, {Dim: PixelDim + 1}, {MaxImages: 1}} {
		if _, err := FitPCA(ctx, NewPixels(3), o); !errors.Is(err, ErrOption) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	rng := rand.New(rand.NewPCG(6, 6))
	if pca, err = FitPCA(ctx, shades(rng, 5), PCAOptions{}); err != nil || pca.Dim() > 4 {
		t.Errorf("five images have %d components, %v", pca.Dim(), err)
	}
}

func TestPixelBaselines(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 6))
	gallery, queries := shades(rng, 80), shades(rng, 20)
	g, q := Set{IDs: make([]dataset.ID, 80), Labels: make([]dataset.Label, 80)}, Set{Labels: make([]dataset.Label, 20)}
	label := func(i, n int) dataset.Label { return []dataset.Label{"dark", "light"}[i*2/n] }
	for i := range 80 {
		g.IDs[i], g.Labels[i] = dataset.ID(i), label(i, 80)
	}
	for i := range 20 {
		q.Labels[i] = label(i, 20)
	}
	report := &Report{}
	if err := report.AddPixelBaselines(context.Background(), queries, gallery, q, g, Options{K: []int{1, 10}}); err != nil {
		t.Fatal(err)
	}
	if len(report.Baselines) != 3 || report.Baselines[0].Name != "raw pixels" || report.Baselines[0].Dim != PixelDim {
		t.Fatalf("%+v", report.Baselines)
	}
	for _, b := range report.Baselines[:1] {
		if b.Purity[10] < .9 || b.KNNAccuracy < .9 {
			t.Errorf("%s: %+v", b.Name, b.Scores)
		}
	}
	// The same pixels as a set of floats give the same scores.
	center := mean(pixelRows{pixels: gallery})
	dense := func(p *Pixels, s Set) Set {
		s.Dim = PixelDim
		s.Embeddings = pixelRows{pixels: p, center: center}.block(0, p.Len(), make([]float32, p.Len()*PixelDim))
		return s
	}
	want, err := Evaluate(context.Background(), dense(queries, q), dense(gallery, g), Options{K: []int{1, 10}})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(want.Scores, report.Baselines[0].Scores) {
		t.Errorf("as floats %+v, as bytes %+v", want.Scores, report.Baselines[0].Scores)
	}
	// Also where some have no label, and where the queries are of the gallery.
	g.Labels[3], g.Labels[40] = "", ""
	got, err := RawPixels(context.Background(), gallery, gallery, g, g, Options{K: []int{1, 10}, LeaveOneOut: true})
	if err != nil {
		t.Fatal(err)
	}
	want, err = Evaluate(context.Background(), dense(gallery, g), dense(gallery, g), Options{K: []int{1, 10}, LeaveOneOut: true})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(want, got) {
		t.Errorf("as floats %+v, as bytes %+v", want, got)
	}
	if _, err := RawPixels(context.Background(), queries, gallery, g, g, Options{}); !errors.Is(err, ErrSet) {
		t.Errorf("labels of something else: %v", err)
	}
}
