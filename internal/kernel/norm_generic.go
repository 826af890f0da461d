//go:build !amd64

package kernel

func laneSums32(x []float32, sums *[BlockChannels]float64) { laneSumsGo(x, sums) }

func laneMoments32(x []float32, center *[BlockChannels]float32, sums *[2][BlockChannels]float64) {
	laneMomentsGo(x, center, sums)
}

func laneApply32(a *LaneAffine[float32], y, x, add []float32) { a.applyGo(y, x, add) }

func laneGradientMoments32(a *LaneAffine[float32], x, dy []float32, sums *[2][BlockChannels]float64) {
	a.gradientMomentsGo(x, dy, sums)
}

func laneGradient32(a *LaneAffine[float32], dx, dy, x []float32) { a.gradientGo(dx, dy, x) }
