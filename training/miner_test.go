package training

import (
	"slices"
	"testing"
)

func TestMiners(t *testing.T) {
	// Anchor 0, positive 3.
	for _, c := range []struct {
		name      string
		distances []float64
		want      map[Miner][]int32
	}{
		{"semi-hard there", []float64{0, 5, 2, 3, 4, 1},
			map[Miner][]int32{MinerSemiHard: {4}, MinerHard: {5}, MinerAll: {1, 2, 4, 5}}},
		{"all harder than the positive", []float64{0, 2, 1, 3, 2.5, 3},
			map[Miner][]int32{MinerSemiHard: {5}, MinerHard: {2}, MinerAll: {1, 2, 4, 5}}},
		{"all easy", []float64{0, 9, 8, 1, 8, 7},
			map[Miner][]int32{MinerSemiHard: {5}, MinerHard: {5}, MinerAll: {1, 2, 4, 5}}},
		{"the first of equal ones", []float64{0, 2, 2, 1, 2, 2},
			map[Miner][]int32{MinerSemiHard: {1}, MinerHard: {1}, MinerAll: {1, 2, 4, 5}}},
		{"no negatives", []float64{0, 0, 0, 3}[:1], map[Miner][]int32{}},
	} {
		for _, m := range []Miner{MinerSemiHard, MinerHard, MinerAll} {
			positive := 3
			if len(c.distances) == 1 {
				positive = 0
			}
			if got := negatives(m, c.distances, 0, positive, nil); !slices.Equal(got, c.want[m]) {
				t.Errorf("%s: %s picks %v: want %v", c.name, m, got, c.want[m])
			}
		}
	}
}
