package evaluation_test

import (
	"context"
	"fmt"

	"imgsearch/dataset"
	"imgsearch/evaluation"
	"imgsearch/index"
)

// Five embeddings of two classes on a circle; each is asked for the others. (A program would pass its index in
// Options.Index.)
func ExampleEvaluate() {
	set := evaluation.Set{
		Dim:        2,
		Embeddings: []float32{1, 0, 1, 0.1, 1, 0.2, 0, 1, 0.8, 0.6},
		IDs:        []dataset.ID{0, 1, 2, 3, 4},
		Labels:     []dataset.Label{"cat", "cat", "cat", "dog", "dog"},
	}
	report, err := evaluation.Evaluate(context.Background(), set, set, evaluation.Options{
		Metric: index.Cosine, LeaveOneOut: true, K: []int{1, 2},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("purity@1 %.3f, purity@2 %.3f, by chance %.3f\n", report.Purity[1], report.Purity[2], report.Chance)
	for _, class := range report.PerClass {
		fmt.Printf("%s: purity@1 %.3f\n", class.Label, class.Purity[1])
	}
	// Output:
	// purity@1 0.800, purity@2 0.700, by chance 0.400
	// cat: purity@1 1.000
	// dog: purity@1 0.500
}
