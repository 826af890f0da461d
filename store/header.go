package store

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"imgsearch/dataset"
)

// FormatVersion is the format of the files that this program writes and reads.
//
//	1  first version
const FormatVersion = 1

// Limits of what a collection can hold. They bound what a damaged or hostile file can make the package allocate.
const (
	MaxDim         = 1 << 16
	MaxImages      = 1<<32 - 1 // ids ever given
	MaxSource      = 1 << 15   // bytes of a source
	MaxLabel       = 1 << 10   // bytes of a label or a split
	MaxThumbnail   = 1 << 20   // bytes of a thumbnail
	MaxOptions     = 1 << 16   // bytes of the options
	MaxGraphParts  = 64
	maxHeader      = 1 << 20
	maxGraphValues = 1 << 26
	maxMapInfo     = 1 << 14
)

// How many ids share a value. The numbers are part of the format.
const (
	// ChunkRows is the number of embeddings in each slice that [View.Embeddings] returns, and of positions in those of
	// [View.Map].
	ChunkRows = 1024

	recordsPerValue    = 64
	thumbnailsPerValue = 16
	idsPerLiveValue    = 1 << 16
)

// Names of the buckets.
const (
	headerBucket    = "imgsearch"
	headerKey       = "header"
	directoryBucket = "directory"
	encoderArray    = "encoder"
	liveArray       = "live"
	recordArray     = "records"
	vectorArray     = "vectors"
	thumbnailArray  = "thumbnails"
	mapArray        = "map"
	graphPrefix     = "graph/"
)

// Header says what a collection is and how far it has come.
type Header struct {
	// Created is when the file was made.
	Created time.Time
	// Fingerprint is that of the encoder; the store keeps it and does not compute it.
	Fingerprint string
	// Dim is the number of values of an embedding.
	Dim int
	// Metric names the distance.
	Metric string
	// Options are the caller's, at most MaxOptions bytes of JSON.
	Options json.RawMessage
	// NextID is the id that the next image gets: one more than the highest ever given.
	NextID dataset.ID
	// Count is the number of images in the collection.
	Count int
	// Generation rises with every change to the set of embeddings.
	Generation uint64
	// GraphGeneration is the generation that the stored graph was made for; the graph is stale where the two differ.
	// 0 means that there is no graph.
	GraphGeneration uint64
	// MapGeneration is the generation that positions on a map were stored for: all images of that time have one. 0 means
	// that there is no map.
	MapGeneration uint64
	// MapInfo is what the caller noted of the map, JSON.
	MapInfo json.RawMessage
}

// header is what the file says.
type header struct {
	Header
	arrays map[string]array
}

// array is what the header says of an array of values.
type array struct {
	Values uint32 `json:"values"`
	// Bytes is the length of all values together.
	Bytes int64 `json:"bytes"`
	// Sum is the checksum of the array's directory.
	Sum uint32 `json:"sum"`
}

// headerJSON is the header as it is written.
type headerJSON struct {
	Format          int              `json:"format"`
	Created         time.Time        `json:"created"`
	Fingerprint     string           `json:"encoder"`
	Dim             int              `json:"dim"`
	Metric          string           `json:"metric"`
	Options         json.RawMessage  `json:"options,omitempty"`
	NextID          uint64           `json:"next_id"`
	Count           uint64           `json:"count"`
	Generation      uint64           `json:"generation"`
	GraphGeneration uint64           `json:"graph_generation"`
	MapGeneration   uint64           `json:"map_generation,omitempty"`
	MapInfo         json.RawMessage  `json:"map,omitempty"`
	Arrays          map[string]array `json:"arrays"`
}

func (h header) encode() ([]byte, error) {
	return json.Marshal(headerJSON{
		Format: FormatVersion, Created: h.Created, Fingerprint: h.Fingerprint, Dim: h.Dim, Metric: h.Metric,
		Options: h.Options, NextID: uint64(h.NextID), Count: uint64(h.Count), Generation: h.Generation,
		GraphGeneration: h.GraphGeneration, MapGeneration: h.MapGeneration, MapInfo: h.MapInfo, Arrays: h.arrays,
	})
}

// decodeHeader reads the payload of the header's value.
func decodeHeader(payload []byte) (header, error) {
	if len(payload) > maxHeader {
		return header{}, fmt.Errorf("%w: header of %d bytes", ErrCorrupt, len(payload))
	}
	var version struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(payload, &version); err != nil {
		return header{}, fmt.Errorf("%w: header: %w", ErrCorrupt, err)
	}
	if version.Format != FormatVersion {
		return header{}, fmt.Errorf("%w: format %d, this program reads %d", ErrVersion, version.Format, FormatVersion)
	}
	var j headerJSON
	if err := json.Unmarshal(payload, &j); err != nil {
		return header{}, fmt.Errorf("%w: header: %w", ErrCorrupt, err)
	}
	if j.NextID > MaxImages || j.Count > j.NextID {
		return header{}, fmt.Errorf("%w: header: %d images, next id %d", ErrCorrupt, j.Count, j.NextID)
	}
	h := header{
		Header: Header{
			Created: j.Created, Fingerprint: j.Fingerprint, Dim: j.Dim, Metric: j.Metric, Options: j.Options,
			NextID: dataset.ID(j.NextID), Count: int(j.Count), Generation: j.Generation,
			GraphGeneration: j.GraphGeneration, MapGeneration: j.MapGeneration, MapInfo: j.MapInfo,
		},
		arrays: j.Arrays,
	}
	if err := h.check(); err != nil {
		return header{}, fmt.Errorf("%w: header: %w", ErrCorrupt, err)
	}
	return h, nil
}

// check holds the header's parts against each other.
func (h header) check() error {
	if err := checkHeader(h.Header); err != nil {
		return err
	}
	if h.GraphGeneration > h.Generation {
		return fmt.Errorf("graph of generation %d in a collection of generation %d", h.GraphGeneration, h.Generation)
	}
	if h.MapGeneration > h.Generation {
		return fmt.Errorf("map of generation %d in a collection of generation %d", h.MapGeneration, h.Generation)
	}
	// Images that came after the map have no position yet, so its values may be fewer than those of the embeddings.
	known := 5
	if info, ok := h.arrays[mapArray]; ok || h.MapGeneration > 0 {
		known++
		if most := (uint64(h.NextID) + ChunkRows - 1) / ChunkRows; h.MapGeneration == 0 || info.Values == 0 || uint64(info.Values) > most {
			return fmt.Errorf("map of generation %d with %d values: at most %d are possible", h.MapGeneration, info.Values, most)
		}
	}
	for name, per := range map[string]uint64{
		liveArray: idsPerLiveValue, recordArray: recordsPerValue, vectorArray: ChunkRows, thumbnailArray: thumbnailsPerValue,
	} {
		if want := (uint64(h.NextID) + per - 1) / per; uint64(h.arrays[name].Values) != want {
			return fmt.Errorf("%s has %d values: should have %d", name, h.arrays[name].Values, want)
		}
	}
	if n := h.arrays[encoderArray].Values; n != 1 {
		return fmt.Errorf("encoder has %d values: should have 1", n)
	}
	parts := h.graphParts()
	if len(parts) > MaxGraphParts || len(h.arrays) > known+len(parts) {
		return fmt.Errorf("%d arrays: too many", len(h.arrays))
	}
	for _, name := range parts {
		if !partName.MatchString(name) || h.arrays[graphPrefix+name].Values > maxGraphValues {
			return fmt.Errorf("part %.100q of the graph with %d values", name, h.arrays[graphPrefix+name].Values)
		}
	}
	return nil
}

// checkHeader checks what a caller gives.
func checkHeader(h Header) error {
	if h.Dim < 1 || h.Dim > MaxDim {
		return fmt.Errorf("dim %d: must be 1 to %d", h.Dim, MaxDim)
	}
	if h.Metric == "" || len(h.Metric) > 64 {
		return fmt.Errorf("metric %.100q: must have 1 to 64 bytes", h.Metric)
	}
	if h.Fingerprint == "" || len(h.Fingerprint) > 256 {
		return fmt.Errorf("fingerprint %.100q: must have 1 to 256 bytes", h.Fingerprint)
	}
	if len(h.Options) > MaxOptions || len(h.Options) > 0 && !json.Valid(h.Options) {
		return fmt.Errorf("options of %d bytes: must be JSON of at most %d", len(h.Options), MaxOptions)
	}
	if len(h.MapInfo) > maxMapInfo || len(h.MapInfo) > 0 && !json.Valid(h.MapInfo) {
		return fmt.Errorf("notes of %d bytes on the map: must be JSON of at most %d", len(h.MapInfo), maxMapInfo)
	}
	return nil
}

var partName = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

// graphParts lists the graph's parts by name.
func (h header) graphParts() []string {
	var parts []string
	for name := range h.arrays {
		if part, ok := strings.CutPrefix(name, graphPrefix); ok {
			parts = append(parts, part)
		}
	}
	slices.Sort(parts)
	return parts
}

func (h header) clone() header {
	h.Options, h.MapInfo = slices.Clone(h.Options), slices.Clone(h.MapInfo)
	h.arrays = maps.Clone(h.arrays)
	return h
}

// kindOf is the kind of an array's values.
func kindOf(array string) kind {
	switch array {
	case encoderArray:
		return kindEncoder
	case liveArray:
		return kindLive
	case recordArray:
		return kindRecords
	case vectorArray:
		return kindVectors
	case thumbnailArray:
		return kindThumbnails
	case mapArray:
		return kindMap
	default:
		return kindGraph
	}
}
