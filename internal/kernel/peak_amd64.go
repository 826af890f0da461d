package kernel

//go:noescape
func peak512(n int)

//go:noescape
func peak256(n int)

func peakLoop() int {
	const n = 1 << 12
	switch vector {
	case vector512:
		peak512(n)
		return n * 12 * 16 * 2
	case vector256:
		peak256(n)
		return n * 12 * 8 * 2
	}
	return peakGo()
}
