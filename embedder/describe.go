package embedder

import "fmt"

// Description is what a person or a program may want to know of an encoder, ready for JSON.
type Description struct {
	// FormatVersion is the version of the file that [Encoder.Bytes] writes.
	FormatVersion int `json:"format_version"`
	// FileBytes is the length of that file.
	FileBytes int64 `json:"file_bytes"`
	// Fingerprint is that of [Encoder.Fingerprint].
	Fingerprint string `json:"fingerprint"`
	// InputSize, Mean and Std are those of the [Architecture].
	InputSize int        `json:"input_size"`
	Mean      [3]float32 `json:"mean"`
	Std       [3]float32 `json:"std"`
	// Dim is the number of values of an embedding, and Normalized tells whether embeddings have length 1.
	Dim        int  `json:"dim"`
	Normalized bool `json:"normalized"`
	// Parameters counts weights, biases and running statistics; FLOPs the operations for one image, see [Step.FLOPs].
	Parameters int64 `json:"parameters"`
	FLOPs      int64 `json:"flops"`
	// Layers lists all layers; those of a residual body come right before their residual layer.
	Layers []LayerDescription `json:"layers"`
	// Metadata says what made the encoder.
	Metadata Metadata `json:"metadata"`
}

// LayerDescription is a row of the table of layers.
type LayerDescription struct {
	// Name is the layer's path, such as "layers.3.body.0"; its tensors' names begin with it.
	Name string `json:"name"`
	// Depth is 0, or how many residual bodies the layer is in.
	Depth int  `json:"depth"`
	Kind  Kind `json:"kind"`
	// Detail tells the layer's settings: "3x3, stride 2, pad 1"; "" where there are none.
	Detail string `json:"detail"`
	// Output is the shape that the layer leaves for one image: [C, H, W] or [C].
	Output     []int `json:"output"`
	Parameters int64 `json:"parameters"`
	FLOPs      int64 `json:"flops"`
}

// Describe returns the encoder's description.
func (e *Encoder) Describe() Description {
	a := e.architecture
	d := Description{
		FormatVersion: FormatVersion,
		FileBytes:     e.fileBytes(),
		Fingerprint:   e.fingerprint,
		InputSize:     a.InputSize,
		Mean:          a.Mean,
		Std:           a.Std,
		Dim:           e.Dim(),
		Normalized:    e.Normalized(),
		Metadata:      e.metadata,
	}
	for _, s := range e.steps {
		d.Layers = append(d.Layers, LayerDescription{
			Name:       s.Path,
			Depth:      s.Depth,
			Kind:       s.Layer.Kind,
			Detail:     s.Layer.detail(),
			Output:     s.Out.Sides(),
			Parameters: s.Parameters(),
			FLOPs:      s.FLOPs(),
		})
		d.Parameters += s.Parameters()
		d.FLOPs += s.FLOPs()
	}
	return d
}

// detail tells the settings that differ from what one would expect.
func (l Layer) detail() string {
	var out string
	add := func(format string, args ...any) {
		if out != "" {
			out += ", "
		}
		out += fmt.Sprintf(format, args...)
	}
	if l.Kernel > 0 {
		add("%dx%d", l.Kernel, l.Kernel)
	}
	if l.StrideOrOne() > 1 {
		add("stride %d", l.Stride)
	}
	if l.Pad > 0 {
		add("pad %d", l.Pad)
	}
	if l.DilationOrOne() > 1 {
		add("dilation %d", l.Dilation)
	}
	if (l.Kind == Conv || l.Kind == Linear) && !l.Bias {
		add("no bias")
	}
	if l.Kind == MirrorMean {
		add("all above computed twice")
	}
	if l.Init == InitWhiten {
		add("whitening")
	}
	if l.Frozen {
		add("frozen")
	}
	return out
}
