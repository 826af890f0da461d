package kernel

import "fmt"

// MaxPool is a maximum over square windows, without padding, of activations in blocks (see [Block]), followed by
// max(·, 0) where ReLU is set. NaN wins over numbers.
type MaxPool struct {
	H, W   int // pixels of the input
	Size   int // side of the window, 1 to 64
	Stride int // step of the window, at least 1
	ReLU   bool
}

// OutSize returns the height and width of the result.
func (p MaxPool) OutSize() (h, w int) {
	return (p.H-p.Size)/p.Stride + 1, (p.W-p.Size)/p.Stride + 1
}

// maxByteSize is the largest side of a window whose taps are counted in a byte, 255 being kept for none.
const maxByteSize = 15

// ChoiceLen returns the number of bytes that the choices of one block of an image take.
func (p MaxPool) ChoiceLen() int {
	h, w := p.OutSize()
	n := h * w * BlockChannels
	if p.Size > maxByteSize {
		n *= 2
	}
	return n
}

// check panics unless the slices hold one block of an image.
func (p MaxPool) check(x, y, choice int) {
	oh, ow := p.OutSize()
	if p.Size < 1 || p.Size > 64 || p.Stride < 1 || oh < 1 || ow < 1 || p.Size > p.H || p.Size > p.W {
		panic(fmt.Sprintf("kernel: pooling of shape %+v", p))
	}
	checkLen("MaxPool", "the input", x, p.H*p.W*BlockChannels)
	checkLen("MaxPool", "the result", y, oh*ow*BlockChannels)
	checkLen("MaxPool", "the choices", choice, p.ChoiceLen())
}

// MaxPoolForward computes y [OutSize, BlockChannels] from one block of an image, x [H, W, BlockChannels]. Where choice
// is not nil, it gets which value of its window each result is, for MaxPoolBackward.
func MaxPoolForward[T Float](p MaxPool, x, y []T, choice []uint8) {
	if choice == nil {
		p.check(len(x), len(y), p.ChoiceLen())
	} else {
		p.check(len(x), len(y), len(choice))
	}
	if x32, ok := any(x).([]float32); ok {
		maxPoolForward32(p, x32, any(y).([]float32), choice)
		return
	}
	maxPoolForwardGo(p, x, y, choice)
}

// MaxPoolBackward sets dx [H, W, BlockChannels] to the gradient with respect to the input of MaxPoolForward that follows
// from dy, the one with respect to its result: it goes to the first one in row-major order of those that are largest in
// a window, and with ReLU to none where they are not above 0. Where windows overlap, gradients are added up in the order
// of the windows.
func MaxPoolBackward[T Float](p MaxPool, dy []T, choice []uint8, dx []T) {
	p.check(len(dx), len(dy), len(choice))
	if dy32, ok := any(dy).([]float32); ok {
		maxPoolBackward32(p, dy32, choice, any(dx).([]float32))
		return
	}
	maxPoolBackwardGo(p, dy, choice, dx)
}

// eachWindow calls fn for each window with the place of its first value and of its result, in pixels.
func (p MaxPool) eachWindow(fn func(in, out int)) {
	oh, ow := p.OutSize()
	for oy := range oh {
		for ox := range ow {
			fn(oy*p.Stride*p.W+ox*p.Stride, oy*ow+ox)
		}
	}
}

func maxPoolForwardGo[T Float](p MaxPool, x, y []T, choice []uint8) {
	p.eachWindow(func(in, out int) {
		most := (*[BlockChannels]T)(y[out*BlockChannels:])
		*most = [BlockChannels]T(x[in*BlockChannels:])
		var at [BlockChannels]int
		for tap := range p.Size * p.Size {
			pixel := in + tap/p.Size*p.W + tap%p.Size
			for l, v := range (*[BlockChannels]T)(x[pixel*BlockChannels:]) {
				if v > most[l] {
					at[l] = tap
				}
				most[l] = max(most[l], v)
			}
		}
		for l, v := range most {
			if p.ReLU {
				if v <= 0 {
					at[l] = 1<<16 - 1
				}
				most[l] = max(v, 0)
			}
			if choice != nil {
				p.setChoice(choice, out*BlockChannels+l, at[l])
			}
		}
	})
}

// setChoice writes choice i; a byte of 255, or two of them, are no tap.
func (p MaxPool) setChoice(choice []uint8, i, tap int) {
	if p.Size <= maxByteSize {
		choice[i] = uint8(tap)
		return
	}
	choice[2*i], choice[2*i+1] = uint8(tap), uint8(tap>>8)
}

// choiceAt reads what setChoice wrote.
func (p MaxPool) choiceAt(choice []uint8, i int) int {
	if p.Size <= maxByteSize {
		return int(choice[i])
	}
	return int(choice[2*i]) | int(choice[2*i+1])<<8
}

func maxPoolBackwardGo[T Float](p MaxPool, dy []T, choice []uint8, dx []T) {
	clear(dx[:p.H*p.W*BlockChannels])
	taps := p.Size * p.Size
	p.eachWindow(func(in, out int) {
		for l, v := range (*[BlockChannels]T)(dy[out*BlockChannels:]) {
			if tap := p.choiceAt(choice, out*BlockChannels+l); tap < taps {
				dx[(in+tap/p.Size*p.W+tap%p.Size)*BlockChannels+l] += v
			}
		}
	})
}

// GlobalMean writes the mean of each channel over one block of an image, x [pixels, BlockChannels], to mean, which may
// be for fewer channels than a block has.
func GlobalMean[T Float](x, mean []T) {
	var sums [BlockChannels]float64
	LaneSums(x, &sums)
	pixels := float64(len(x) / BlockChannels)
	for l := range mean {
		mean[l] = T(sums[l] / pixels)
	}
}

// Spread sets every pixel of x [pixels, BlockChannels] to the given one, zeros standing in for what it lacks.
func Spread[T Float](x, pixel []T) {
	if len(x) == 0 {
		return
	}
	clear(x[copy(x[:BlockChannels], pixel):BlockChannels])
	for done := BlockChannels; done < len(x); done *= 2 {
		copy(x[done:], x[:done])
	}
}
