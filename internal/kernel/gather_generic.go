//go:build !amd64

package kernel

import "unsafe"

func gather(list *uint32, length, total int, visited *uint8, epoch uint64, table unsafe.Pointer, width int, slots *uint32, rows, ahead unsafe.Pointer) int {
	return gatherGo(list, length, total, visited, epoch, table, width, slots, rows, ahead)
}

func prefetch(unsafe.Pointer) {}
