// Package kernel holds the arithmetic that the rest of imgsearch stands on: dot products and distances, matrix
// products, convolutions, what lies between them in a net, and a way to share work between cores. All functions work on slices that the caller owns;
// nothing here keeps a slice after it returns.
//
// # Code paths
//
// On amd64 the float32 functions have up to three implementations: AVX-512, AVX2 with FMA, and plain Go. The best one
// that the processor offers is chosen when the program starts; [Name] tells which. The environment variable
// IMGSEARCH_KERNEL=avx512|avx2|go forces one; where it names a path that is unknown or that this processor lacks, the
// choice is made as if it were not set and [Err] says so. Other processors run plain Go, as does everything in float64.
//
// The amd64 assembly is written by the generator in gen, which `go generate` runs; a test holds the committed files
// against it. The comments of gen explain the kernels.
//
// # Convolutions
//
// [Im2col] and [Gemm] work on the usual layout [N, C, H, W], in float32 and float64, at the price of memory for the
// unrolled image. The other two ways work on activations that keep blocks of [BlockChannels] channels together ([Block],
// [Unblock]), in float32, and a chain of layers stays in blocks from end to end:
//
//   - [Conv] is direct, for any window, stride, padding and dilation: nothing is copied, the sums stay in registers for
//     the whole window, taps that fall on the padding are left out.
//   - [Winograd] serves windows of 3x3 with stride 1 and no dilation with a quarter of the multiplications.
//
// [NewConvolution] chooses by the shape. docs/performance.md explains both. [ConvBF16] and [WinogradBF16] are
// their likes with products of bfloat16 values, which processors with AVX512-BF16 compute at twice the speed:
// [NewConvolutionBF16].
//
// # Between convolutions
//
// Batch normalisation ([LaneMoments], [LaneAffine]), pooling ([MaxPool], [GlobalMean]), [ReLU], [AddInto], rows of
// distances ([ExpSum], [RowRange]) and the optimiser's step ([SGD]) do a few operations a value, so memory sets their
// pace. Each makes one pass and takes in what would otherwise need another: ReLU, the mask of its gradient, weight decay.
//
// # Graphs
//
// [GatherRows] follows the links of a node to the rows that a search has not seen, and asks for them ahead of their use;
// [SquaredL2Codes] and [SquaredL2Each] compare a query with such rows.
//
// # Reproducibility
//
// No result depends on the number of threads, on the alignment of a slice or on what else the machine does.
//
//   - [Gemm] and [GemmParallel] add the products of an element in the order of k, in blocks of [GemmBlock], whatever m
//     and n are: row i of a product is the same bit for bit whether it is computed alone or within a large batch, by
//     one thread or by many. AVX-512 and AVX2 give the same bits.
//   - [Dot], [DotRows], and likewise [SquaredL2], [SquaredL2Rows] and [SquaredL2Each], give the same bits for the same
//     pair of vectors; AVX-512 and AVX2 give the same bits.
//   - [SquaredL2Codes] is about whole numbers and gives the same on every path.
//   - [Conv] and [Winograd] document their order of summation; it depends on the shape and, for the gradient of the
//     weights, on the number of images. AVX-512 and AVX2 give the same bits.
//   - [ConvBF16] and [WinogradBF16] likewise, but that AVX2 runs plain Go there, which may differ from AVX-512 in the last
//     bits.
//   - The methods of [Resampler] and [Dropout] work pixel by pixel; the means that [Resampler.Stretch] returns are sums in
//     an order that depends on the window only. AVX-512 and AVX2 give the same bits; so does plain Go in [Dropout].
//   - [Axpy], [Scale] and the other functions that work element by element give the same bits in AVX-512 and AVX2;
//     [Sum], [ExpSum], [LaneSums] and the like add up in the same order in both. What has no number counts, after a
//     ReLU, by its sign in a gradient, on all paths.
//   - Plain Go may differ from the other two in the last bits: they use fused multiply-adds, which Go's compiler uses
//     on some processors (arm64) and not on others (amd64).
package kernel
