package store

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"path/filepath"
	"testing"

	"imgsearch/dataset"
)

// plane returns positions for ids below n, NaN behind them.
func plane(n int) [][]float32 {
	chunks := make([][]float32, (n+ChunkRows-1)/ChunkRows)
	for c := range chunks {
		chunks[c] = make([]float32, 2*ChunkRows)
		for i := range chunks[c] {
			if c*ChunkRows+i/2 < n {
				chunks[c][i] = float32(c*ChunkRows + i)
			} else {
				chunks[c][i] = float32(math.NaN())
			}
		}
	}
	return chunks
}

func TestMap(t *testing.T) {
	rng := random(t)
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "c.imgsearch")
	s := create(t, path)
	generation := func() (g uint64) {
		if err := s.View(ctx, func(v *View) error { g = v.Header().Generation; return nil }); err != nil {
			t.Fatal(err)
		}
		return g
	}
	if err := s.PutMap(ctx, generation(), nil, nil); !errors.Is(err, ErrInvalid) {
		t.Errorf("a map of nothing: %v", err)
	}
	var b Batch
	for i := range 1100 {
		b.Add = append(b.Add, item(rng, i))
	}
	if _, err := s.Apply(ctx, b); err != nil {
		t.Fatal(err)
	}
	if err := s.PutMap(ctx, generation()-1, plane(1100), nil); !errors.Is(err, ErrInvalid) {
		t.Errorf("a map of another generation: %v", err)
	}
	if err := s.PutMap(ctx, generation(), plane(1099), nil); !errors.Is(err, ErrInvalid) {
		t.Errorf("a map without a position: %v", err)
	}
	if err := s.PutMap(ctx, generation(), plane(1024), nil); !errors.Is(err, ErrInvalid) {
		t.Errorf("a map of too few values: %v", err)
	}
	info := json.RawMessage(`{"a":1}`)
	if err := s.PutMap(ctx, generation(), plane(1100), info); err != nil {
		t.Fatal(err)
	}
	made := generation()
	// Images come and go: the positions stay.
	if _, err := s.Apply(ctx, Batch{Remove: []dataset.ID{7}, Add: []Item{item(rng, 2000)}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path, Options{Write: true})
	err := s.View(ctx, func(v *View) error {
		h := v.Header()
		if h.MapGeneration != made || h.Generation != made+1 || string(h.MapInfo) != string(info) {
			t.Errorf("map of generation %d at %d, notes %s", h.MapGeneration, h.Generation, h.MapInfo)
		}
		positions, err := v.Map()
		if err != nil {
			return err
		}
		if len(positions) != 2 || positions[1][3] != 1024+3 || positions[1][2*(1100-1024)] == positions[1][2*(1100-1024)] {
			t.Errorf("positions are not those that were put")
		}
		if v.Usage()["map"] < 16384 {
			t.Errorf("usage %v", v.Usage())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	mustBeSound(t, s)
	// The next map has a position for the new image too.
	if err := s.PutMap(ctx, generation(), plane(1101), info); err != nil {
		t.Fatal(err)
	}
	mustBeSound(t, s)
}

// A header that names a map wrongly is damage.
func TestMapInHeader(t *testing.T) {
	good := func() header {
		return header{Header: Header{Fingerprint: "f", Dim: 3, Metric: "l2", NextID: 1, Count: 1, Generation: 2, MapGeneration: 2, MapInfo: json.RawMessage("{}")},
			arrays: map[string]array{"encoder": {Values: 1}, "live": {Values: 1}, "records": {Values: 1}, "vectors": {Values: 1},
				"thumbnails": {Values: 1}, "map": {Values: 1}}}
	}
	if err := good().check(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*header){
		"later generation":  func(h *header) { h.MapGeneration = 3 },
		"array without map": func(h *header) { h.MapGeneration = 0 },
		"no array":          func(h *header) { delete(h.arrays, "map") },
		"empty array":       func(h *header) { h.arrays["map"] = array{} },
		"too many values":   func(h *header) { h.arrays["map"] = array{Values: 2} },
		"notes":             func(h *header) { h.MapInfo = json.RawMessage("{") },
	} {
		h := good()
		spoil(&h)
		if h.check() == nil {
			t.Errorf("%s: is accepted", name)
		}
	}
}
