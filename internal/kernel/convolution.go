package kernel

// ConvShape is the shape of a two-dimensional convolution (cross-correlation, as is usual in nets) with a square
// window, on images of [In, H, W].
type ConvShape struct {
	In, Out  int // channels
	H, W     int // pixels of the input
	Kernel   int // side of the window, 1 to 64
	Stride   int // step of the window, at least 1
	Pad      int // zero rows and columns on each side
	Dilation int // distance between the taps of the window, at least 1
}

// ConvEpilogue is what [Conv.Forward] does to its sums before it writes them.
type ConvEpilogue struct {
	// Bias is added to each channel where it is not nil: [Blocks(Out)*BlockChannels], zeros where a block has no channel.
	Bias []float32
	// Add adds what the output holds already, which is otherwise overwritten: the other branch of a residual layer.
	Add bool
	// ReLU replaces values below zero by zero, after all else. NaN stays.
	ReLU bool
}

// Convolution is what [Conv], [Winograd], [ConvBF16] and [WinogradBF16] have in common. Weights are packed once and used for many images.
type Convolution interface {
	// Shape returns the shape that the convolution was made for, OutputSize the height and width of the output.
	Shape() ConvShape
	OutputSize() (oh, ow int)
	// InputLen and OutputLen return the number of values of n blocked inputs and outputs.
	InputLen(n int) int
	OutputLen(n int) int
	// WeightsLen and GradientLen return the number of values of packed weights and of the gradient.
	WeightsLen() int
	GradientLen() int
	// PackWeights packs weights for Forward, PackTransposed for BackwardData; UnpackGradient unpacks what BackwardWeights
	// makes. Each works on up to [Threads](threads) threads.
	PackWeights(threads int, weights, packed []float32)
	PackTransposed(threads int, weights, packed []float32)
	UnpackGradient(threads int, gradient, weights []float32)

	Forward(threads, n int, x, weights, y []float32, e ConvEpilogue)
	BackwardData(threads, n int, dy, weights, dx []float32, add bool)
	BackwardWeights(threads, n int, x, dy, gradient []float32)
}

// winogradChannels is the number of channels from which on, in and out, the transforms of [Winograd] pay for themselves.
const winogradChannels = 16

// NewConvolution returns the faster way to convolutions of a shape. The choice depends on the shape alone.
func NewConvolution(s ConvShape) Convolution {
	if WinogradServes(s) && min(s.In, s.Out) >= winogradChannels {
		return NewWinograd(s)
	}
	return NewConv(s)
}

// NewConvolutionBF16 returns the faster way to convolutions of a shape with products of bfloat16 values. The choice depends
// on the shape alone.
func NewConvolutionBF16(s ConvShape) Convolution {
	if WinogradBF16Serves(s) && min(s.In, s.Out) >= winogradChannels {
		return NewWinogradBF16(s)
	}
	return NewConvBF16(s)
}
