//go:build !amd64

package kernel

func squaredL2Codes(q []uint8, rows []*uint8, out []uint32) { squaredL2CodesGo(q, rows, out) }
