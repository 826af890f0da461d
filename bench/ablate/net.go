package main

import "imgsearch/embedder"

// net describes an encoder as the presets have it, and what rows change of it. The zero value of a field is the presets'.
type net struct {
	widths [3]int
	blocks int // residual blocks of a stage; default 1
	// plainFirst trains the first layer instead of whitening patches.
	plainFirst bool
	// pool is the side of the first pooling, 1 for none; default 2.
	pool int
	// strides are those of the stages' first convolutions; default 1, 2, 2.
	strides [3]int
	// dilations are those of the stages' convolutions that have stride 1; default 1, 1, 1.
	dilations [3]int
	// twoConvs makes a block's body of two convolutions.
	twoConvs bool
}

func (n net) architecture(size, dim int) embedder.Architecture {
	if n.widths == [3]int{} {
		n.widths = [3]int{32, 64, 128}
	}
	if n.strides == [3]int{} {
		n.strides = [3]int{1, 2, 2}
	}
	if n.dilations == [3]int{} {
		n.dilations = [3]int{1, 1, 1}
	}
	n.blocks, n.pool = max(n.blocks, 1), max(n.pool, 0)
	if n.pool == 0 {
		n.pool = 2
	}
	conv := func(out, stride, dilation int) embedder.Layer {
		return embedder.Layer{Kind: embedder.Conv, Out: out, Kernel: 3, Pad: dilation, Stride: stride, Dilation: dilation}
	}
	first := embedder.Layer{Kind: embedder.Conv, Out: 54, Kernel: 3, Pad: 1}
	if !n.plainFirst {
		first.Frozen, first.Init = true, embedder.InitWhiten
	}
	layers := []embedder.Layer{first}
	if n.pool > 1 {
		layers = append(layers, embedder.Layer{Kind: embedder.MaxPool, Kernel: n.pool, Stride: n.pool})
	}
	layers = append(layers, relu)
	for i, width := range n.widths {
		dilation := n.dilations[i]
		if n.strides[i] > 1 {
			layers = append(layers, conv(width, n.strides[i], 1), norm, relu)
		} else {
			layers = append(layers, conv(width, 1, dilation), norm, relu)
		}
		for range n.blocks {
			body := []embedder.Layer{conv(width, 1, dilation), norm, relu}
			if n.twoConvs {
				body = append(body, conv(width, 1, dilation), norm, relu)
			}
			layers = append(layers, embedder.Layer{Kind: embedder.Residual, Body: body})
		}
	}
	layers = append(layers, embedder.Layer{Kind: embedder.GlobalMean}, linear(dim), unit)
	return embedder.Architecture{InputSize: size, Layers: layers}
}
