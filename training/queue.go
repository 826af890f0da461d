package training

import "imgsearch/internal/kernel"

// keyQueue holds the newest rows of those that were added: a ring.
type keyQueue[T kernel.Float] struct {
	capacity, dim int
	data          []T // [capacity, dim]
	next          int // where the next row goes
	count         int // how many rows there are; they are the first ones of data
}

func newKeyQueue[T kernel.Float](capacity, dim int) *keyQueue[T] {
	return &keyQueue[T]{capacity: capacity, dim: dim, data: make([]T, capacity*dim)}
}

// rows returns the rows, [count, dim], in no order that matters to anybody but rounding.
func (q *keyQueue[T]) rows() []T { return q.data[:q.count*q.dim] }

// add puts rows in the place of the oldest ones.
func (q *keyQueue[T]) add(rows []T) {
	for from := 0; from < len(rows); from += q.dim {
		copy(q.data[q.next*q.dim:][:q.dim], rows[from:])
		q.next = (q.next + 1) % q.capacity
		q.count = min(q.count+1, q.capacity)
	}
}
