package kernel

import (
	"fmt"
	"unsafe"
)

// CodeBlock is what the length of a vector of codes is a multiple of.
const CodeBlock = 64

// MaxCodes is the most codes of a vector: the largest squared distance of two is below 2^32 then.
const MaxCodes = 1 << 16

// SquaredL2Codes writes to out[i] the squared Euclidean distance of q and the len(q) codes, numbers from 0 to 255, that
// begin at rows[i], for the len(out) pointers of rows. The length of q must be a multiple of [CodeBlock] above 0 and at most
// [MaxCodes]. The caller answers for the pointers. Distances are whole numbers, the same on every path.
func SquaredL2Codes(q []uint8, rows []*uint8, out []uint32) {
	checkPair("SquaredL2Codes", len(rows), len(out))
	if len(q) == 0 || len(q)%CodeBlock != 0 || len(q) > MaxCodes {
		panic(fmt.Sprintf("kernel: SquaredL2Codes of %d codes", len(q)))
	}
	if len(out) > 0 {
		squaredL2Codes(q, rows, out)
	}
}

func squaredL2CodesGo(q []uint8, rows []*uint8, out []uint32) {
	for i := range out {
		row := unsafe.Slice(rows[i], len(q))
		sum := uint32(0)
		for j, v := range q {
			d := int32(v) - int32(row[j])
			sum += uint32(d * d)
		}
		out[i] = sum
	}
}
