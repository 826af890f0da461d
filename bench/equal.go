package main

import (
	"context"
	"fmt"
	"math"
)

// Both sides do the same work only if they compute the same. The first steps show it: a different layer, stride, padding, loss
// or momentum gives other losses within four of them.

const (
	checkedSteps  = 4
	checkedImages = 8

	// Between two orders of summation in float32: of the first loss, which depends on the forward pass alone; of those
	// behind it, between which small differences grow; and of the values of embeddings, against the largest one.
	firstLossTolerance = 1e-3
	laterLossTolerance = 2e-2
	embeddingTolerance = 1e-3
)

// results asks for what the sides must agree on. It moves the weights of a training job.
func results(ctx context.Context, w *worker, job string, r row) ([]float64, error) {
	q := request{Do: "embeddings", Job: job, Count: checkedImages}
	if r.work.Kind == "train" {
		q = request{Do: "losses", Job: job, Count: checkedSteps, Rate: r.checkRate}
	}
	a, err := w.ask(ctx, q)
	return a.Values, err
}

// agree compares what a side computed with what imgsearch did.
func agree(kind string, got, want []float64) error {
	if len(got) != len(want) || len(got) == 0 {
		return fmt.Errorf("%d values: imgsearch has %d", len(got), len(want))
	}
	var scale float64
	for _, v := range want {
		scale = max(scale, math.Abs(v))
	}
	for i, v := range got {
		tolerance, against := embeddingTolerance, scale
		if kind == "train" {
			tolerance, against = laterLossTolerance, math.Abs(want[i])
			if i == 0 {
				tolerance = firstLossTolerance
			}
		}
		if !(math.Abs(v-want[i]) <= tolerance*against) { // written so that NaN fails
			if kind == "train" {
				return fmt.Errorf("not the same work: losses %.6v: imgsearch has %.6v", got, want)
			}
			return fmt.Errorf("not the same work: value %d of the embeddings is %v: imgsearch has %v", i, v, want[i])
		}
	}
	return nil
}
