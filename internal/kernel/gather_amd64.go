package kernel

import "unsafe"

//go:noescape
func gather(list *uint32, length, total int, visited *uint8, epoch uint64, table unsafe.Pointer, width int, slots *uint32, rows, ahead unsafe.Pointer) int

//go:noescape
func prefetch(at unsafe.Pointer)
