package training

import (
	"fmt"

	"imgsearch/internal/kernel"
)

// Precision says what numbers the convolutions multiply during training. Sums, weights, their updates, everything else
// and the finished encoder are float32 in any case.
type Precision string

const (
	// Float32 is the usual precision, on every processor.
	Float32 Precision = "float32"
	// BFloat16 rounds the activations, gradients and weights that enter a convolution of 16 or more input channels, or
	// what Winograd's transforms make of them, to 8 significant bits. It needs a processor with AVX512-BF16, which
	// multiplies such numbers at twice the speed of float32.
	BFloat16 Precision = "bfloat16"
)

// Precisions lists the precisions, the default one first.
func Precisions() []Precision { return []Precision{Float32, BFloat16} }

// complete returns the precision to use, or an error where there is no such one or the processor lacks it.
func (p Precision) complete() (Precision, error) {
	switch {
	case p == "":
		return Float32, nil
	case p == BFloat16 && !kernel.HasBF16():
		return "", optionError("precision", p, fmt.Sprintf("%s where the processor has no AVX512-BF16 or IMGSEARCH_KERNEL forbids it (kernels: %s)",
			Float32, kernel.Name()))
	case p == Float32 || p == BFloat16:
		return p, nil
	}
	return "", optionError("precision", fmt.Sprintf("%q", string(p)), fmt.Sprintf("%s or %s", Float32, BFloat16))
}
