package training

import (
	"math"

	"imgsearch/internal/kernel"
)

// columns is what the losses that compare dimensions over the batch work in: anchors and positives, a view each, are
// matrices [groups, dim] whose columns are centred.
type columns[T kernel.Float] struct {
	groups, dim, threads int

	centered []T       // [2, groups, dim]
	variance []float64 // [2, dim], the mean square of a centred column
	matrix   []T       // [dim, dim], covariances or correlations
	slope    []T       // [dim, dim], the derivative of the loss by them
	sums     []float64 // one for each row or column of a matrix at hand
}

func newColumns[T kernel.Float](groups, dim, threads int) *columns[T] {
	return &columns[T]{
		groups: groups, dim: dim, threads: threads,
		centered: make([]T, 2*groups*dim), variance: make([]float64, 2*dim),
		matrix: make([]T, dim*dim), slope: make([]T, dim*dim), sums: make([]float64, max(groups, 2*dim)),
	}
}

// columnBlock is the number of columns that are worked on together: their values in a row share a cache line.
const columnBlock = 16

// center fills centered and variance from embeddings [2*groups, dim].
func (c *columns[T]) center(e []T) {
	blocks := (c.dim + columnBlock - 1) / columnBlock
	kernel.ParallelPieces(c.threads, 2*blocks, 1, func(_, from, to int) {
		for b := from; b < to; b++ {
			view, first := b/blocks, b%blocks*columnBlock
			width := min(columnBlock, c.dim-first)
			var mean [columnBlock]float64
			for i := range c.groups {
				for j, v := range e[(view*c.groups+i)*c.dim+first:][:width] {
					mean[j&(columnBlock-1)] += float64(v)
				}
			}
			for j := range mean {
				mean[j] /= float64(c.groups)
			}
			var square [columnBlock]float64
			for i := range c.groups {
				at := (view*c.groups+i)*c.dim + first
				y := c.centered[at:][:width]
				for j, v := range e[at:][:width] {
					d := float64(v) - mean[j&(columnBlock-1)]
					y[j] = T(d)
					square[j&(columnBlock-1)] += d * d
				}
			}
			for j := range width {
				c.variance[view*c.dim+first+j] = square[j] / float64(c.groups)
			}
		}
	})
}

// view returns the part of x [2, groups, dim] that belongs to anchors, 0, or positives, 1.
func (c *columns[T]) view(x []T, i int) []T { return x[i*c.groups*c.dim:][:c.groups*c.dim] }

// total returns the sum of sums over count indices, fn telling each.
func (c *columns[T]) total(count int, fn func(i int) float64) float64 {
	sums := c.sums[:count]
	kernel.Parallel(c.threads, count, func(i int) { sums[i] = fn(i) })
	var total float64
	for _, v := range sums {
		total += v
	}
	return total
}

// sumSquares returns the sum of the squares of x.
func sumSquares[T kernel.Float](x []T) float64 {
	var s0, s1, s2, s3 float64
	for len(x) >= 4 {
		v0, v1, v2, v3 := float64(x[0]), float64(x[1]), float64(x[2]), float64(x[3])
		s0, s1, s2, s3 = s0+v0*v0, s1+v1*v1, s2+v2*v2, s3+v3*v3
		x = x[4:]
	}
	for _, v := range x {
		s0 += float64(v) * float64(v)
	}
	return s0 + s1 + (s2 + s3)
}

// vicRegEpsilon is what LossVICReg adds to a variance, and barlowEpsilon what LossBarlowTwins does.
const (
	vicRegEpsilon = 1e-4
	barlowEpsilon = 1e-5
)

// vicReg is LossVICReg.
func (s *scorer[T]) vicReg(e []T) scores {
	c, w := s.columns, s.options.Weights.factors()
	n, dim := c.groups, c.dim
	c.center(e)
	var variance, covariance float64
	for v := range 2 {
		y := c.view(c.centered, v)
		kernel.GemmParallel(c.threads, true, false, dim, dim, n, T(1/float64(n-1)), y, dim, y, dim, 0, c.matrix, dim)
		// matrix becomes what y is multiplied by to be the derivative of both terms by the embeddings. That has a mean of 0 in
		// each column, as y has: what the means depend on needs no more.
		slope := 4 * w.Covariance / float64(dim*(n-1))
		covariance += c.total(dim, func(i int) float64 {
			row := c.matrix[i*dim:][:dim]
			row[i] = 0
			sum := sumSquares(row)
			kernel.Scale(T(slope), row)
			return sum
		})
		for i, x := range c.variance[v*dim:][:dim] {
			deviation := math.Sqrt(x*float64(n)/float64(n-1) + vicRegEpsilon)
			variance += max(1-deviation, 0)
			if deviation < 1 {
				c.matrix[i*dim+i] = T(-w.Variance / (2 * float64(dim*(n-1)) * deviation))
			}
		}
		kernel.GemmParallel(c.threads, false, false, n, dim, dim, 1, y, dim, c.matrix, dim, 0, c.view(s.gradient, v), dim)
	}
	slope := 2 * w.Invariance / float64(n*dim)
	invariance := c.total(n, func(i int) float64 {
		a, p := e[i*dim:][:dim], e[(n+i)*dim:][:dim]
		ga, gp := s.gradient[i*dim:][:dim], s.gradient[(n+i)*dim:][:dim]
		var sum float64
		for j, v := range a {
			d := float64(v) - float64(p[j])
			sum += d * d
			ga[j] += T(slope * d)
			gp[j] -= T(slope * d)
		}
		return sum
	})
	s.measure(e, nil)
	out := s.summary()
	out.loss = (w.Invariance*invariance/float64(n) + w.Variance*variance/2 + w.Covariance*covariance) / float64(dim)
	return out
}

// barlowTwins is LossBarlowTwins.
func (s *scorer[T]) barlowTwins(e []T) scores {
	c, w := s.columns, s.options.Weights.factors()
	n, dim := c.groups, c.dim
	c.center(e)
	for i, v := range c.variance {
		c.variance[i] = 1 / math.Sqrt(v+barlowEpsilon)
	}
	kernel.Parallel(c.threads, 2*n, func(i int) {
		y := c.centered[i*dim:][:dim]
		for j, v := range c.variance[i/n*dim:][:dim] {
			y[j] = T(float64(y[j]) * v)
		}
	})
	a, p := c.view(c.centered, 0), c.view(c.centered, 1)
	kernel.GemmParallel(c.threads, true, false, dim, dim, n, T(1/float64(n)), a, dim, p, dim, 0, c.matrix, dim)
	loss := c.total(dim, func(i int) float64 {
		row, slope := c.matrix[i*dim:][:dim], c.slope[i*dim:][:dim]
		copy(slope, row)
		slope[i] = 0
		sum := w.Redundancy * sumSquares(slope)
		kernel.Scale(T(2*w.Redundancy/float64(dim)), slope)
		miss := 1 - float64(row[i])
		slope[i] = T(-2 * miss / float64(dim))
		return sum + miss*miss
	})
	// The derivatives by the standardised columns, over n.
	ga, gp := c.view(s.gradient, 0), c.view(s.gradient, 1)
	kernel.GemmParallel(c.threads, false, true, n, dim, dim, T(1/float64(n)), p, dim, c.slope, dim, 0, ga, dim)
	kernel.GemmParallel(c.threads, false, false, n, dim, dim, T(1/float64(n)), a, dim, c.slope, dim, 0, gp, dim)
	// along: how they change with the length of a column, over n: the sums of slope times matrix along rows and columns.
	along := c.sums[:2*dim]
	clear(along)
	for i := range dim {
		row := c.matrix[i*dim:][:dim]
		var sum float64
		for j, v := range c.slope[i*dim:][:dim] {
			x := float64(v) * float64(row[j]) / float64(n)
			sum += x
			along[dim+j] += x
		}
		along[i] = sum
	}
	kernel.Parallel(c.threads, 2*n, func(i int) {
		v := i / n * dim
		scale, along := c.variance[v:][:dim], along[v:][:dim]
		g := s.gradient[i*dim:][:dim]
		for j, y := range c.centered[i*dim:][:dim] {
			g[j] = T((float64(g[j]) - float64(y)*along[j]) * scale[j])
		}
	})
	s.measure(e, nil)
	out := s.summary()
	out.loss = loss / float64(dim)
	return out
}
