package embedder

// SeedArchitecture returns the net of the study that the preset `seed` reproduces: three dilated convolutions without
// padding (dilations 1, 2 and 5, after hybrid dilated convolution, arXiv 1702.08502) and four linear layers, 32x32
// pixels to 64 values, channels normalised to [-1, 1], ReLU after all layers but the last, weights drawn as PyTorch
// does by default. It has 9.0 million parameters, nearly all in the first linear layer.
func SeedArchitecture() Architecture {
	conv := func(out, dilation int) Layer {
		return Layer{Kind: Conv, Out: out, Kernel: 3, Dilation: dilation, Bias: true, Init: InitUniform}
	}
	linear := func(out int) Layer { return Layer{Kind: Linear, Out: out, Bias: true, Init: InitUniform} }
	relu := Layer{Kind: ReLU}
	return Architecture{
		InputSize: 32,
		Mean:      [3]float32{0.5, 0.5, 0.5},
		Std:       [3]float32{0.5, 0.5, 0.5},
		Layers: []Layer{
			conv(6, 1), relu, // 6x30x30
			conv(16, 2), relu, // 16x26x26
			conv(32, 5), relu, // 32x16x16
			{Kind: Flatten}, // 8192
			linear(1024), relu,
			linear(512), relu,
			linear(128), relu,
			linear(64),
		},
	}
}
