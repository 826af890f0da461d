package search

import (
	"context"
	"time"

	"imgsearch/dataset"
	"imgsearch/index"
	"imgsearch/store"
)

// Info describes a collection.
type Info struct {
	Path string `json:"path"`
	// Format is the version of the file's format.
	Format  int       `json:"format"`
	Created time.Time `json:"created"`
	// Images is the number of images, NextID the id that the next one gets.
	Images int        `json:"images"`
	NextID dataset.ID `json:"next_id"`
	// Labels and Splits count the images of each label and part, "" being those without.
	Labels map[dataset.Label]int `json:"labels"`
	Splits map[string]int        `json:"splits"`
	Dim    int                   `json:"dim"`
	Metric index.Metric          `json:"metric"`
	// Encoder is the fingerprint of the encoder.
	Encoder string `json:"encoder"`
	// Graph describes the neighbour graph.
	Graph GraphInfo `json:"graph"`
	// Map describes the positions on a map; nil where there are none.
	Map *MapInfo `json:"map,omitempty"`
	// Thumbnail is the longest side of the thumbnails in pixels; 0 where none are kept.
	Thumbnail int `json:"thumbnail"`
	// FileBytes is the length of the file in use, free pages within counted.
	FileBytes int64 `json:"file_bytes"`
	// Bytes says how many of them hold what: encoder, live (the list of ids), records, vectors, thumbnails, graph, map (where there is one).
	Bytes map[string]int64 `json:"bytes"`
	// Generation is the number of changes to the set of images; Commit that of all commits.
	Generation uint64 `json:"generation"`
	Commit     uint64 `json:"commit"`
}

// GraphInfo describes the neighbour graph of a collection.
type GraphInfo struct {
	// Stale says that the graph does not cover the present images, or is of a version that this program does not read;
	// answers are exact then, and the next Add brings it up to date.
	Stale          bool   `json:"stale"`
	M              int    `json:"m"`
	EfConstruction int    `json:"ef_construction"`
	EfSearch       int    `json:"ef_search"`
	Seed           uint64 `json:"seed"`
}

// Info describes the collection. It reads the records, not the embeddings.
func (c *Collection) Info(ctx context.Context) (Info, error) {
	var info Info
	err := c.store.View(ctx, func(v *store.View) error {
		stale, err := graphStale(v)
		if err != nil {
			return err
		}
		h := v.Header()
		info = Info{
			Path: c.Path(), Format: store.FormatVersion, Created: h.Created, Images: h.Count, NextID: h.NextID,
			Labels: map[dataset.Label]int{}, Splits: map[string]int{}, Dim: h.Dim, Metric: c.metric, Encoder: h.Fingerprint,
			Graph: GraphInfo{
				Stale: stale, M: c.options.M,
				EfConstruction: c.options.EfConstruction, EfSearch: c.efSearch(), Seed: c.options.Seed,
			},
			Thumbnail: c.options.Thumbnail, FileBytes: v.FileSize(), Bytes: v.Usage(), Generation: h.Generation, Commit: v.Commit(),
		}
		if info.Map, err = mapInfo(v); err != nil {
			return err
		}
		records, err := v.Records(0, 0)
		for _, r := range records {
			info.Labels[r.Label]++
			info.Splits[r.Split]++
		}
		return err
	})
	return info, err
}
