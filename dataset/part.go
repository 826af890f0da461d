package dataset

import (
	"encoding/json"
	"io"
	"os"
)

// partFile is a file being written.
type partFile interface {
	io.WriteCloser
	Sync() error
}

// partSystem opens the files that Get writes; tests put a full disk in its place.
type partSystem struct {
	create     func(path string) (partFile, error)
	appendTo   func(path string) (partFile, error)
	sizeOnDisk func(path string) int64
}

var osPartSystem = partSystem{
	create: func(path string) (partFile, error) { return os.Create(path) },
	appendTo: func(path string) (partFile, error) {
		return os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	},
	sizeOnDisk: func(path string) int64 {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return info.Size()
		}
		return 0
	},
}

// partRecord lies beside an unfinished download and says of what it is the beginning.
type partRecord struct {
	URL string `json:"url"`
	// Validator is the server's strong ETag, or else its Last-Modified; with If-Range it keeps two versions of a file
	// from being joined.
	Validator string `json:"validator"`
	// Total is the length of the whole file, -1 when the server did not say.
	Total int64 `json:"total"`
}

func recordPath(part string) string { return part + ".json" }

// readPartRecord returns what is known of an unfinished download of a URL; ok is false when it must start anew.
func readPartRecord(part, url string) (r partRecord, ok bool) {
	data, err := os.ReadFile(recordPath(part))
	if err != nil || json.Unmarshal(data, &r) != nil || r.URL != url {
		return partRecord{}, false
	}
	return r, true
}

func (r partRecord) write(part string) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return os.WriteFile(recordPath(part), append(data, '\n'), 0o644)
}

// dropPart removes an unfinished download.
func dropPart(part string) {
	_ = os.Remove(part)
	_ = os.Remove(recordPath(part))
}
