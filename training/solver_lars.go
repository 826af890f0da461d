package training

import (
	"math"

	"imgsearch/internal/kernel"
)

// scaled is a parameter whose learning rate LARS adapts.
type scaled struct {
	// squares are the sums of the squares of the weights, and of the gradients with decay.
	squares [2]float64
	// factor is that of the learning rate in this step.
	factor float64
}

// measureNorms derives the factors of the step. The model has n values.
func (s *solver[T]) measureNorms(n int) {
	s.each(s.tasks, n, func(t *solverTask[T], scratch []T) {
		if t.scaled == nil {
			return
		}
		w := t.parameter.data[t.from:t.to]
		copy(scratch, s.gradient(t, scratch))
		kernel.Axpy(T(s.weightDecay), w, scratch)
		t.squares = [2]float64{sumOfSquares(w), sumOfSquares(scratch)}
	})
	for _, group := range s.scaled {
		group.squares = [2]float64{}
	}
	for i := range s.tasks {
		if t := &s.tasks[i]; t.scaled != nil {
			t.scaled.squares[0] += t.squares[0]
			t.scaled.squares[1] += t.squares[1]
		}
	}
	for _, group := range s.scaled {
		group.factor = 1
		if weights, gradients := group.squares[0], group.squares[1]; weights > 0 && gradients > 0 {
			group.factor = s.options.Trust * math.Sqrt(weights/gradients)
		}
	}
}

// sumOfSquares returns the sum of the squares of a piece.
func sumOfSquares[T kernel.Float](x []T) float64 {
	if x32, ok := any(x).([]float32); ok {
		return float64(kernel.Dot(x32, x32))
	}
	var sum float64
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	return sum
}
