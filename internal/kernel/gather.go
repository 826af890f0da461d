package kernel

import "unsafe"

// GatherChunk is the number of rows in each slice of a table of rows.
const GatherChunk = 1024

// NoRow ends a list of row numbers before its length does.
const NoRow = 1<<32 - 1

// Gathered is where [GatherRows] puts what it finds; both slices need room for as many rows as a list has.
type Gathered[T any] struct {
	Slots []uint32 // row numbers
	Rows  []*T     // where the rows begin
}

// GatherRows collects the rows that a list of row numbers leads to, those left out whose place in visited holds epoch; the
// others' is set to it. It returns how many there are, or -1 where a number is not below len(visited) and not [NoRow].
//
// Row i begins i%GatherChunk*width bytes behind table[i/GatherChunk]; the caller answers for the table. The first bytes of
// each row, and 128 bytes from ahead on, are brought into the cache where the processor takes such hints.
func GatherRows[T, A any](list []uint32, visited []uint8, epoch uint8, table []*T, width int, out Gathered[T], ahead *A) int {
	if len(out.Slots) < len(list) || len(out.Rows) < len(list) || len(table)*GatherChunk < len(visited) {
		panic("kernel: GatherRows without room")
	}
	if len(list) == 0 {
		return 0
	}
	return gather(unsafe.SliceData(list), len(list), len(visited), unsafe.SliceData(visited), uint64(epoch),
		unsafe.Pointer(unsafe.SliceData(table)), width, unsafe.SliceData(out.Slots), unsafe.Pointer(unsafe.SliceData(out.Rows)), unsafe.Pointer(ahead))
}

// Prefetch asks for the 128 bytes at p, where the processor takes such hints. p may point anywhere.
func Prefetch[T any](p *T) { prefetch(unsafe.Pointer(p)) }

// gatherGo is GatherRows in plain Go.
func gatherGo(list *uint32, length, total int, visited *uint8, epoch uint64, table unsafe.Pointer, width int, slots *uint32, rows, _ unsafe.Pointer) int {
	seen := unsafe.Slice(visited, total)
	first := unsafe.Slice((*unsafe.Pointer)(table), (total+GatherChunk-1)/GatherChunk)
	toSlots, toRows := unsafe.Slice(slots, length), unsafe.Slice((*unsafe.Pointer)(rows), length)
	n := 0
	for _, slot := range unsafe.Slice(list, length) {
		if int64(slot) >= int64(total) {
			if slot == NoRow {
				break
			}
			return -1
		}
		before := seen[slot]
		seen[slot] = uint8(epoch)
		toSlots[n] = slot
		toRows[n] = unsafe.Add(first[slot/GatherChunk], int(slot%GatherChunk)*width)
		if before != uint8(epoch) {
			n++
		}
	}
	return n
}
