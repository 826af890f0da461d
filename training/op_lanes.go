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

// lanePiece is the number of values that sums are taken of in T: 64 pixels. The sums of pieces are added up in float64.
const lanePiece = 64 * lanes

// eachPiece calls fn for the pieces of the values [0, n).
func eachPiece(n int, fn func(from, to int)) {
	for from := 0; from < n; from += lanePiece {
		fn(from, min(from+lanePiece, n))
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

// newLaneSums is for so many kinds of sums over images shaped like x.
func newLaneSums[T kernel.Float](g *graph[T], x *variable[T], kinds int) *laneSums[T] {
	s := &laneSums[T]{
		threads: g.threads, images: x.shape[0], blocks: x.shape[1], area: x.shape[2] * x.shape[3] * lanes,
		groups: min(laneGroups, x.shape[0]), kinds: kinds,
	}
	s.sums = make([][lanes]float64, s.groups*s.blocks*kinds)
	return s
}

// run calls add for the values [from, to) of each block of each image: it adds to the sums of all kinds.
func (s *laneSums[T]) run(add func(from, to int, sums [][lanes]float64)) {
	kernel.Parallel(s.threads, s.groups*s.blocks, func(i int) {
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

// addLanes adds the values of each lane of x to the sums.
func addLanes[T kernel.Float](x []T, sums *[lanes]float64) {
	eachPiece(len(x), func(from, to int) {
		piece := x[from:to]
		for l := 0; l < lanes; l += 4 {
			var s0, s1, s2, s3 T
			for o := l; o < len(piece); o += lanes {
				v := (*[4]T)(piece[o:])
				s0 += v[0]
				s1 += v[1]
				s2 += v[2]
				s3 += v[3]
			}
			sums[l] += float64(s0)
			sums[l+1] += float64(s1)
			sums[l+2] += float64(s2)
			sums[l+3] += float64(s3)
		}
	})
}
