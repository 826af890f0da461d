package training

import "math/bits"

// Everything random in training is a pure function of the run's seed and of where it is used (which epoch, step and
// row), never of what was drawn before elsewhere. So any number of threads and any resume draw the same values.

// stream keeps the uses of randomness apart.
type stream uint64

const (
	streamHeldBack stream = iota + 1
	streamWeights
	streamShuffle
	streamNegative
	streamView
	streamWhiten
	streamMatch
	streamDropout
	streamHead
	streamFinish
	streamMoreViews
	streamCrop
	streamCompare
)

// rng is SplitMix64 (Steele, Lea and Flood 2014) started at a hash of its keys.
type rng struct{ state uint64 }

const golden = 0x9e3779b97f4a7c15

func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// newRNG returns the generator of one use: a and b say where, for instance the step and the row.
func newRNG(seed uint64, s stream, a, b uint64) rng {
	h := mix(seed + golden)
	h = mix(h ^ uint64(s)*golden)
	h = mix(h + a*golden)
	h = mix(h ^ (b+1)*0xd1342543de82ef95)
	return rng{state: h}
}

// Uint64 makes an rng a rand.Source.
func (r *rng) Uint64() uint64 {
	r.state += golden
	return mix(r.state)
}

// float returns a value in [0, 1).
func (r *rng) float() float64 { return float64(r.Uint64()>>11) * (1.0 / (1 << 53)) }

// between returns a value in [low, high).
func (r *rng) between(low, high float64) float64 { return low + (high-low)*r.float() }

// intn returns a value in [0, n), each equally likely (Lemire 2019, arXiv 1805.10941). n must be positive.
func (r *rng) intn(n int) int {
	hi, lo := bits.Mul64(r.Uint64(), uint64(n))
	if lo < uint64(n) {
		threshold := -uint64(n) % uint64(n)
		for lo < threshold {
			hi, lo = bits.Mul64(r.Uint64(), uint64(n))
		}
	}
	return int(hi)
}

// permutation returns the numbers 0 to n-1 in random order.
func (r *rng) permutation(n int) []int32 {
	p := make([]int32, n)
	for i := range p {
		j := r.intn(i + 1)
		p[i] = p[j]
		p[j] = int32(i)
	}
	return p
}
