package samplecodec

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
)

// makeParts gives records from smooth to random, as real pictures lie between the two.
func makeParts(records ...int) []Part {
	random := rand.New(rand.NewPCG(3, 4))
	var parts []Part
	for i, n := range records {
		data := make([]byte, n*RecordBytes)
		for r := range n {
			record := data[r*RecordBytes:]
			record[0] = byte(r % 10)
			noise := 1 + random.IntN(256)
			for p := range 3 * plane {
				record[1+p] = byte(2*(p%side) + 3*(p/side%side) + random.IntN(noise))
			}
		}
		parts = append(parts, Part{Name: string(rune('a' + i)), Records: data})
	}
	return parts
}

func TestRoundTrip(t *testing.T) {
	for _, records := range [][]int{{}, {0}, {1}, {5, 0, 3}, {1, 1, 1, 1, 1, 1, 1, 1}} {
		parts := makeParts(records...)
		packed, err := Encode(parts)
		if err != nil {
			t.Fatal(err)
		}
		back, err := Decode(packed)
		if err != nil {
			t.Fatal(err)
		}
		if len(back) != len(parts) {
			t.Fatalf("%d parts, want %d", len(back), len(parts))
		}
		for i := range parts {
			if back[i].Name != parts[i].Name || !bytes.Equal(back[i].Records, parts[i].Records) {
				t.Errorf("part %d differs", i)
			}
		}
	}
}

// TestExtremes packs values at the ends of the range, where differences wrap around.
func TestExtremes(t *testing.T) {
	records := make([]byte, 4*RecordBytes)
	random := rand.New(rand.NewPCG(5, 6))
	for i := range records {
		records[i] = byte(255 * random.IntN(2))
	}
	packed, err := Encode([]Part{{"x", records}})
	if err != nil {
		t.Fatal(err)
	}
	back, err := Decode(packed)
	if err != nil || !bytes.Equal(back[0].Records, records) {
		t.Errorf("differs: %v", err)
	}
}

func TestEncodeRefuses(t *testing.T) {
	for name, parts := range map[string][]Part{
		"half a record":  {{"x", make([]byte, RecordBytes+1)}},
		"too many parts": make([]Part, maxParts+1),
		"a long name":    {{string(make([]byte, 256)), nil}},
	} {
		if _, err := Encode(parts); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

// TestDamage cuts a packed sample and flips bits of it, everywhere in its head and here and there behind: an error each
// time.
func TestDamage(t *testing.T) {
	packed, err := Encode(makeParts(2, 1))
	if err != nil {
		t.Fatal(err)
	}
	step := func(i int) int {
		if i < 60 {
			return 1
		}
		return 37
	}
	for n := 0; n < len(packed); n += step(n) {
		if _, err := Decode(packed[:n]); !errors.Is(err, ErrFormat) {
			t.Fatalf("cut at %d: %v", n, err)
		}
	}
	if _, err := Decode(append(bytes.Clone(packed), 0)); !errors.Is(err, ErrFormat) {
		t.Errorf("a byte more: %v", err)
	}
	names := map[int]bool{10: true, 16: true} // the two names have no checksum
	for i := 0; i < len(packed); i += step(i) {
		damaged := bytes.Clone(packed)
		damaged[i] ^= 1 << (i % 8)
		back, err := Decode(damaged)
		if err == nil && !names[i] && !equal(back, packed, t) {
			t.Fatalf("bit flipped in byte %d of %d: not noticed", i, len(packed))
		}
		if err != nil && !errors.Is(err, ErrFormat) {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
}

// equal tells whether damage changed nothing, such as in the unused bits behind a stream.
func equal(parts []Part, packed []byte, t *testing.T) bool {
	t.Helper()
	whole, err := Decode(packed)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		if whole[i].Name != parts[i].Name || !bytes.Equal(whole[i].Records, parts[i].Records) {
			return false
		}
	}
	return true
}

// FuzzDecode: any bytes give whole records or ErrFormat, and what decodes packs again to the same.
func FuzzDecode(f *testing.F) {
	for _, records := range [][]int{{}, {1}, {1, 2}} {
		packed, err := Encode(makeParts(records...))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		parts, err := Decode(data)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Errorf("error of no kind: %v", err)
			}
			return
		}
		packed, err := Encode(parts)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := Decode(packed); err != nil || len(again) != len(parts) {
			t.Errorf("packed again: %v", err)
		}
	})
}
