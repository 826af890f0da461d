package training

import (
	"fmt"
	"math"

	"imgsearch/internal/kernel"
)

// EMPOptions says how [LossEMP] weighs its two parts. With Z the embeddings [batch, dim] of one view at length 1, and m the
// mean of an image's embeddings over its views, it is
//
//	-(R + Alignment * D) / dim
//
// R being the mean over the views of the coding rate 1/2 log det(I + dim/(batch*Distortion) Z^T Z), D the mean over all
// embeddings of the cosine of z and m. Full-size views and crops count alike. The division by dim, which is not in the paper,
// keeps learning rates alike for all dims. Time grows with the cube of dim.
type EMPOptions struct {
	// Alignment is the paper's lambda, 0.001 to 1e6; 0 stands for the paper's 200. Higher ones draw views together more and
	// fill the space less.
	Alignment float64 `json:"alignment,omitempty"`
	// Distortion is the paper's epsilon squared, 1e-6 to 1e6; 0 stands for the paper's 0.2. Higher ones overlook finer
	// differences between directions.
	Distortion float64 `json:"distortion,omitempty"`
}

func (o EMPOptions) validate(l Loss) error {
	for _, f := range []struct {
		name             string
		value, low, high float64
	}{{"emp: alignment", o.Alignment, 1e-3, 1e6}, {"emp: distortion", o.Distortion, 1e-6, 1e6}} {
		switch {
		case f.value == 0:
		case l != LossEMP:
			return optionError(f.name, f.value, "0: only the loss emp has it")
		case !(f.value >= f.low && f.value <= f.high): // written so that NaN fails
			return optionError(f.name, f.value, fmt.Sprintf("%v to %v, or 0", f.low, f.high))
		}
	}
	return nil
}

// complete fills in the defaults.
func (o EMPOptions) complete() EMPOptions {
	if o.Alignment == 0 {
		o.Alignment = 200
	}
	if o.Distortion == 0 {
		o.Distortion = 0.2
	}
	return o
}

// emp is LossEMP.
func (s *manyScorer[T]) emp(e []T) scores {
	o := s.options.EMP.complete()
	dim, part := s.dim, s.groups*s.dim
	s.normalize(e)
	s.measure(s.unit, nil)
	out := s.summary()
	factor := float64(dim) / (float64(s.groups) * o.Distortion)
	var rate float64
	for v := range s.views {
		z, grad := s.unit[v*part:][:part], s.unitGrad[v*part:][:part]
		kernel.GemmParallel(s.threads, true, false, dim, dim, s.groups, 1, z, dim, z, dim, 0, s.gram, dim)
		for i, x := range s.gram {
			s.coding[i] = factor * float64(x)
		}
		for i := range dim {
			s.coding[i*dim+i]++
		}
		rate += factorize(s.coding, dim) / float64(s.views)
		kernel.ParallelPieces(s.threads, dim, 8, func(worker, from, to int) {
			for i := from; i < to; i++ {
				inverseRow(s.coding, s.columnsOf[worker], i, s.inverse[i*dim:][:dim])
			}
		})
		kernel.GemmParallel(s.threads, false, false, s.groups, dim, dim, T(-factor/float64(s.views*dim)), z, dim, s.inverse, dim, 0, grad, dim)
	}
	// The sum over an image's views of the cosine with their mean is the length of their sum.
	share := o.Alignment / float64(s.views*s.groups*dim)
	kernel.Parallel(s.threads, s.groups, func(g int) {
		var length float64
		for j := range dim {
			var sum float64
			for v := range s.views {
				sum += float64(s.unit[v*part+g*dim+j])
			}
			length += sum * sum
		}
		length = math.Sqrt(length)
		s.each[g].loss = share * length
		if length == 0 {
			return
		}
		for j := range dim {
			var sum float64
			for v := range s.views {
				sum += float64(s.unit[v*part+g*dim+j])
			}
			for v := range s.views {
				s.unitGrad[v*part+g*dim+j] -= T(share * sum / length)
			}
		}
	})
	out.loss, out.active = -rate/float64(dim), math.NaN()
	for g := range s.groups {
		out.loss -= s.each[g].loss
	}
	s.unnormalize()
	return out
}

// factorize replaces the lower triangle of a symmetric positive definite matrix [n, n] by its Cholesky factor, and returns
// half the logarithm of its determinant. What is not positive definite gives NaN.
func factorize(a []float64, n int) float64 {
	var half float64
	for i := range n {
		row := a[i*n:][:i+1]
		for j := range row {
			other := a[j*n:][:j+1]
			sum := row[j]
			for k, x := range other[:j] {
				sum -= x * row[k]
			}
			if i == j {
				row[j] = math.Sqrt(sum)
				half += math.Log(row[j])
			} else {
				row[j] = sum / other[j]
			}
		}
	}
	return half
}

// inverseRow sets out to row i of the inverse of a matrix [n, n], given its Cholesky factor; x [n] is overwritten.
func inverseRow[T kernel.Float](factor, x []float64, i int, out []T) {
	n := len(x)
	clear(x[:i])
	for r := i; r < n; r++ { // those before are 0
		sum := 0.0
		if r == i {
			sum = 1
		}
		for k, f := range factor[r*n+i : r*n+r] {
			sum -= f * x[i+k]
		}
		x[r] = sum / factor[r*n+r]
	}
	for r := n - 1; r >= 0; r-- {
		x[r] /= factor[r*n+r]
		for k, f := range factor[r*n:][:r] {
			x[k] -= f * x[r]
		}
	}
	for j, v := range x {
		out[j] = T(v)
	}
}
