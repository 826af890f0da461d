package training

import (
	"math"

	"imgsearch/internal/kernel"
)

// matrix is a parameter [rows, cols] whose updates Muon orthogonalises.
//
// With X the update, divided by its Frobenius norm, an iteration sets X to p(X X') X with the polynomial
// p(A) = a*1 + b*A + c*A*A. All that becomes of X is thus a polynomial Q of the first X X' times the first X, and where X
// has many more columns than rows, as convolutions have, it is cheaper to iterate on Q and on what X X' becomes, which
// are rows by rows, than on X. With more rows than columns it is X X' for X transposed.
type matrix[T kernel.Float] struct {
	parameter  *parameter[T]
	tasks      []solverTask[T]
	rows, cols int
	side       int // the lesser of the two
	update     []T // [rows, cols], shared by all matrices

	gram, square, factor, product, spare []T // [side, side]
}

// newtonSchulz is a, b and c of Jordan's polynomial: it is steep at 0 and takes singular values to somewhere between
// 0.7 and 1.2.
var newtonSchulz = [3]float64{3.4445, -4.7750, 2.0315}

func newMatrix[T kernel.Float](p *parameter[T], tasks []solverTask[T]) *matrix[T] {
	m := &matrix[T]{parameter: p, tasks: tasks, rows: p.shape[0], cols: p.len() / p.shape[0]}
	m.side = min(m.rows, m.cols)
	for _, x := range []*[]T{&m.gram, &m.square, &m.factor, &m.product, &m.spare} {
		*x = make([]T, m.side*m.side)
	}
	return m
}

// updateMatrix makes the step of a matrix.
func (s *solver[T]) updateMatrix(m *matrix[T]) {
	p := m.parameter
	s.each(m.tasks, p.len(), func(t *solverTask[T], scratch []T) {
		update := m.update[t.from:t.to]
		clear(update)
		if s.momentum == 0 {
			kernel.Add(s.gradient(t, scratch), update)
		} else {
			kernel.SGD(update, p.velocity[t.from:t.to], s.gradient(t, scratch), -1, T(s.momentum), 0, s.nesterov)
		}
	})
	keep := T(1 - s.rate*s.weightDecay)
	norm := m.orthogonalise(s.options.Iterations, s.threads)
	if norm == 0 {
		kernel.Scale(keep, p.data)
		return
	}
	scale := math.Sqrt(max(1, float64(m.rows)/float64(m.cols)))
	alpha := -T(s.rate * scale / norm)
	if m.rows <= m.cols {
		kernel.GemmParallel(s.threads, false, false, m.rows, m.cols, m.rows, alpha, m.factor, m.rows, m.update, m.cols, keep, p.data, m.cols)
	} else {
		kernel.GemmParallel(s.threads, false, false, m.rows, m.cols, m.cols, alpha, m.update, m.cols, m.factor, m.cols, keep, p.data, m.cols)
	}
}

// orthogonalise sets the factor that update is to be multiplied by once it is divided by its norm, which is returned.
func (m *matrix[T]) orthogonalise(iterations, threads int) (norm float64) {
	n := m.side
	if m.rows <= m.cols {
		kernel.GemmParallel(threads, false, true, n, n, m.cols, 1, m.update, m.cols, m.update, m.cols, 0, m.gram, n)
	} else {
		kernel.GemmParallel(threads, true, false, n, n, m.rows, 1, m.update, m.cols, m.update, m.cols, 0, m.gram, n)
	}
	var trace float64
	for i := range n {
		trace += float64(m.gram[i*n+i])
	}
	if !(trace > 0) {
		return 0
	}
	kernel.Scale(T(1/trace), m.gram)
	multiply := func(x, y, product []T) {
		kernel.GemmParallel(threads, false, false, n, n, n, 1, x, n, y, n, 0, product, n)
	}
	a, b, c := T(newtonSchulz[0]), T(newtonSchulz[1]), T(newtonSchulz[2])
	for i := range iterations {
		// The polynomial of X X', in square.
		multiply(m.gram, m.gram, m.square)
		kernel.Scale(c, m.square)
		kernel.Axpy(b, m.gram, m.square)
		for j := range n {
			m.square[j*n+j] += a
		}
		if i == 0 {
			copy(m.factor, m.square)
		} else {
			multiply(m.square, m.factor, m.product)
			m.factor, m.product = m.product, m.factor
		}
		if i < iterations-1 {
			multiply(m.square, m.gram, m.product)
			multiply(m.product, m.square, m.spare)
			m.gram, m.spare = m.spare, m.gram
		}
	}
	return math.Sqrt(trace)
}
