package kernel

// Convolution is what [Conv] and [Winograd] have in common. Weights are packed once and used for many images.
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
	// makes.
	PackWeights(weights, packed []float32)
	PackTransposed(weights, packed []float32)
	UnpackGradient(gradient, weights []float32)

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
