//go:build !amd64

package kernel

func sqrt32(x []float32) { sqrtGo(x) }

func quotient32(w, d []float32, scale float32) { quotientGo(w, d, scale) }

func countBelow32(x []float32, bound float32) int { return countBelowGo(x, bound) }

func rowRange32(x []float32, bound float32) (least, most, above float32) { return rowRangeGo(x, bound) }

func expSum32(y, x []float32, center, scale float32) float32 { return expSumGo(y, x, center, scale) }

func symmetrize32(x []float32, n, top, bottom int) { symmetrizeGo(x, n, top, bottom) }
