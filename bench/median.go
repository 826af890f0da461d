package main

import (
	"math"
	"slices"
)

// median returns the middle value, or the mean of the two in the middle; NaN where there is none.
func median(values []float64) float64 {
	n := len(values)
	if n == 0 {
		return math.NaN()
	}
	v := slices.Sorted(slices.Values(values))
	return (v[(n-1)/2] + v[n/2]) / 2
}

func collect[S ~[]E, E any](list S, of func(E) float64) []float64 {
	out := make([]float64, len(list))
	for i, e := range list {
		out[i] = of(e)
	}
	return out
}
