package training

import (
	"math"

	"imgsearch/embedder"
)

// whitenEpsilon is added to the variance of each direction of patch space, in units of normalised pixels, before its
// root is divided by: directions in which images hardly vary are noise, and must not be blown up to full size.
const whitenEpsilon = 5e-4

// whitenPatches bounds the patches that the covariance is taken over.
const whitenPatches = 400_000

// whiteningFilters returns a weight [2*n, 3, kernel, kernel], n = 3*kernel*kernel, whose first n filters whiten the
// patches of the images: each is a principal direction of patch space divided by the standard deviation along it,
// the strongest first. The other n are their negatives, so that a ReLU after them loses nothing (the first layer of Jordan
// 2024, arXiv 2404.00498). The images are drawn evenly from the corpus.
func whiteningFilters(c *corpus, rows []int32, a embedder.Architecture, kernel int, seed uint64) embedder.Tensor {
	size := c.size
	n := 3 * kernel * kernel
	positions := size - kernel + 1
	images := min(len(rows), max(200, whitenPatches/(positions*positions)))
	perImage := min(positions*positions, max(1, whitenPatches/images))
	v := newViewer(ViewOptions{}, size, a.Mean, a.Std)
	pixels := make([]float32, 3*size*size)
	patch := make([]float64, n)
	mean := make([]float64, n)
	covariance := make([]float64, n*n)
	count := 0
	r := newRNG(seed, streamWhiten, 0, 0)
	order := r.permutation(len(rows))[:images]
	for _, k := range order {
		v.plain(c.pixels(rows[k]), pixels)
		for p := range perImage {
			at := p
			if perImage < positions*positions {
				at = r.intn(positions * positions)
			}
			y, x := at/positions, at%positions
			i := 0
			for channel := range 3 {
				for dy := range kernel {
					row := pixels[(channel*size+y+dy)*size+x:][:kernel]
					for _, value := range row {
						patch[i] = float64(value)
						i++
					}
				}
			}
			for i, a := range patch {
				mean[i] += a
				for j, b := range patch[:i+1] {
					covariance[i*n+j] += a * b
				}
			}
			count++
		}
	}
	for i := range mean {
		mean[i] /= float64(count)
	}
	for i := range n {
		for j := range i + 1 {
			value := covariance[i*n+j]/float64(count) - mean[i]*mean[j]
			covariance[i*n+j], covariance[j*n+i] = value, value
		}
	}
	values, vectors := eigenSymmetric(covariance, n)
	out := embedder.NewTensor(2*n, 3, kernel, kernel)
	for k := range n {
		scale := 1 / math.Sqrt(max(values[k], 0)+whitenEpsilon)
		for i := range n {
			w := float32(vectors[k*n+i] * scale)
			out.Data[k*n+i] = w
			out.Data[(n+k)*n+i] = -w
		}
	}
	return out
}

// eigenSymmetric returns the eigenvalues of a symmetric [n, n] matrix, which it overwrites, largest first, and the
// eigenvectors as rows, each of length 1 and with its largest component positive. Cyclic Jacobi rotations: small
// matrices only.
func eigenSymmetric(m []float64, n int) (values, vectors []float64) {
	rows := make([]float64, n*n) // accumulates the rotations; row k becomes eigenvector k
	for i := range n {
		rows[i*n+i] = 1
	}
	var scale float64
	for _, x := range m {
		scale += x * x
	}
	for range 60 {
		var off float64
		for i := range n {
			for j := range i {
				off += m[i*n+j] * m[i*n+j]
			}
		}
		if off <= 1e-26*scale {
			break
		}
		for p := range n {
			for q := p + 1; q < n; q++ {
				apq := m[p*n+q]
				if apq == 0 {
					continue
				}
				theta := (m[q*n+q] - m[p*n+p]) / (2 * apq)
				t := 1 / (math.Abs(theta) + math.Sqrt(theta*theta+1))
				if theta < 0 {
					t = -t
				}
				c := 1 / math.Sqrt(t*t+1)
				s := t * c
				for k := range n {
					a, b := m[k*n+p], m[k*n+q]
					m[k*n+p], m[k*n+q] = c*a-s*b, s*a+c*b
				}
				for k := range n {
					a, b := m[p*n+k], m[q*n+k]
					m[p*n+k], m[q*n+k] = c*a-s*b, s*a+c*b
				}
				for k := range n {
					a, b := rows[p*n+k], rows[q*n+k]
					rows[p*n+k], rows[q*n+k] = c*a-s*b, s*a+c*b
				}
			}
		}
	}
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	// Insertion sort keeps the order of equal values.
	for i := 1; i < n; i++ {
		for j := i; j > 0 && m[order[j]*n+order[j]] > m[order[j-1]*n+order[j-1]]; j-- {
			order[j], order[j-1] = order[j-1], order[j]
		}
	}
	values, vectors = make([]float64, n), make([]float64, n*n)
	for k, from := range order {
		values[k] = m[from*n+from]
		row := rows[from*n:][:n]
		largest := 0
		for i, x := range row {
			if math.Abs(x) > math.Abs(row[largest])+1e-12 {
				largest = i
			}
		}
		sign := 1.0
		if row[largest] < 0 {
			sign = -1
		}
		for i, x := range row {
			vectors[k*n+i] = sign * x
		}
	}
	return values, vectors
}
