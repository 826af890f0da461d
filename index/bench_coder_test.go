//go:build !windows

package index_test

import (
	"fmt"
	"testing"

	"imgsearch/index"
	"imgsearch/index/coder"
	"imgsearch/index/indextest"
)

func init() {
	for _, fetch := range []int{200, 1000, 4000} {
		engines = append(engines, engine{fmt.Sprintf("coder/fetch=%d", fetch), func(tb testing.TB, c *corpus) index.Index {
			tb.Helper()
			x, err := coder.New(c.metric, c.dim, coder.Options{Fetch: fetch})
			if err != nil {
				tb.Fatal(err)
			}
			if err := x.Add(indextest.IDs(0, c.len()), c.gallery); err != nil {
				tb.Fatal(err)
			}
			return x
		}, []tuning{{"rerank", plain}}})
	}
}

// BenchmarkBuildCoder is BenchmarkBuild for the library, which has one thread.
func BenchmarkBuildCoder(b *testing.B) {
	c := real(b)[0]
	b.ResetTimer()
	before := cpuTime()
	for range b.N {
		engines[len(engines)-2].build(b, c)
	}
	b.ReportMetric((cpuTime()-before).Seconds()/float64(b.N), "CPU-s/op")
}
