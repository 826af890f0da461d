package embedder

import "errors"

var (
	// ErrFormat is returned for bytes that are no encoder file: not safetensors, truncated, or without the metadata
	// that imgsearch writes.
	ErrFormat = errors.New("not an encoder file of imgsearch (use a file that `imgsearch train` wrote)")
	// ErrVersion is returned for an encoder file whose format version this program does not read.
	ErrVersion = errors.New("encoder file of another format version (use the imgsearch that wrote it, or train again)")
	// ErrChecksum is returned for an encoder file whose content is not what was written.
	ErrChecksum = errors.New("encoder file is damaged (copy it again from where it came, or train again)")
	// ErrArchitecture is returned for an [Architecture] that is not a net which this package can run. The message names
	// the layer, the value and the allowed range.
	ErrArchitecture = errors.New("unusable architecture")
	// ErrWeights is returned for weights that do not fit their architecture: a tensor is missing, left over or of
	// another shape, or a value is not finite.
	ErrWeights = errors.New("weights do not fit the architecture")
	// ErrImage is returned by Embed for an image that is nil, empty, or whose pixels do not fit its sides.
	ErrImage = errors.New("unusable image")
)
