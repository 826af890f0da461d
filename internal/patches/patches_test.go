package patches

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"imgsearch/internal/kernel"
)

// blobs are images of soft spots of colour, so that neighbouring pixels are alike.
func blobs(rng *rand.Rand, n, side int) Images {
	m := Images{make([]uint8, n*3*side*side), side}
	for i := range n {
		image := m.image(i)
		base := rng.Float64() * 200
		for range 4 {
			cx, cy, r := rng.Float64()*float64(side), rng.Float64()*float64(side), 1+rng.Float64()*3
			colour := [3]float64{rng.Float64() * 150, rng.Float64() * 150, rng.Float64() * 150}
			for at := range side * side {
				dx, dy := float64(at%side)-cx, float64(at/side)-cy
				w := math.Exp(-(dx*dx + dy*dy) / (r * r))
				for c := range 3 {
					image[at*3+c] = uint8(min(255, float64(image[at*3+c])+w*colour[c]+base/40+2*rng.Float64()))
				}
			}
		}
	}
	return m
}

func mirrored(m Images) Images {
	out := Images{slices.Clone(m.Pix), m.Side}
	for i := range m.Len() {
		for p := range m.Side * m.Side {
			y, x := p/m.Side, p%m.Side
			copy(out.image(i)[p*3:][:3], m.image(i)[(y*m.Side+m.Side-1-x)*3:])
		}
	}
	return out
}

func small(o Options) Options {
	o.PatchSide, o.Atoms, o.Rounds, o.Components = 4, 40, 2, 6
	return o
}

func fit(t *testing.T, m Images, o Options) *Features {
	t.Helper()
	f, err := Fit(context.Background(), m, o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func extract(t *testing.T, f *Features, m Images) []float32 {
	t.Helper()
	out, err := f.Extract(context.Background(), m)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func near(a, b, tolerance float64) bool { return math.Abs(a-b) <= tolerance*(1+math.Abs(b)) }

// naivePatch is patch p of an image in float64: less its mean, over its contrast, whitened, of length one if asked for.
func naivePatch(f *Features, image []uint8, p int, mirror, unit bool) []float64 {
	l := f.coder.lattice
	x := make([]float64, 0, l.dim)
	sum, squares := 0.0, 0.0
	for y := range l.patch {
		for c := range l.patch {
			row, col := p/l.across*l.stride+y, p%l.across*l.stride+c
			if mirror {
				col = l.side - 1 - col
			}
			for k := range 3 {
				v := float64(image[(row*l.side+col)*3+k])
				x = append(x, v)
				sum += v
			}
		}
	}
	for i := range x {
		x[i] -= sum / float64(l.dim)
		squares += x[i] * x[i]
	}
	out := make([]float64, l.dim)
	length := 0.0
	for j := range out {
		for i := range x {
			centred := x[i]/math.Sqrt(squares/float64(l.dim)+contrastFloor) - float64(f.coder.whitening.mean[i])
			out[j] += centred * float64(f.coder.whitening.matrix[i*l.dim+j])
		}
		length += out[j] * out[j]
	}
	if unit {
		for j := range out {
			out[j] /= math.Sqrt(length)
		}
	}
	return out
}

func TestSparseCodes(t *testing.T) {
	m := blobs(rand.New(rand.NewPCG(1, 1)), 30, 12)
	for _, coding := range []Coding{Binary, Cosine} {
		for _, mirror := range []bool{false, true} {
			o := small(Options{Method: Dictionary, Coding: coding, Threshold: .85})
			o.Atoms = atomsAtOnce + 20 // in two parts
			f := fit(t, m, o)
			s := f.coder.newScratch()
			alone := 0
			for i := range 5 {
				found := f.coder.sparse(m.image(i), mirror, s)
				for p := range f.coder.patches() {
					x := naivePatch(f, m.image(i), p, mirror, true)
					want := make([]float64, o.Atoms)
					best, bestAt, sum, close := -2.0, 0, 0.0, false
					for a := range want {
						cos := 0.0
						for j, v := range f.coder.dictionary.atoms[a*f.coder.dim:][:f.coder.dim] {
							cos += float64(v) * x[j]
						}
						close = close || math.Abs(cos-o.Threshold) < 1e-5
						if cos > best {
							best, bestAt = cos, a
						}
						if cos >= o.Threshold {
							want[a] = 1
							if coding == Cosine {
								want[a] = cos - o.Threshold + 1e-3
							}
							sum += want[a]
						}
					}
					if close {
						continue
					}
					if sum == 0 {
						want[bestAt], sum = 1, 1
						alone++
					}
					last := int32(-1)
					for e := found.start[p]; e < found.start[p+1]; e++ {
						a := found.atoms[e]
						if a <= last {
							t.Fatalf("atom %d after %d", a, last)
						}
						last = a
						if !near(float64(found.values[e]), want[a]/sum, 1e-3) {
							t.Fatalf("%s, patch %d, atom %d: %v, want %v", coding, p, a, found.values[e], want[a]/sum)
						}
						want[a] = 0
					}
					if left := slices.Max(want); left > 0 {
						t.Fatalf("%s, patch %d: a code of %v is missing", coding, p, left/sum)
					}
				}
			}
			if alone == 0 {
				t.Error("no patch was without an atom above the threshold: the test tests less than it should")
			}
		}
	}
}

func TestTriangleCodes(t *testing.T) {
	m := blobs(rand.New(rand.NewPCG(2, 1)), 30, 12)
	f := fit(t, m, small(Options{Method: Dictionary}))
	s := f.coder.newScratch()
	found := f.coder.triangle(m.image(3), true, f.lengths, s)
	for p := range f.coder.patches() {
		x := naivePatch(f, m.image(3), p, true, false)
		distances := make([]float64, f.options.Atoms)
		mean := 0.0
		for a := range distances {
			for j, v := range f.coder.dictionary.atoms[a*f.coder.dim:][:f.coder.dim] {
				distances[a] += (float64(v) - x[j]) * (float64(v) - x[j])
			}
			distances[a] = math.Sqrt(distances[a])
			mean += distances[a] / float64(len(distances))
		}
		for a, d := range distances {
			if got := found[p*len(distances)+a]; !near(float64(got), max(0, mean-d), 1e-4) {
				t.Fatalf("patch %d, atom %d: %v, want %v", p, a, got, max(0, mean-d))
			}
		}
	}
}

func TestStatistics(t *testing.T) {
	m := blobs(rand.New(rand.NewPCG(3, 1)), imagesAtOnce+7, 12)
	f := fit(t, m, small(Options{Method: Dictionary, Coding: Cosine}))
	n, across := f.options.Atoms, f.coder.across
	for _, size := range []int{across, 2, 3} {
		got, err := gather(context.Background(), &f.coder, m, size, 3, func(int, int) {})
		if err != nil {
			t.Fatal(err)
		}
		within, between := make([]float64, n*n), make([]float64, n*n)
		windows := 0
		s := f.coder.newScratch()
		for i := range m.Len() {
			found := f.coder.sparse(m.image(i), false, s)
			dense := make([]float64, across*across*n)
			for p := range across * across {
				for e := found.start[p]; e < found.start[p+1]; e++ {
					dense[p*n+int(found.atoms[e])] = float64(found.values[e])
				}
				addProducts(within, dense[p*n:][:n], 1)
			}
			step := max(1, size/2)
			for top := 0; top <= across-size; top = nextStart(top, step, across-size) {
				for left := 0; left <= across-size; left = nextStart(left, step, across-size) {
					sum := make([]float64, n)
					for y := range size {
						for x := range size {
							for a, v := range dense[((top+y)*across+left+x)*n:][:n] {
								sum[a] += v / float64(size*size)
							}
						}
					}
					addProducts(between, sum, 1)
					windows++
				}
			}
		}
		if got.windows != windows || got.patches != m.Len()*across*across {
			t.Fatalf("%d windows of %d patches, want %d of %d", got.windows, got.patches, windows, m.Len()*across*across)
		}
		for i := range n {
			for j := range n {
				if j >= i && !near(float64(got.within[i*n+j]), within[i*n+j], 1e-4) {
					t.Fatalf("within %d, %d: %v, want %v", i, j, got.within[i*n+j], within[i*n+j])
				}
				if !near(float64(got.between[i*n+j]), between[i*n+j], 1e-4) {
					t.Fatalf("between %d, %d: %v, want %v", i, j, got.between[i*n+j], between[i*n+j])
				}
			}
		}
	}
}

// nextStart is the start of the next window: a step on, the last one at the edge.
func nextStart(at, step, last int) int {
	if at == last {
		return last + 1
	}
	return min(at+step, last)
}

func addProducts(sum, x []float64, scale float64) {
	for i, v := range x {
		for j, w := range x {
			sum[i*len(x)+j] += scale * v * w
		}
	}
}

// TestComponents holds the components to what defines them, over the codes themselves: not correlated, and no other
// direction varies more between images.
func TestComponents(t *testing.T) {
	m := blobs(rand.New(rand.NewPCG(4, 1)), 200, 12)
	o := small(Options{Ridge: 1e-4})
	o.Components = 10
	f := fit(t, m, o)
	k, n := o.Components, o.Atoms
	s := f.coder.newScratch()
	within, between := make([]float64, k*k), make([]float64, k*k)
	other := make([]float64, n) // some other direction
	rng := rand.New(rand.NewPCG(9, 9))
	for i := range other {
		other[i] = rng.NormFloat64()
	}
	var otherValues, otherMeans []float64
	for i := range m.Len() {
		found := f.coder.sparse(m.image(i), false, s)
		mean := make([]float64, k)
		otherMean := 0.0
		for p := range f.coder.patches() {
			x := make([]float64, k)
			for c := range x {
				x[c] = -float64(f.manifold.offset[c])
			}
			v := 0.0
			for e := found.start[p]; e < found.start[p+1]; e++ {
				for c := range x {
					x[c] += float64(found.values[e]) * float64(f.manifold.atoms[int(found.atoms[e])*k+c])
				}
				v += float64(found.values[e]) * other[found.atoms[e]]
			}
			addProducts(within, x, 1/float64(m.Len()*f.coder.patches()))
			for c := range x {
				mean[c] += x[c] / float64(f.coder.patches())
			}
			otherValues = append(otherValues, v)
			otherMean += v / float64(f.coder.patches())
		}
		addProducts(between, mean, 1/float64(m.Len()))
		otherMeans = append(otherMeans, otherMean)
	}
	for i := range k {
		for j := range k {
			want, wantBetween := 0.0, 0.0
			if i == j {
				want, wantBetween = 1, f.manifold.values[i]
			}
			// The ridge keeps the variance a little below one.
			if math.Abs(within[i*k+j]-want) > .01 || math.Abs(between[i*k+j]-wantBetween) > .01 {
				t.Fatalf("components %d and %d: covariance %v, between images %v; want %v and %v", i, j, within[i*k+j], between[i*k+j], want, wantBetween)
			}
		}
	}
	if !slices.IsSortedFunc(f.manifold.values, func(a, b float64) int { return int(math.Copysign(1, b-a)) }) {
		t.Errorf("shares of variance do not fall: %v", f.manifold.values)
	}
	if share := variance(otherMeans) / variance(otherValues); share >= f.manifold.values[0] {
		t.Errorf("a random direction has %v of its variance between images, the first component %v", share, f.manifold.values[0])
	}
}

func variance(x []float64) float64 {
	mean, sum := 0.0, 0.0
	for _, v := range x {
		mean += v / float64(len(x))
	}
	for _, v := range x {
		sum += (v - mean) * (v - mean) / float64(len(x))
	}
	return sum
}

func TestFeatures(t *testing.T) {
	m := blobs(rand.New(rand.NewPCG(5, 1)), 40, 12)
	for _, o := range []Options{
		{}, {Coding: Cosine, Mirror: true}, {Method: Dictionary}, {Method: Dictionary, Coding: Binary, Mirror: true},
	} {
		o = small(o)
		o.Grid = 2
		f := fit(t, m, o)
		got := extract(t, f, m)
		if len(got) != m.Len()*f.Dim() {
			t.Fatalf("%d values", len(got))
		}
		// The naive sum over patches of image 7.
		want := make([]float64, f.Dim())
		s := f.coder.newScratch()
		width := f.Dim() / 4
		for _, mirror := range []bool{false, true} {
			if mirror && !o.Mirror {
				continue
			}
			for p := range f.coder.patches() {
				row, col := p/f.coder.across, p%f.coder.across
				cell := row*2/f.coder.across*2 + col*2/f.coder.across
				to := want[cell*width:][:width]
				if f.lengths != nil {
					for a, v := range f.coder.triangle(m.image(7), mirror, f.lengths, s)[p*width:][:width] {
						to[a] += float64(v)
					}
					continue
				}
				found := f.coder.sparse(m.image(7), mirror, s)
				place := make([]float64, width)
				for e := found.start[p]; e < found.start[p+1]; e++ {
					if f.manifold == nil {
						place[found.atoms[e]] += float64(found.values[e])
						continue
					}
					for c := range place {
						place[c] += float64(found.values[e]) * float64(f.manifold.atoms[int(found.atoms[e])*width+c])
					}
				}
				length := 1.0
				if f.manifold != nil {
					length = 0
					for c := range place {
						place[c] -= float64(f.manifold.offset[c])
						length += place[c] * place[c]
					}
				}
				for c, v := range place {
					to[c] += v / math.Sqrt(length)
				}
			}
		}
		for i, v := range want {
			v -= float64(f.mean[i])
			if f.scale != nil {
				v *= float64(f.scale[i])
			}
			if g := float64(got[7*f.Dim()+i]); !near(g, v, 2e-3) {
				t.Fatalf("%+v: value %d is %v, want %v", o, i, g, v)
			}
		}
		for i, v := range columnMeans(got, f.Dim()) {
			if math.Abs(float64(v)) > 1e-3 {
				t.Fatalf("%+v: the mean of value %d is %v", o, i, v)
			}
			squares := 0.0
			for r := range m.Len() {
				squares += float64(got[r*f.Dim()+i]) * float64(got[r*f.Dim()+i]) / float64(m.Len())
			}
			if f.scale != nil && f.scale[i] > 0 && !near(squares, 1, 1e-3) {
				t.Fatalf("%+v: the variance of value %d is %v", o, i, squares)
			}
		}
		if o.Mirror {
			for i, v := range extract(t, f, mirrored(m)) {
				if !near(float64(v), float64(got[i]), 1e-3) {
					t.Fatalf("%+v: the mirror image has other features", o)
				}
			}
		}
	}
}

// TestReproducible: neither threads nor what else is in a batch change a bit; a seed does.
func TestReproducible(t *testing.T) {
	m := blobs(rand.New(rand.NewPCG(6, 1)), imagesAtOnce+30, 12)
	for _, o := range []Options{{}, {Method: Dictionary}, {Context: 3, Coding: Cosine}} {
		o = small(o)
		o.Atoms = 120
		o.Threads = 1
		want := extract(t, fit(t, m, o), m)
		for _, threads := range []int{2, 3, 0} {
			o.Threads = threads
			f := fit(t, m, o)
			if got := extract(t, f, m); !slices.Equal(got, want) {
				t.Fatalf("%+v: other features with %d threads", o, threads)
			}
			alone := extract(t, f, Images{m.image(140), m.Side})
			if !slices.Equal(alone, want[140*f.Dim():][:f.Dim()]) {
				t.Fatalf("%+v: an image alone has other features", o)
			}
		}
		o.Seed = 5
		if slices.Equal(extract(t, fit(t, m, o), m), want) {
			t.Errorf("%+v: the seed changes nothing", o)
		}
	}
}

func TestOptions(t *testing.T) {
	m := blobs(rand.New(rand.NewPCG(7, 1)), 20, 12)
	for _, o := range []Options{
		{Method: "x"}, {Coding: "x"}, {Coding: Triangle}, {PatchSide: 13}, {PatchSide: 1}, {Stride: -1}, {Atoms: 1}, {Atoms: 1 << 20},
		{Smoothing: -1}, {Smoothing: math.NaN()}, {Threshold: 1}, {Components: 2048}, {Components: -1}, {Ridge: -1}, {Ridge: 1e-9},
		{Context: -1}, {Grid: 5}, {Grid: -1}, {FitImages: -1},
	} {
		if _, err := Fit(context.Background(), m, o); !errors.Is(err, ErrOption) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if _, err := Fit(context.Background(), Images{m.Pix[:12*12*3], 12}, small(Options{})); !errors.Is(err, ErrImages) {
		t.Errorf("one image: %v", err)
	}
	if _, err := Fit(context.Background(), Images{m.Pix[1:], 12}, small(Options{})); !errors.Is(err, ErrImages) {
		t.Errorf("a piece of an image: %v", err)
	}
	f := fit(t, m, small(Options{}))
	if _, err := f.Extract(context.Background(), blobs(rand.New(rand.NewPCG(1, 1)), 2, 14)); !errors.Is(err, ErrImages) {
		t.Errorf("another size: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Fit(ctx, m, small(Options{})); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := f.Extract(ctx, m); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestFewImages: images that fill fewer directions than there are components still have features that are numbers.
func TestFewImages(t *testing.T) {
	m := blobs(rand.New(rand.NewPCG(14, 1)), 5, 16)
	for _, atoms := range []int{300, 1000} {
		f := fit(t, m, Options{Atoms: atoms, Components: 200})
		for _, v := range extract(t, f, m) {
			if v-v != 0 {
				t.Fatalf("%d atoms: features hold %v", atoms, v)
			}
		}
		if f.manifold.values[0] > 1 || f.manifold.values[0] < .1 || f.manifold.values[100] > 1e-3 {
			t.Errorf("%d atoms: shares of variance %v", atoms, f.manifold.values)
		}
	}
}

// TestEvenImages: images without any contrast still have features that are numbers.
func TestEvenImages(t *testing.T) {
	m := Images{make([]uint8, 10*12*12*3), 12}
	for i := range m.Pix {
		m.Pix[i] = uint8(i / (12 * 12 * 3) * 20)
	}
	for _, o := range []Options{{}, {Method: Dictionary}, {Coding: Cosine}} {
		for _, v := range extract(t, fit(t, m, small(o)), m) {
			if v-v != 0 {
				t.Fatalf("%+v: features hold %v", o, v)
			}
		}
	}
}

func TestCompact(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 1))
	const n, from, dim = 300, 20, 3
	features := make([]float32, n*from)
	for i := range n {
		for j := range from {
			features[i*from+j] = float32(rng.NormFloat64()*.1 + float64(j))
		}
		features[i*from+4] += float32(9 * rng.NormFloat64())
		features[i*from+11] += float32(4 * rng.NormFloat64())
		features[i*from+2] += float32(2 * rng.NormFloat64())
	}
	c, err := FitCompact(context.Background(), features, from, dim, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, whiten := range []float64{0, .5, 1} {
		out := c.Project(features, whiten, 0)
		for k, deviation := range []float64{9, 4, 2} {
			var column []float64
			for i := range n {
				column = append(column, float64(out[i*dim+k]))
			}
			if got := math.Sqrt(variance(column)); !near(got, math.Pow(deviation, 1-whiten), .15) {
				t.Errorf("whiten %v, component %d: deviation %v, want about %v", whiten, k, got, math.Pow(deviation, 1-whiten))
			}
		}
	}
	for _, bad := range []int{0, 21} {
		if _, err := FitCompact(context.Background(), features, from, bad, 1, 0); !errors.Is(err, ErrOption) {
			t.Errorf("dim %d: %v", bad, err)
		}
	}
}

func TestInverseCholesky(t *testing.T) {
	rng := rand.New(rand.NewPCG(10, 1))
	for _, n := range []int{1, 2, choleskyBlock - 1, choleskyBlock, choleskyBlock + 1, 3*choleskyBlock + 5} {
		half := make([]float32, n*n)
		for i := range half {
			half[i] = float32(rng.NormFloat64())
		}
		a := make([]float32, n*n)
		kernel.Gemm(false, true, n, n, n, 1/float32(n), half, n, half, n, 0, a, n)
		for i := range n {
			a[i*n+i] += .1
		}
		w, err := inverseCholesky(slices.Clone(a), n, 2)
		if err != nil {
			t.Fatal(err)
		}
		product, identity := make([]float32, n*n), make([]float32, n*n)
		kernel.Gemm(false, false, n, n, n, 1, w, n, a, n, 0, product, n)
		kernel.Gemm(false, true, n, n, n, 1, product, n, w, n, 0, identity, n)
		for i, v := range identity {
			want := 0.0
			if i/n == i%n {
				want = 1
			}
			if math.Abs(float64(v)-want) > 1e-4 || i%n > i/n && w[i] != 0 {
				t.Fatalf("n %d: element %d of the identity is %v, of the factor's inverse %v", n, i, v, w[i])
			}
		}
		a[n*n-1] = -1
		if _, err := inverseCholesky(a, n, 2); !errors.Is(err, errIndefinite) {
			t.Errorf("n %d: %v", n, err)
		}
	}
}

func TestLeading(t *testing.T) {
	const n, k = 60, 5
	rng := rand.New(rand.NewPCG(11, 1))
	x := make([]float32, n*n)
	for i := range x {
		x[i] = float32(rng.NormFloat64() * math.Pow(.8, float64(i/n)))
	}
	a := make([]float32, n*n)
	kernel.Gemm(true, false, n, n, n, 1, x, n, x, n, 0, a, n)
	wantValues, want, err := symmetricEigen(a, n)
	if err != nil {
		t.Fatal(err)
	}
	vectors, values, err := leading(context.Background(), n, k, 3, 2, func(x, out []float32) {
		kernel.Gemm(false, false, len(x)/n, n, n, 1, x, n, a, n, 0, out, n)
	}, func(int, int) {})
	if err != nil {
		t.Fatal(err)
	}
	for i := range k {
		cos := float64(kernel.Dot(vectors[i*n:][:n], want[i*n:][:n]))
		if !near(values[i], wantValues[i], 1e-4) || math.Abs(math.Abs(cos)-1) > 1e-3 {
			t.Errorf("vector %d: value %v, want %v; cosine %v", i, values[i], wantValues[i], cos)
		}
	}
}

// TestWhitening: the matrix squared is the inverse of the covariance with its floor.
func TestWhitening(t *testing.T) {
	const n, dim, smoothing = 5000, 7, .05
	rng := rand.New(rand.NewPCG(12, 1))
	rows := make([]float32, n*dim)
	for i := range n {
		common := rng.NormFloat64()
		for j := range dim {
			rows[i*dim+j] = float32(rng.NormFloat64()*float64(j+1) + 3*common + float64(j))
		}
	}
	w, err := fitWhitening(rows, dim, smoothing, 2)
	if err != nil {
		t.Fatal(err)
	}
	covariance := make([]float64, dim*dim)
	trace := 0.0
	for i := range n {
		x := make([]float64, dim)
		for j := range x {
			x[j] = float64(rows[i*dim+j] - w.mean[j])
		}
		addProducts(covariance, x, 1.0/n)
	}
	for j := range dim {
		trace += covariance[j*dim+j]
	}
	for j := range dim {
		covariance[j*dim+j] += smoothing * trace / dim
	}
	for i := range dim {
		for j := range dim {
			got, want := 0.0, 0.0
			for k := range dim {
				for l := range dim {
					got += float64(w.matrix[i*dim+k]) * covariance[k*dim+l] * float64(w.matrix[l*dim+j])
				}
			}
			if i == j {
				want = 1
			}
			if math.Abs(got-want) > 1e-3 {
				t.Fatalf("element %d, %d is %v", i, j, got)
			}
		}
	}
}

// TestDictionary: k-means finds three heaps, and no atom is lost.
func TestDictionary(t *testing.T) {
	rng := rand.New(rand.NewPCG(13, 1))
	const n, dim = 600, 5
	rows := make([]float32, n*dim)
	for i := range n {
		for j := range dim {
			rows[i*dim+j] = float32(.05 * rng.NormFloat64())
		}
		rows[i*dim+i%3] += 3
	}
	for _, spherical := range []bool{false, true} {
		if spherical {
			for i := range n {
				unit(rows[i*dim:][:dim])
			}
		}
		d, err := fitDictionary(context.Background(), rows, dim, 12, 8, spherical, rng, 2, func(int, int) {})
		if err != nil {
			t.Fatal(err)
		}
		nearest := make([]int32, n)
		d.assign(rows, spherical, nearest, 2)
		worst := 0.0
		for i, at := range nearest {
			best, own := math.Inf(1), 0.0
			for a := range d.n {
				s := 0.0
				for j := range dim {
					e := float64(rows[i*dim+j] - d.atoms[a*dim+j])
					s += e * e
				}
				if s < best {
					best = s
				}
				if a == int(at) {
					own = s
				}
			}
			if own > best+1e-4 {
				t.Fatalf("patch %d: atom at %v, nearest at %v", i, own, best)
			}
			worst = max(worst, best)
		}
		if worst > .2 {
			t.Errorf("spherical %v: a patch is %v from all atoms", spherical, math.Sqrt(worst))
		}
	}
}
