package main

import (
	"cmp"

	"imgsearch/embedder"
)

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
	widths := cmp.Or(n.widths, [3]int{32, 64, 128})
	strides := cmp.Or(n.strides, [3]int{1, 2, 2})
	dilations := cmp.Or(n.dilations, [3]int{1, 1, 1})
	blocks, pool := cmp.Or(n.blocks, 1), cmp.Or(n.pool, 2)
	conv := func(out, stride, dilation int) embedder.Layer {
		return embedder.Layer{Kind: embedder.Conv, Out: out, Kernel: 3, Pad: dilation, Stride: stride, Dilation: dilation}
	}
	first := embedder.Layer{Kind: embedder.Conv, Out: 54, Kernel: 3, Pad: 1}
	if !n.plainFirst {
		first.Frozen, first.Init = true, embedder.InitWhiten
	}
	layers := []embedder.Layer{first}
	if pool > 1 {
		layers = append(layers, embedder.Layer{Kind: embedder.MaxPool, Kernel: pool, Stride: pool})
	}
	layers = append(layers, relu)
	for i, width := range widths {
		dilation := dilations[i]
		if strides[i] > 1 {
			layers = append(layers, conv(width, strides[i], 1), norm, relu)
		} else {
			layers = append(layers, conv(width, 1, dilation), norm, relu)
		}
		for range blocks {
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
