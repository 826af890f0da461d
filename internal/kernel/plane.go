package kernel

// Repel returns what points of masses m at (x, y) do to the point (px, py) in t-SNE: with w = 1/(1+d^2) of a distance, the
// sums of m*w*w*(px-x), of m*w*w*(py-y) and of m*w. The slices are equally long.
func Repel(x, y, m []float32, px, py float32) (fx, fy, sum float32) {
	checkPair("Repel", len(x), len(y))
	checkPair("Repel", len(x), len(m))
	return repel32(x, y, m, px, py)
}

// Attract returns the sums of m*w*(px-x) and of m*w*(py-y), w = 1/(1+d^2), over the points whose numbers at holds: those of
// places, [points, 2], at least one, with finite values. at and m are equally long; that the numbers are below the number
// of points is the caller's duty.
func Attract(places []float32, at []int32, m []float32, px, py float32) (fx, fy float32) {
	checkPair("Attract", len(at), len(m))
	return attract32(places, at, m, px, py)
}

func repelGo(x, y, m []float32, px, py float32) (fx, fy, sum float32) {
	y, m = y[:len(x)], m[:len(x)]
	for i, x := range x {
		dx, dy := px-x, py-y[i]
		w := 1 / (1 + dx*dx + dy*dy)
		t := m[i] * w
		sum += t
		t *= w
		fx += t * dx
		fy += t * dy
	}
	return fx, fy, sum
}

func attractGo(places []float32, at []int32, m []float32, px, py float32) (fx, fy float32) {
	m = m[:len(at)]
	for i, j := range at {
		place := places[2*int(j):][:2]
		dx, dy := px-place[0], py-place[1]
		t := m[i] / (1 + dx*dx + dy*dy)
		fx += t * dx
		fy += t * dy
	}
	return fx, fy
}
