package search

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"imgsearch/dataset"
)

func TestMap(t *testing.T) {
	ctx := context.Background()
	rng := rand.New(rand.NewPCG(31, 1))
	c := newCollection(t, smallEncoder(t, 1, true), CreateOptions{})
	if _, err := c.Map(ctx, MapOptions{}); !errors.Is(err, ErrEmpty) {
		t.Errorf("an empty collection: %v", err)
	}
	add(t, c, pictures(rng, 60), AddOptions{})
	stages := map[string]bool{}
	o := MapOptions{Perplexity: 10, Iterations: 60, Threads: 2, OnProgress: func(p MapProgress) { stages[p.Stage] = true }}
	first, err := c.Map(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	if !first.Fresh || len(first.IDs) != 60 || len(first.Positions) != 120 || len(first.Neighbors[5]) != MapNeighbors || first.Info.Laid != 60 || first.Info.Divergence <= 0 {
		t.Fatalf("%+v", first.Info)
	}
	if !stages["neighbours"] || !stages["layout"] {
		t.Errorf("stages %v", stages)
	}
	again, err := c.Map(ctx, MapOptions{Threads: 1})
	if err != nil || again.Fresh || !reflect.DeepEqual(again.Positions, first.Positions) || again.Info != first.Info {
		t.Errorf("the map that is kept: %v, fresh %t, %+v", err, again.Fresh, again.Info)
	}
	if bare, err := c.Map(ctx, MapOptions{PositionsOnly: true}); err != nil || bare.Neighbors[5] != nil || !reflect.DeepEqual(bare.Positions, first.Positions) {
		t.Errorf("the positions only: %v", err)
	}
	o.Again, o.Threads = true, 1
	if anew, err := c.Map(ctx, o); err != nil || !anew.Fresh || !reflect.DeepEqual(anew.Positions, first.Positions) {
		t.Errorf("made anew by one thread: %v", err)
	}
	mustBeSound(t, c)
	// What comes is placed, what goes leaves the others where they are.
	more := pictures(rng, 70)
	for i := range more.entries {
		was := more.entries[i].Source
		more.entries[i].Source = fmt.Sprintf("more/%d", i)
		more.images[more.entries[i].Source] = more.images[was]
	}
	more.entries = more.entries[:20]
	add(t, c, more, AddOptions{})
	if err := c.Remove(ctx, 3, 65); err != nil {
		t.Fatal(err)
	}
	grown, err := c.Map(ctx, MapOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if grown.Fresh || grown.New != 19 || len(grown.IDs) != 78 || grown.Info.Placed != 19 {
		t.Errorf("fresh %t, %d new of %d, %+v", grown.Fresh, grown.New, len(grown.IDs), grown.Info)
	}
	at := map[dataset.ID][2]float32{}
	for i, id := range first.IDs {
		at[id] = [2]float32(first.Positions[2*i:])
	}
	for i, id := range grown.IDs {
		if was, ok := at[id]; ok && was != [2]float32(grown.Positions[2*i:]) {
			t.Errorf("image %d was moved", id)
		}
	}
	mustBeSound(t, c)
	if info, err := c.Info(ctx); err != nil || info.Map == nil || *info.Map != grown.Info {
		t.Errorf("info %+v, %v", info.Map, err)
	}
	if other, err := c.Map(ctx, MapOptions{Seed: 5, Iterations: 20}); err != nil || !other.Fresh || other.Info.Seed != 5 {
		t.Errorf("another seed: %v", err)
	}
	for _, bad := range []MapOptions{{Perplexity: -1}, {Iterations: -1}, {Threads: -1}} {
		if _, err := c.Map(ctx, bad); !errors.Is(err, ErrOptions) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestMapInterrupted(t *testing.T) {
	c := newCollection(t, smallEncoder(t, 1, false), CreateOptions{})
	add(t, c, pictures(rand.New(rand.NewPCG(32, 1)), 40), AddOptions{})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	m, err := c.Map(ctx, MapOptions{OnProgress: func(p MapProgress) {
		if p.Stage == "layout" {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) || m == nil || len(m.Positions) != 80 {
		t.Fatalf("%v, %v", m, err)
	}
	if info, err := c.Info(context.Background()); err != nil || info.Map != nil {
		t.Errorf("an interrupted map is kept: %v, %v", info.Map, err)
	}
}

// One image, and images that are all the same, have a map too, also where the file may not be written.
func TestMapOfOddCollections(t *testing.T) {
	ctx := context.Background()
	rng := rand.New(rand.NewPCG(33, 1))
	for _, n := range []int{1, 2, 30} {
		c := newCollection(t, smallEncoder(t, 1, true), CreateOptions{})
		same := pictures(rng, n)
		for source := range same.images {
			same.images[source] = same.images[same.entries[0].Source]
		}
		add(t, c, same, AddOptions{})
		for range 2 {
			m, err := c.Map(ctx, MapOptions{Iterations: 50})
			if err != nil || len(m.Positions) != 2*n {
				t.Fatalf("%d equal images: %v", n, err)
			}
			for i, v := range m.Positions {
				if v-v != 0 {
					t.Errorf("%d equal images: value %d is %v", n, i, v)
				}
			}
		}
		mustBeSound(t, c)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		reader := openCollection(t, c.Path(), OpenOptions{ReadOnly: true})
		if m, err := reader.Map(ctx, MapOptions{Iterations: 30}); err != nil || !m.Fresh {
			t.Errorf("%d equal images, for reading: %v", n, err)
		}
	}
}
