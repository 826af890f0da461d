package training

import "imgsearch/internal/kernel"

// Images are blocked as package kernel wants them for its convolutions: [n, blocks, h, w, lanes], a block being lanes
// neighbouring channels, whose values of a pixel lie next to each other; lanes beyond the last channel are zero.

const lanes = kernel.BlockChannels

// imageShape is the shape of n blocked images.
func imageShape(n, channels, h, w int) []int {
	return []int{n, kernel.Blocks(channels), h, w, lanes}
}

// block lays out plain images, [n, channels, pixels], in blocks.
func block[T kernel.Float](n, channels, pixels int, plain, blocked []T) {
	if p, ok := any(plain).([]float32); ok {
		kernel.Block(n, channels, pixels, p, any(blocked).([]float32))
		return
	}
	blocks := kernel.Blocks(channels)
	clear(blocked[:n*blocks*pixels*lanes])
	for i := range n {
		for c := range channels {
			for p, v := range plain[(i*channels+c)*pixels:][:pixels] {
				blocked[((i*blocks+c/lanes)*pixels+p)*lanes+c%lanes] = v
			}
		}
	}
}

// unblock undoes block.
func unblock[T kernel.Float](n, channels, pixels int, blocked, plain []T) {
	if b, ok := any(blocked).([]float32); ok {
		kernel.Unblock(n, channels, pixels, b, any(plain).([]float32))
		return
	}
	blocks := kernel.Blocks(channels)
	for i := range n {
		for c := range channels {
			for p := range pixels {
				plain[(i*channels+c)*pixels+p] = blocked[((i*blocks+c/lanes)*pixels+p)*lanes+c%lanes]
			}
		}
	}
}

// packColumns lays out the columns of x, [n, f], in blocks as one image of n pixels.
func packColumns[T kernel.Float](blocked, x []T, f int) {
	for n := len(x) / f; len(x) > 0; x, blocked = x[f:], blocked[lanes:] {
		for c := 0; c < f; c += lanes {
			copy(blocked[c*n:], x[c:min(c+lanes, f)])
		}
	}
}

// unpackColumns undoes packColumns.
func unpackColumns[T kernel.Float](x, blocked []T, f int) {
	for n := len(x) / f; len(x) > 0; x, blocked = x[f:], blocked[lanes:] {
		for c := 0; c < f; c += lanes {
			copy(x[c:min(c+lanes, f)], blocked[c*n:])
		}
	}
}

// laneSums adds up values of each channel over a batch of blocked images on many threads, in groups of images that
// depend on the shape alone, so that the sums do not depend on the number of threads.
type laneSums[T kernel.Float] struct {
	threads              int
	images, blocks, area int // area is the number of values of a block of an image
	groups, kinds        int
	sums                 [][lanes]float64 // [groups, blocks, kinds]
}

// laneGroups is the most groups.
const laneGroups = 16

// groupsOf returns the number of groups of a batch of n images.
func groupsOf(n int) int { return min(laneGroups, n) }

// passValues is the number of values of the images that a pass works on before what comes next reads them: about as many
// as the last cache keeps until then. With fewer, threads would wait for each other more than they save. Tests lower it.
var passValues = 1 << 20

// eachPass calls fn for runs of groups of n images, which have so many values each: for the groups [first, end), that is
// images [from, to).
func eachPass(n, values int, fn func(first, end, from, to int)) {
	groups := groupsOf(n)
	passes := min(groups, max(1, n*values/passValues))
	for i := range passes {
		first, end := i*groups/passes, (i+1)*groups/passes
		fn(first, end, first*n/groups, end*n/groups)
	}
}

// newLaneSums is for so many kinds of sums over images shaped like x.
func newLaneSums[T kernel.Float](g *graph[T], x *variable[T], kinds int) *laneSums[T] {
	s := &laneSums[T]{
		threads: g.threads, images: x.shape[0], blocks: x.shape[1], area: x.shape[2] * x.shape[3] * lanes,
		groups: groupsOf(x.shape[0]), kinds: kinds,
	}
	s.sums = make([][lanes]float64, s.groups*s.blocks*kinds)
	return s
}

// run calls add for the values [from, to) of each block of each image: it adds to the sums of all kinds.
func (s *laneSums[T]) run(add func(from, to int, sums [][lanes]float64)) {
	s.runGroups(0, s.groups, add)
}

// runGroups is run for the groups [first, end).
func (s *laneSums[T]) runGroups(first, end int, add func(from, to int, sums [][lanes]float64)) {
	kernel.Parallel(s.threads, (end-first)*s.blocks, func(i int) {
		i += first * s.blocks
		group, b := i/s.blocks, i%s.blocks
		sums := s.sums[i*s.kinds:][:s.kinds]
		clear(sums)
		for image := group * s.images / s.groups; image < (group+1)*s.images/s.groups; image++ {
			from := (image*s.blocks + b) * s.area
			add(from, from+s.area, sums)
		}
	})
}

// total returns the sum of a kind over a channel.
func (s *laneSums[T]) total(kind, channel int) float64 {
	var total float64
	for group := range s.groups {
		total += s.sums[(group*s.blocks+channel/lanes)*s.kinds+kind][channel%lanes]
	}
	return total
}

// each calls fn on many threads for the values [from, to) of each block of each image.
func (s *laneSums[T]) each(fn func(from, to int)) {
	kernel.Parallel(s.threads, s.images*s.blocks, func(i int) { fn(i*s.area, (i+1)*s.area) })
}
