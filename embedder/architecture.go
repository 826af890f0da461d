package embedder

// Embedding is the vector that stands for an image: Dim float32 values.
type Embedding []float32

// Kind names what a [Layer] computes. Activations are [N, C, H, W] until Flatten or GlobalMean makes them [N, F].
type Kind string

const (
	// Conv is a two-dimensional cross-correlation: weight [Out, In, Kernel, Kernel], optional bias [Out].
	Conv Kind = "conv"
	// BatchNorm normalises each channel: weight, bias, running_mean, running_var, each [C]; epsilon 1e-5.
	BatchNorm Kind = "batchnorm"
	// ReLU is max(x, 0).
	ReLU Kind = "relu"
	// MaxPool takes the maximum over Kernel x Kernel windows at Stride, without padding.
	MaxPool Kind = "maxpool"
	// GlobalMean averages over height and width: [N, C, H, W] -> [N, C].
	GlobalMean Kind = "globalmean"
	// Flatten lays out [N, C, H, W] as [N, C*H*W].
	Flatten Kind = "flatten"
	// Linear is x W^T + b: weight [Out, In], optional bias [Out].
	Linear Kind = "linear"
	// L2Norm divides each row by its Euclidean length (at least 1e-12). Only as the last layer.
	L2Norm Kind = "l2norm"
	// Residual adds the input to the output of Body, which must keep the shape.
	Residual Kind = "residual"
)

// Layer is one step of an [Architecture]. Fields that a kind does not use are zero.
type Layer struct {
	Kind Kind `json:"kind"`
	// Out is the number of output channels (Conv) or values (Linear).
	Out int `json:"out,omitempty"`
	// Kernel is the side of the window (Conv, MaxPool).
	Kernel int `json:"kernel,omitempty"`
	// Stride is the step of the window; 0 means 1.
	Stride int `json:"stride,omitempty"`
	// Pad is the number of zero rows and columns on each side (Conv).
	Pad int `json:"pad,omitempty"`
	// Dilation is the distance between the taps of the window; 0 means 1 (Conv).
	Dilation int `json:"dilation,omitempty"`
	// Bias says whether Conv or Linear adds a bias.
	Bias bool `json:"bias,omitempty"`
	// Frozen weights keep their first values during training.
	Frozen bool `json:"frozen,omitempty"`
	// Init names the first values of the weights; "" is InitKaiming.
	Init Init `json:"init,omitempty"`
	// Body is what a Residual adds to its input.
	Body []Layer `json:"body,omitempty"`
}

// Init names how weights get their first values.
type Init string

const (
	// InitKaiming draws normal values with variance 2/fan_in (He et al. 2015, arXiv 1502.01852); biases are zero.
	InitKaiming Init = "kaiming"
	// InitUniform draws weights and biases uniformly from [-1/sqrt(fan_in), 1/sqrt(fan_in)], as PyTorch does by default.
	InitUniform Init = "uniform"
	// InitWhiten sets a Conv on the input to the whitening of the training images' patches and its negative; it is set
	// by the trainer, which has the images. Out must be 2*In*Kernel*Kernel.
	InitWhiten Init = "whiten"
)

// Architecture is an encoder's net as data. The inference path of this package and the training graph are both built
// from it.
type Architecture struct {
	// InputSize is the side of the square input in pixels.
	InputSize int `json:"input_size"`
	// Mean and Std normalise each channel: (value/255 - Mean) / Std.
	Mean [3]float32 `json:"mean"`
	Std  [3]float32 `json:"std"`
	// Layers are applied in order to [N, 3, InputSize, InputSize]; the last one leaves [N, Dim].
	Layers []Layer `json:"layers"`
}
