package atlas

import (
	"slices"

	"imgsearch/internal/kernel"
)

const (
	// leafPoints is the number of points that the tree does not part any further.
	leafPoints = 16
	// groupPoints bounds the number of neighbouring points that share one walk through the tree.
	groupPoints = 32
	// mortonBits is the number of bits of a cell's coordinate, and the depth of the tree.
	mortonBits = 16
)

// quadtree sums the repulsive forces of t-SNE by the method of Barnes & Hut (1986; van der Maaten 2014, section 4.2),
// in arrays: the points lie in the order of a Z-curve, the nodes in depth-first order, each with the place behind its
// subtree, so that a walk needs no stack and reads memory forwards.
//
// In place of a walk for each point, groups of neighbouring points share one: it gathers the cells and points that act
// on the whole group, by the distance from the group's nearest edge, which is never less exact than a walk of their
// own. The sums over that list are [kernel.Repel].
type quadtree struct {
	order []int32  // the points along the curve
	codes []uint32 // their places on it
	x, y  []float32

	// Of each node: the centre of its points, their number, the square of the longer side of the box around them, the
	// node behind its subtree and the range of its points. Leaves are those with leaf set.
	nodeX, nodeY, mass, size2 []float32
	skip, first, last         []int32
	leaf                      []bool

	groups []int32 // nodes; their points together are all points
	sums   []float64

	swapOrder []int32
	swapCodes []uint32
}

// build sorts the points, [n, 2], into the tree.
func (t *quadtree) build(positions []float32, threads int) {
	n := len(positions) / 2
	if len(t.order) != n {
		t.order, t.codes = make([]int32, n), make([]uint32, n)
		t.swapOrder, t.swapCodes = make([]int32, n), make([]uint32, n)
		t.x, t.y = make([]float32, n), make([]float32, n)
		for i := range t.order {
			t.order[i] = int32(i)
		}
	}
	minX, maxX, minY, maxY := bounds(positions)
	scale := max(maxX-minX, maxY-minY)
	factor := 0.0
	if scale > 0 {
		factor = (1<<mortonBits - 1) / float64(scale)
	}
	// The order of the last time is nearly right for this time; radix sort does not care, but the reads are close.
	kernel.ParallelRanges(threads, n, func(_, from, to int) {
		for s := from; s < to; s++ {
			i := t.order[s]
			cx := uint32(float64(positions[2*i]-minX) * factor)
			cy := uint32(float64(positions[2*i+1]-minY) * factor)
			t.codes[s] = spread(min(cx, 1<<mortonBits-1)) | spread(min(cy, 1<<mortonBits-1))<<1
		}
	})
	t.sort()
	kernel.ParallelRanges(threads, n, func(_, from, to int) {
		for s := from; s < to; s++ {
			i := t.order[s]
			t.x[s], t.y[s] = positions[2*i], positions[2*i+1]
		}
	})
	t.nodeX, t.nodeY, t.mass, t.size2 = t.nodeX[:0], t.nodeY[:0], t.mass[:0], t.size2[:0]
	t.skip, t.first, t.last, t.leaf = t.skip[:0], t.first[:0], t.last[:0], t.leaf[:0]
	t.groups = t.groups[:0]
	t.add(0, n, mortonBits, false)
}

func bounds(positions []float32) (minX, maxX, minY, maxY float32) {
	minX, minY = positions[0], positions[1]
	maxX, maxY = minX, minY
	for i := 2; i+1 < len(positions); i += 2 {
		x, y := positions[i], positions[i+1]
		minX, maxX = min(minX, x), max(maxX, x)
		minY, maxY = min(minY, y), max(maxY, y)
	}
	return minX, maxX, minY, maxY
}

// spread puts a zero between the bits of a 16-bit number.
func spread(v uint32) uint32 {
	v = (v | v<<8) & 0x00ff00ff
	v = (v | v<<4) & 0x0f0f0f0f
	v = (v | v<<2) & 0x33333333
	return (v | v<<1) & 0x55555555
}

// sort orders the points by their codes, those of one cell by number: a radix sort, whose passes keep the order that
// they find, over points that are put in order of number first where two share a cell.
func (t *quadtree) sort() {
	for shift := 0; shift < 32; shift += 11 {
		var count [1 << 11]int32
		for _, c := range t.codes {
			count[c>>shift&(1<<11-1)]++
		}
		sum := int32(0)
		for d := range count {
			count[d], sum = sum, sum+count[d]
		}
		for s, c := range t.codes {
			d := c >> shift & (1<<11 - 1)
			to := count[d]
			count[d]++
			t.swapCodes[to], t.swapOrder[to] = c, t.order[s]
		}
		t.codes, t.swapCodes = t.swapCodes, t.codes
		t.order, t.swapOrder = t.swapOrder, t.order
	}
	for from := 0; from < len(t.codes); {
		to := from + 1
		for to < len(t.codes) && t.codes[to] == t.codes[from] {
			to++
		}
		if to-from > 1 {
			slices.Sort(t.order[from:to])
		}
		from = to
	}
}

// box is what a node knows of its points.
type box struct {
	sumX, sumY             float64
	minX, maxX, minY, maxY float32
}

// add appends the node of the points [from, to), whose codes agree above the lowest 2*level bits, with its subtree.
func (t *quadtree) add(from, to, level int, grouped bool) box {
	node := len(t.skip)
	t.nodeX, t.nodeY = append(t.nodeX, 0), append(t.nodeY, 0)
	t.mass, t.size2 = append(t.mass, float32(to-from)), append(t.size2, 0)
	t.skip, t.first, t.last = append(t.skip, 0), append(t.first, int32(from)), append(t.last, int32(to))
	isLeaf := to-from <= leafPoints || level == 0
	t.leaf = append(t.leaf, isLeaf)
	if !grouped && (to-from <= groupPoints || isLeaf) {
		t.groups = append(t.groups, int32(node))
		grouped = true
	}
	b := box{minX: t.x[from], maxX: t.x[from], minY: t.y[from], maxY: t.y[from]}
	if isLeaf {
		for s := from; s < to; s++ {
			x, y := t.x[s], t.y[s]
			b.sumX, b.sumY = b.sumX+float64(x), b.sumY+float64(y)
			b.minX, b.maxX = min(b.minX, x), max(b.maxX, x)
			b.minY, b.maxY = min(b.minY, y), max(b.maxY, y)
		}
	} else {
		shift := 2 * (level - 1)
		for start := from; start < to; {
			digit := t.codes[start] >> shift
			end := start + 1
			if t.codes[to-1]>>shift == digit {
				end = to
			} else {
				for low, high := end, to; ; { // the first code of a later quarter
					if low == high {
						end = low
						break
					}
					if mid := int(uint(low+high) >> 1); t.codes[mid]>>shift == digit {
						low = mid + 1
					} else {
						high = mid
					}
				}
			}
			c := t.add(start, end, level-1, grouped)
			b.sumX, b.sumY = b.sumX+c.sumX, b.sumY+c.sumY
			b.minX, b.maxX = min(b.minX, c.minX), max(b.maxX, c.maxX)
			b.minY, b.maxY = min(b.minY, c.minY), max(b.maxY, c.maxY)
			start = end
		}
	}
	t.nodeX[node], t.nodeY[node] = float32(b.sumX/float64(to-from)), float32(b.sumY/float64(to-from))
	side := max(b.maxX-b.minX, b.maxY-b.minY)
	t.size2[node] = side * side
	t.skip[node] = int32(len(t.skip))
	return b
}

// interactions are what acts on a group.
type interactions struct{ x, y, mass []float32 }

// ones are the masses of single points.
var ones = func() (m [8 * leafPoints]float32) {
	for i := range m {
		m[i] = 1
	}
	return m
}()

func (l *interactions) add(x, y, mass float32) {
	l.x, l.y, l.mass = append(l.x, x), append(l.y, y), append(l.mass, mass)
}

// repulsion writes to forces, [n, 2], the sum over the other points j of w^2 (y_i - y_j), w = 1 / (1 + |y_i - y_j|^2),
// and returns the sum of w over all pairs. A cell acts as one point at its centre where its size is less than theta
// times its distance.
func (t *quadtree) repulsion(forces []float32, theta float64, threads int, lists []interactions) float64 {
	theta2 := float32(theta * theta)
	if cap(t.sums) < len(t.groups) {
		t.sums = make([]float64, len(t.groups))
	}
	t.sums = t.sums[:len(t.groups)]
	kernel.ParallelRanges(threads, len(t.groups), func(worker, from, to int) {
		list := &lists[worker]
		for g := from; g < to; g++ {
			node := t.groups[g]
			first, last := t.first[node], t.last[node]
			minX, maxX, minY, maxY := t.x[first], t.x[first], t.y[first], t.y[first]
			for s := first + 1; s < last; s++ {
				minX, maxX = min(minX, t.x[s]), max(maxX, t.x[s])
				minY, maxY = min(minY, t.y[s]), max(maxY, t.y[s])
			}
			t.gather(list, minX, maxX, minY, maxY, theta2)
			t.sums[g] = t.act(list, first, last, forces)
		}
	})
	sum := 0.0
	for _, s := range t.sums {
		sum += s
	}
	return sum - float64(len(t.order)) // without each point's own
}

// gather fills the list with what acts on points within a box.
func (t *quadtree) gather(list *interactions, minX, maxX, minY, maxY, theta2 float32) {
	list.x, list.y, list.mass = list.x[:0], list.y[:0], list.mass[:0]
	for node := int32(0); int(node) < len(t.skip); {
		x, y := t.nodeX[node], t.nodeY[node]
		dx := max(minX-x, x-maxX, 0)
		dy := max(minY-y, y-maxY, 0)
		switch {
		case t.size2[node] < theta2*(dx*dx+dy*dy):
			list.add(x, y, t.mass[node])
			node = t.skip[node]
		case !t.leaf[node]:
			node++
		case t.mass[node] > 8*leafPoints:
			// Many points in the smallest of cells stand in one place as good as.
			list.add(x, y, t.mass[node])
			node = t.skip[node]
		default:
			from, to := t.first[node], t.last[node]
			list.x, list.y = append(list.x, t.x[from:to]...), append(list.y, t.y[from:to]...)
			list.mass = append(list.mass, ones[:to-from]...)
			node = t.skip[node]
		}
	}
}

// act sums the list's forces on the points [first, last) and returns the sum of the weights.
func (t *quadtree) act(list *interactions, first, last int32, forces []float32) float64 {
	total := 0.0
	for s := first; s < last; s++ {
		fx, fy, sum := kernel.Repel(list.x, list.y, list.mass, t.x[s], t.y[s])
		i := t.order[s]
		forces[2*i], forces[2*i+1] = fx, fy
		total += float64(sum)
	}
	return total
}
