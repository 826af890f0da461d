package patches

import (
	"context"
	"math/rand/v2"

	"imgsearch/internal/kernel"
)

// dictionary is a set of typical patches.
type dictionary struct {
	atoms []float32 // [n, dim]
	n     int
	dim   int
}

// assignRows patches are compared with all atoms at a time.
const assignRows = 256

// fitDictionary improves n patches, drawn from rows at random, by rounds of k-means. With spherical, rows and atoms are
// of length one and compared by the cosine (Coates & Ng 2012, "Learning feature representations with k-means"),
// otherwise by the Euclidean distance. An atom that no patch is nearest to becomes a patch drawn at random.
func fitDictionary(ctx context.Context, rows []float32, dim, n, rounds int, spherical bool, rng *rand.Rand, threads int, progress func(done, total int)) (*dictionary, error) {
	count := len(rows) / dim
	order := rng.Perm(count)
	d := &dictionary{make([]float32, 0, n*dim), n, dim}
	for i := range n {
		p := order[i%count]
		d.atoms = append(d.atoms, rows[p*dim:][:dim]...)
	}
	nearest := make([]int32, count)
	for round := range max(rounds, 0) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		d.assign(rows, spherical, nearest, threads)
		d.update(rows, nearest, spherical, rng, threads)
		progress(round+1, rounds)
	}
	return d, nil
}

// assign finds the nearest atom of each row.
func (d *dictionary) assign(rows []float32, spherical bool, nearest []int32, threads int) {
	half := make([]float32, d.n) // half the squared lengths, 0 where all are alike
	if !spherical {
		kernel.Parallel(threads, d.n, func(i int) {
			atom := d.atoms[i*d.dim:][:d.dim]
			half[i] = kernel.Dot(atom, atom) / 2
		})
	}
	scratch := make([][]float32, kernel.Threads(threads))
	kernel.ParallelPieces(threads, len(nearest), assignRows, func(worker, from, to int) {
		if scratch[worker] == nil {
			scratch[worker] = make([]float32, assignRows*d.n)
		}
		product := scratch[worker]
		kernel.Gemm(false, true, to-from, d.n, d.dim, 1, rows[from*d.dim:], d.dim, d.atoms, d.dim, 0, product, d.n)
		for i := range to - from {
			best, at := product[i*d.n]-half[0], 0
			for j, v := range product[i*d.n:][:d.n] {
				if v -= half[j]; v > best {
					best, at = v, j
				}
			}
			nearest[from+i] = int32(at)
		}
	})
}

// update makes each atom the mean of its rows, added up in their order.
func (d *dictionary) update(rows []float32, nearest []int32, spherical bool, rng *rand.Rand, threads int) {
	start, members := groupBy(nearest, d.n)
	lost := make([]bool, d.n)
	kernel.Parallel(threads, d.n, func(i int) {
		atom := d.atoms[i*d.dim:][:d.dim]
		own := members[start[i]:start[i+1]]
		if lost[i] = len(own) == 0; lost[i] {
			return
		}
		clear(atom)
		for _, r := range own {
			kernel.Add(rows[int(r)*d.dim:][:d.dim], atom)
		}
		if spherical {
			lost[i] = unit(atom) == 0
		} else {
			kernel.Scale(1/float32(len(own)), atom)
		}
	})
	for i, gone := range lost {
		if gone {
			copy(d.atoms[i*d.dim:][:d.dim], rows[rng.IntN(len(nearest))*d.dim:])
		}
	}
}

// groupBy lists the positions of each key in rising order: those of key k are members[start[k]:start[k+1]].
func groupBy(keys []int32, n int) (start, members []int32) {
	start = make([]int32, n+1)
	for _, k := range keys {
		start[k+1]++
	}
	for k := range n {
		start[k+1] += start[k]
	}
	next := make([]int32, n)
	copy(next, start)
	members = make([]int32, len(keys))
	for i, k := range keys {
		members[next[k]] = int32(i)
		next[k]++
	}
	return start, members
}
