package atlas

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"imgsearch/index"
)

func TestDivergence(t *testing.T) {
	const n = 90
	_, ids, neighbors := clusters(n, 5, 3, 31, index.L2)
	rng := rand.New(rand.NewPCG(8, 3))
	y := make([]float32, 2*n)
	for i := range y {
		y[i] = float32(5 * rng.NormFloat64())
	}
	o := MapOptions{Metric: index.L2, Perplexity: 10}
	got, err := Divergence(ids, neighbors, y, o)
	if err != nil {
		t.Fatal(err)
	}
	a, err := newAffinities(ids, neighbors, index.L2, 10, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, want := exact(a.dense(n), y, 1); math.Abs(got-want) > 1e-5*want {
		t.Errorf("divergence %v, by definition %v", got, want)
	}
	if _, err := Divergence(ids, neighbors, y[2:], o); !errors.Is(err, ErrNeighbors) {
		t.Errorf("too few positions: %v", err)
	}
}
