package patches

import (
	"math"

	"imgsearch/internal/kernel"
)

// coder describes the patches of images by the atoms of a dictionary.
type coder struct {
	lattice
	whitening  *whitening
	dictionary *dictionary
	coding     Coding
	threshold  float32
}

// codes are the codes of an image's patches, zeros left out: those of patch p are entries start[p] to start[p+1]-1, by
// rising atom.
type codes struct {
	start  []int32
	atoms  []int32
	values []float32
}

// atomsAtOnce atoms are compared with the patches of an image at a time.
const atomsAtOnce = 384

// codingScratch is the memory of one worker.
type codingScratch struct {
	raw, rows []float32 // [patches, dim]
	products  []float32 // [patches, atomsAtOnce], or [patches, atoms] for Triangle
	patch     []int32   // of each entry found, before they are sorted by patch
	atom      []int32
	value     []float32
	next      []int32   // [patches], of sort
	cosines   []float32 // [atoms], of a patch that no atom reaches
	codes     codes
}

func (c *coder) newScratch() *codingScratch {
	n, width := c.patches(), min(atomsAtOnce, c.dictionary.n)
	if c.coding == Triangle {
		width = c.dictionary.n
	}
	return &codingScratch{
		raw: make([]float32, n*c.dim), rows: make([]float32, n*c.dim), products: make([]float32, n*width),
		next: make([]int32, n), cosines: make([]float32, c.dictionary.n), codes: codes{start: make([]int32, n+1)},
	}
}

// prepare cuts and whitens the patches of an image into s.rows.
func (c *coder) prepare(image []uint8, mirror bool, s *codingScratch) {
	c.cut(image, mirror, s.raw)
	normalizeContrast(s.raw, c.dim)
	c.whitening.apply(s.raw, s.rows)
	if c.coding != Triangle {
		for rows := s.rows; len(rows) > 0; rows = rows[c.dim:] {
			unit(rows[:c.dim])
		}
	}
}

// contrastFloor keeps the patches of even areas from being blown up, in squared steps of brightness (Coates & Ng 2012).
const contrastFloor = 10

// normalizeContrast divides rows, whose mean is zero, by their standard deviation.
func normalizeContrast(rows []float32, dim int) {
	for ; len(rows) > 0; rows = rows[dim:] {
		row := rows[:dim]
		kernel.Scale(float32(1/math.Sqrt(float64(kernel.Dot(row, row))/float64(dim)+contrastFloor)), row)
	}
}

// sparse codes the patches of an image by the atoms whose cosine is at least the threshold, or by the nearest one where
// there is none. The codes of a patch sum to one. What is returned is s's own until the next call.
func (c *coder) sparse(image []uint8, mirror bool, s *codingScratch) *codes {
	c.prepare(image, mirror, s)
	n := c.patches()
	s.patch, s.atom, s.value = s.patch[:0], s.atom[:0], s.value[:0]
	found := s.codes.start
	clear(found)
	for from := 0; from < c.dictionary.n; from += atomsAtOnce {
		width := min(atomsAtOnce, c.dictionary.n-from)
		kernel.Gemm(false, true, n, width, c.dim, 1, s.rows, c.dim, c.dictionary.atoms[from*c.dim:], c.dim, 0, s.products, width)
		for p := range n {
			for j, v := range s.products[p*width:][:width] {
				if v >= c.threshold {
					s.patch = append(s.patch, int32(p))
					s.atom = append(s.atom, int32(from+j))
					s.value = append(s.value, v)
					found[p+1]++
				}
			}
		}
	}
	for p := range n {
		if found[p+1] == 0 {
			kernel.DotRows(s.rows[p*c.dim:][:c.dim], c.dictionary.atoms, s.cosines)
			nearest := 0
			for j, v := range s.cosines {
				if v > s.cosines[nearest] {
					nearest = j
				}
			}
			s.patch = append(s.patch, int32(p))
			s.atom = append(s.atom, int32(nearest))
			s.value = append(s.value, c.threshold)
			found[p+1] = 1
		}
		found[p+1] += found[p]
	}
	return s.sort(c)
}

// sort orders the entries found by patch and gives them their values.
func (s *codingScratch) sort(c *coder) *codes {
	out := &s.codes
	out.atoms = append(out.atoms[:0], s.atom...)
	out.values = append(out.values[:0], s.value...)
	next := s.next
	copy(next, out.start)
	for i, p := range s.patch {
		out.atoms[next[p]], out.values[next[p]] = s.atom[i], s.value[i]
		next[p]++
	}
	for p := range next {
		own := out.values[out.start[p]:out.start[p+1]]
		sum := float32(0)
		for i, v := range own {
			if c.coding == Binary {
				v = 1
			} else {
				v = v - c.threshold + 1e-3
			}
			own[i] = v
			sum += v
		}
		kernel.Scale(1/sum, own)
	}
	return out
}

// triangle codes the patches of an image by how much nearer than the mean of all atoms each atom is, [patches, atoms].
// What is returned is s's own until the next call. lengths are the atoms' squared lengths.
func (c *coder) triangle(image []uint8, mirror bool, lengths []float32, s *codingScratch) []float32 {
	c.prepare(image, mirror, s)
	n, k := c.patches(), c.dictionary.n
	kernel.Gemm(false, true, n, k, c.dim, -2, s.rows, c.dim, c.dictionary.atoms, c.dim, 0, s.products, k)
	for p := range n {
		row := s.products[p*k:][:k]
		patch := s.rows[p*c.dim:][:c.dim]
		own := kernel.Dot(patch, patch)
		for j, v := range row {
			row[j] = max(v+own+lengths[j], 0)
		}
		kernel.Sqrt(row)
		mean := kernel.Sum(row) / float32(k)
		for j, v := range row {
			row[j] = max(mean-v, 0)
		}
	}
	return s.products
}
