// Package embedder holds the encoder: the net as data, its weights, the file that keeps both, and the way from an image
// to its embedding.
//
// An [Architecture] lists the layers of a net, the size of its input and how pixels are normalised. It is plain data:
// this package builds the inference path of it, package training the graph that gradients flow through.
// [Architecture.Validate] checks every field and bounds what the net can make a program allocate;
// [Architecture.Parameters] names the tensors that it needs, and [InitWeights] draws first values. [Weights] are
// tensors by name, in PyTorch's names and layouts.
//
// An [Encoder] joins an architecture, its weights and the [Metadata] that says what made it. [New] makes one, [Load]
// and [Read] read its file, [Encoder.Save] writes it. It is immutable and safe for use by several goroutines at once.
// [Encoder.Embed] makes embeddings, [Encoder.Fingerprint] tells encoders apart, [Encoder.Describe] tells all that a
// person may want to know.
//
// # Embeddings
//
// An image is made square (the shorter side scaled to InputSize, the centre cut out), its channels are normalised, and
// the net leaves Dim float32 values. They depend on the image and the encoder alone: the same bits come out whether an
// image is embedded alone or within a batch, on one thread or on many. Between processors the last bits may differ, as
// package kernel tells. Batch normalisation uses the running statistics.
//
// A [MirrorMean] layer takes the mean over the image and its mirror image, whose embeddings are then the same; it doubles the
// work of all layers before it.
//
// # The file
//
// An encoder file is a safetensors file (https://github.com/huggingface/safetensors), so that other programs can read
// the weights. All tensors are F32, named by [Architecture.Parameters] and sorted by name. The string map __metadata__
// holds, each key beginning with "imgsearch.": format_version (see [FormatVersion]), architecture (JSON), checksum,
// and the fields of [Metadata]: preset, seed, steps, dataset, dataset_fingerprint, final_loss, created, program. The
// checksum covers all of these and the tensors, so that a damaged file is an error and never another encoder; other
// keys are ignored. Equal content gives equal bytes. A file is written beside its place, synced and renamed.
//
// [ErrFormat], [ErrVersion], [ErrChecksum], [ErrArchitecture] and [ErrWeights] tell what is wrong with a file. Lengths
// are checked before memory is taken: reading takes a small multiple of the file's length, and running a net at most
// what the Max constants allow.
//
// [MarshalTensors] and [UnmarshalTensors] read and write any tensors in the same format.
package embedder
