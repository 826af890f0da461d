package training

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"imgsearch/embedder"
)

func testCheckpoint() *checkpoint {
	c := &checkpoint{
		Options: recorded{Preset: "x", Size: 16, Layers: []embedder.Layer{{Kind: embedder.Flatten}}, Seed: 1<<64 - 1},
		Images:  "abc", Kernel: "go", Step: 3, Steps: 7, Seconds: 1.25, RecordBytes: 99,
		HeldBack: &HeldBack{Step: 1, Images: 4, Match: 1. / 3, Purity: &Purity{At1: 0.1}},
		state: embedder.Weights{
			"a": {Shape: []int{2, 2}, Data: []float32{1, -2, 3.5, 1e-30}},
			"b": {Shape: []int{1}, Data: []float32{7}},
		},
	}
	c.Meter.add(stepResult{Loss: 0.3, Active: 0.1, PositiveDistance: 1, NegativeDistance: 2, Spread: 3})
	c.Watch.warn("few", "few images")
	loss := 2.5
	c.HeldBack.Loss = &loss
	c.Stop = stopState{Measured: 2, Best: &loss, BestStep: 1, Waited: 1, Stopped: &Stopped{Step: 2, Planned: 9, Steps: 7, Loss: loss, LossStep: 1}}
	return c
}

func TestCheckpointRoundTrip(t *testing.T) {
	want := testCheckpoint()
	data, err := want.encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeCheckpoint(data)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestDamagedCheckpointIsRefused(t *testing.T) {
	data, err := testCheckpoint().encode()
	if err != nil {
		t.Fatal(err)
	}
	for i := range data {
		broken := bytes.Clone(data)
		broken[i] ^= 1 << (i % 8)
		if _, err := decodeCheckpoint(broken); !errors.Is(err, ErrCheckpoint) && !errors.Is(err, ErrVersion) {
			t.Fatalf("byte %d flipped: %v", i, err)
		}
		if _, err := decodeCheckpoint(data[:i]); !errors.Is(err, ErrCheckpoint) {
			t.Fatalf("cut after %d bytes: %v", i, err)
		}
	}
	newer := bytes.Clone(data)
	binary.LittleEndian.PutUint32(newer[len(checkpointMagic):], checkpointVersion+1)
	if _, err := decodeCheckpoint(newer); !errors.Is(err, ErrVersion) {
		t.Errorf("newer version: %v", err)
	}
	if _, err := readCheckpoint(t.TempDir()); !errors.Is(err, ErrCheckpoint) {
		t.Errorf("a folder: %v", err)
	}
	if _, err := readCheckpoint(filepath.Join(t.TempDir(), "none")); !errors.Is(err, ErrNoCheckpoint) {
		t.Errorf("a missing file: %v", err)
	}
}

func FuzzDecodeCheckpoint(f *testing.F) {
	data, err := testCheckpoint().encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(checkpointMagic))
	f.Add(data[:len(data)/2])
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, data := range [][]byte{data, resealed(data)} {
			c, err := decodeCheckpoint(data)
			if err != nil {
				if !errors.Is(err, ErrCheckpoint) && !errors.Is(err, ErrVersion) {
					t.Fatalf("error of no kind: %v", err)
				}
				continue
			}
			if _, err := c.encode(); err != nil {
				t.Fatalf("decoded but not encoded: %v", err)
			}
		}
	})
}

// resealed corrects the checksum, so that the fuzzer gets past it.
func resealed(data []byte) []byte {
	if len(data) < 32 {
		return data
	}
	out := bytes.Clone(data)
	sum := checksum(out[:len(out)-32])
	copy(out[len(out)-32:], sum[:])
	return out
}

func TestWriteAtomicallyKeepsOldOnFailure(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := writeAtomically(path, []byte("old")); err != nil {
		t.Fatal(err)
	}
	// A directory in the way of the temporary file.
	if err := os.Mkdir(path+".tmp", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := writeAtomically(path, []byte("new")); err == nil {
		t.Error("no error")
	}
	if data, _ := os.ReadFile(path); string(data) != "old" {
		t.Errorf("file holds %q", data)
	}
}

func TestDifferencesNameFields(t *testing.T) {
	a, b := testCheckpoint().Options, testCheckpoint().Options
	if d := differences(a, b); len(d) != 0 {
		t.Fatalf("equal options differ: %v", d)
	}
	b.Seed, b.Preset = 5, ""
	got := strings.Join(differences(a, b), "; ")
	if want := `preset is "x" in the checkpoint and nothing now; seed is 18446744073709551615 in the checkpoint and 5 now`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
