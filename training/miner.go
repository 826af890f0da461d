package training

import (
	"math"
	"slices"

	"imgsearch/internal/kernel"
)

// Miner names which triplets [LossTriplet] is taken of.
type Miner string

const (
	// MinerRandom takes one negative for each anchor, a uniformly random other image that comes as the third row of the
	// batch: the study's way.
	MinerRandom Miner = "random"
	// MinerSemiHard takes, for each anchor, the nearest negative that is further off than the positive, and where there
	// is none the furthest one (Schroff et al. 2015, arXiv 1503.03832).
	MinerSemiHard Miner = "semi-hard"
	// MinerHard takes, for each anchor, the nearest negative (Hermans et al. 2017, arXiv 1703.07737, "batch hard").
	MinerHard Miner = "hard"
	// MinerAll takes all negatives of each anchor ("batch all").
	MinerAll Miner = "all"
)

// Miners returns all miners.
func Miners() []Miner { return []Miner{MinerRandom, MinerSemiHard, MinerHard, MinerAll} }

// negatives appends to out the negatives that a miner picks for one anchor: distances are the anchor's to all
// embeddings of the batch, among them itself and its positive. Of several at the same distance it picks the first, and
// none where all are NaN.
func negatives[T kernel.Float](m Miner, distances []T, anchor, positive int, out []int32) []int32 {
	if m == MinerAll {
		for j := range distances {
			if j != anchor && j != positive {
				out = append(out, int32(j))
			}
		}
		return out
	}
	own, bound := distances[anchor], distances[positive]
	nan := T(math.NaN()) // which is passed over
	distances[anchor], distances[positive] = nan, nan
	pick, furthest, beyond := kernel.RowRange(distances, bound)
	if m == MinerSemiHard {
		if pick = beyond; math.IsInf(float64(beyond), 1) {
			pick = furthest
		}
	}
	if j := slices.Index(distances, pick); j >= 0 {
		out = append(out, int32(j))
	}
	distances[anchor], distances[positive] = own, bound
	return out
}
