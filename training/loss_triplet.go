package training

import (
	"math"

	"imgsearch/internal/kernel"
)

// explicitTriplets is LossTriplet with MinerRandom: anchor, positive and negative come as rows i, groups+i, 2*groups+i.
func (s *scorer[T]) explicitTriplets(e []T) scores {
	clear(s.gradient)
	var out scores
	active := 0
	n, dim := s.groups, s.dim
	for i := range n {
		a, p, q := e[i*dim:][:dim], e[(n+i)*dim:][:dim], e[(2*n+i)*dim:][:dim]
		dp, dn := distance(a, p), distance(a, q)
		out.positive += dp
		out.negative += dn
		loss := dp - dn + s.options.Margin
		if loss <= 0 {
			continue
		}
		out.loss += loss
		active++
		ga, gp, gq := s.gradient[i*dim:][:dim], s.gradient[(n+i)*dim:][:dim], s.gradient[(2*n+i)*dim:][:dim]
		for j := range dim {
			var up, un float64
			if dp > 0 {
				up = (float64(a[j]) - float64(p[j])) / (dp * float64(n))
			}
			if dn > 0 {
				un = (float64(a[j]) - float64(q[j])) / (dn * float64(n))
			}
			ga[j], gp[j], gq[j] = T(up-un), T(-up), T(un)
		}
	}
	count := float64(n)
	out.loss /= count
	out.positive /= count
	out.negative /= count
	out.active = float64(active) / count
	return out
}

// batchTriplets is LossTriplet with negatives from the batch, and LossSmoothTriplet.
func (s *scorer[T]) batchTriplets(e []T) scores {
	n := 2 * s.groups
	s.measure(e, func(worker, i int, d []T) (float64, int) {
		w, p := s.weights[i*n:][:n], s.positiveOf(i)
		if s.options.Loss == LossSmoothTriplet {
			return smoothTriplet(d, w, i, p, s.options.Temperature), 0
		}
		clear(w)
		s.picked[worker] = negatives(s.options.Miner, d, i, p, s.picked[worker][:0])
		return tripletMargin(d, w, p, s.picked[worker], s.options.Margin)
	})
	out := s.summary()
	count := n
	if s.options.Loss == LossTriplet && s.options.Miner == MinerAll {
		count = 0
		for _, a := range s.each {
			count += a.picked
		}
		count = max(count, 1)
	}
	scale := 1 / float64(count)
	out.loss *= scale
	distanceGradient(s.threads, e, s.dim, s.distances, s.weights, scale, s.gradient)
	return out
}

// tripletMargin returns the sum of the triplet margin losses of an anchor with the given negatives and how many are not
// zero, and sets w to the derivative of the sum by the anchor's distances d.
func tripletMargin[T kernel.Float](d, w []T, positive int, negatives []int32, margin float64) (total float64, count int) {
	dp := float64(d[positive])
	for _, j := range negatives {
		loss := dp - float64(d[j]) + margin
		if loss <= 0 {
			continue
		}
		total += loss
		count++
		w[j]--
	}
	w[positive] = T(count)
	return total, count
}

// smoothTriplet returns log(1 + sum of exp((d(a,p) - d(a,n)) / temperature)) over the negatives of an anchor, and sets w
// to its derivative by the anchor's distances d.
func smoothTriplet[T kernel.Float](d, w []T, anchor, positive int, temperature float64) float64 {
	own, dp := d[anchor], d[positive]
	d[anchor], d[positive] = T(math.Inf(1)), T(math.Inf(1)) // whose exponential functions are 0
	center, _, _ := kernel.RowRange(d, 0)
	center = min(center, dp) // then no exponent is above 0, the one of the 1 included
	pull := kernel.ExpSum(w, d, center, T(-1/temperature))
	d[anchor], d[positive] = own, dp
	most := (float64(dp) - float64(center)) / temperature
	total := pull + math.Exp(-most)
	kernel.Scale(T(-1/(total*temperature)), w)
	w[positive] = T(pull / (total * temperature))
	return most + math.Log(total)
}
