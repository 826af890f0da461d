package kernel

import (
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"
)

func TestGatherRows(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	const width = 3
	for range 300 {
		total := 1 + rng.IntN(3*GatherChunk)
		table := make([]*float32, (total+GatherChunk-1)/GatherChunk)
		for i := range table {
			table[i] = &make([]float32, GatherChunk*width)[0]
		}
		visited := make([]uint8, total)
		for i := range visited {
			visited[i] = uint8(rng.IntN(3))
		}
		list := make([]uint32, rng.IntN(40))
		for i := range list {
			list[i] = uint32(rng.IntN(total))
		}
		want := len(list) // numbers before the end
		switch at := rng.IntN(80); {
		case at < len(list) && at%2 == 0:
			list[at] = NoRow
			want = at
		case at < len(list):
			list[at] = uint32(total + rng.IntN(5))
			want = -1
		}
		marks := slices.Clone(visited)
		out := Gathered[float32]{make([]uint32, len(list)+1), make([]*float32, len(list)+1)}
		out.Slots[len(list)] = 77
		n := GatherRows(list, visited, 2, table, 4*width, out, &list)
		if (want < 0) != (n < 0) {
			t.Fatalf("%d of %v with %d rows", n, list, total)
		}
		if n < 0 {
			continue
		}
		var slots []uint32
		for _, slot := range list[:want] {
			if marks[slot] != 2 {
				marks[slot] = 2
				slots = append(slots, slot)
			}
		}
		if !slices.Equal(out.Slots[:n], slots) || !slices.Equal(marks, visited) || out.Slots[len(list)] != 77 {
			t.Fatalf("of %v: %v, want %v", list, out.Slots[:n], slots)
		}
		for i, slot := range slots {
			chunk := unsafe.Slice(table[slot/GatherChunk], GatherChunk*width)
			if out.Rows[i] != &chunk[slot%GatherChunk*width] {
				t.Fatalf("row %d is elsewhere", slot)
			}
		}
		again := Gathered[float32]{make([]uint32, len(list)), make([]*float32, len(list))}
		if n := GatherRows(list, visited, 2, table, 4*width, again, &list); n != 0 {
			t.Fatalf("%d rows seen before", n)
		}
	}
}

func TestGatherRowsPlain(t *testing.T) {
	list, visited := []uint32{3, 1, 3, NoRow, 2}, make([]uint8, 4)
	rows := make([]byte, 8*GatherChunk)
	table := []*byte{&rows[0]}
	slots, to := make([]uint32, 5), make([]*byte, 5)
	n := gatherGo(&list[0], 5, 4, &visited[0], 7, unsafe.Pointer(&table[0]), 8, &slots[0], unsafe.Pointer(&to[0]), nil)
	if n != 2 || slots[0] != 3 || slots[1] != 1 || to[0] != &rows[24] || to[1] != &rows[8] || visited[2] != 0 {
		t.Errorf("%d: %v", n, slots)
	}
	Prefetch(&rows[0])
}
