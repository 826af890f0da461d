package search

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
)

func TestSetTargetRecall(t *testing.T) {
	ctx := context.Background()
	c := newCollection(t, smallEncoder(t, 1, true), CreateOptions{Thumbnail: -1})
	add(t, c, pictures(rand.New(rand.NewPCG(12, 12)), 300), AddOptions{})
	before, err := c.Info(ctx)
	if err != nil {
		t.Fatal(err)
	}
	found, err := c.SetTargetRecall(ctx, .9, 2)
	if err != nil || found.Recall < .9 {
		t.Fatalf("%+v, %v", found, err)
	}
	info, err := c.Info(ctx)
	if err != nil || info.Graph.EfSearch != found.Ef || info.Graph.Stale || info.Images != before.Images {
		t.Errorf("%+v, %v", info, err)
	}
	path := c.Path()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(path, OpenOptions{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if again.efSearch() != found.Ef {
		t.Errorf("efSearch %d after opening, set was %d", again.efSearch(), found.Ef)
	}
	if _, err := again.SetTargetRecall(ctx, 1.5, 0); !errors.Is(err, ErrOptions) {
		t.Errorf("a target of 1.5: %v", err)
	}
	if _, err := again.SetTargetRecall(ctx, .9, 0); !errors.Is(err, ErrReadOnly) {
		t.Errorf("opened for reading: %v", err)
	}
}
