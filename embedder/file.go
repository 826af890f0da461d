package embedder

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// FormatVersion is the version of the encoder file that this program writes.
//
//   - 1 (first release): safetensors, all tensors F32, named by [Architecture.Parameters]; the metadata keys below.
const FormatVersion = 1

// The metadata of an encoder file. All values are strings; keys with another beginning may be there and are ignored.
const (
	metadataPrefix  = "imgsearch."
	keyVersion      = "imgsearch.format_version"
	keyChecksum     = "imgsearch.checksum" // hex SHA-256, see checksum
	keyArchitecture = "imgsearch.architecture"
	keyPreset       = "imgsearch.preset"
	keySeed         = "imgsearch.seed"
	keySteps        = "imgsearch.steps"
	keyDataset      = "imgsearch.dataset"
	keyFingerprint  = "imgsearch.dataset_fingerprint"
	keyLoss         = "imgsearch.final_loss"
	keyCreated      = "imgsearch.created"
	keyProgram      = "imgsearch.program"
)

// maxMetadataText bounds each text of a Metadata, in bytes.
const maxMetadataText = 64 << 10

// maxFile is the length of the largest encoder file.
const maxFile = 8 + maxHeader + 4*MaxParameters

// Metadata says what made an encoder. It has no influence on embeddings and is not part of the fingerprint.
type Metadata struct {
	// Preset is the name of the training preset; "" where there was none.
	Preset string `json:"preset"`
	// Seed is the seed of the training run.
	Seed uint64 `json:"seed"`
	// Steps is the number of optimiser updates; 0 for an untrained encoder.
	Steps int `json:"steps"`
	// Dataset is the training data set as the user named it, and DatasetFingerprint what dataset.Fingerprint makes of it.
	Dataset            string `json:"dataset"`
	DatasetFingerprint string `json:"dataset_fingerprint"`
	// FinalLoss is the training loss at the end, finite.
	FinalLoss float64 `json:"final_loss"`
	// Created is the time of the end of the training, RFC 3339; given by the caller, so that equal content makes equal
	// files.
	Created string `json:"created"`
	// Program is the name and version of the program that made the encoder.
	Program string `json:"program"`
}

// check bounds the fields.
func (m Metadata) check() error {
	for _, f := range []struct{ name, value string }{
		{"preset", m.Preset}, {"dataset", m.Dataset}, {"dataset fingerprint", m.DatasetFingerprint}, {"created", m.Created}, {"program", m.Program},
	} {
		if len(f.value) > maxMetadataText {
			return fmt.Errorf("metadata: %s has %d bytes: at most %d", f.name, len(f.value), maxMetadataText)
		}
	}
	if m.Steps < 0 {
		return fmt.Errorf("metadata: steps %d: must not be negative", m.Steps)
	}
	if math.IsNaN(m.FinalLoss) || math.IsInf(m.FinalLoss, 0) {
		return fmt.Errorf("metadata: final loss %v: must be finite", m.FinalLoss)
	}
	return nil
}

// validUTF8 replaces what is no UTF-8, such as bytes of a file name: JSON cannot hold it.
func (m Metadata) validUTF8() Metadata {
	for _, text := range []*string{&m.Preset, &m.Dataset, &m.DatasetFingerprint, &m.Created, &m.Program} {
		if !utf8.ValidString(*text) {
			*text = strings.ToValidUTF8(*text, "\uFFFD")
		}
	}
	return m
}

// entries returns the metadata as the file holds it.
func (m Metadata) entries() map[string]string {
	return map[string]string{
		keyPreset:      m.Preset,
		keySeed:        strconv.FormatUint(m.Seed, 10),
		keySteps:       strconv.Itoa(m.Steps),
		keyDataset:     m.Dataset,
		keyFingerprint: m.DatasetFingerprint,
		keyLoss:        strconv.FormatFloat(m.FinalLoss, 'g', -1, 64),
		keyCreated:     m.Created,
		keyProgram:     m.Program,
	}
}

// parseMetadata is the inverse of entries; missing texts are empty and missing numbers 0.
func parseMetadata(entries map[string]string) (Metadata, error) {
	m := Metadata{
		Preset:             entries[keyPreset],
		Dataset:            entries[keyDataset],
		DatasetFingerprint: entries[keyFingerprint],
		Created:            entries[keyCreated],
		Program:            entries[keyProgram],
	}
	var err error
	if text, ok := entries[keySeed]; ok {
		if m.Seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			return Metadata{}, fmt.Errorf("metadata: seed: %w", err)
		}
	}
	if text, ok := entries[keySteps]; ok {
		if m.Steps, err = strconv.Atoi(text); err != nil {
			return Metadata{}, fmt.Errorf("metadata: steps: %w", err)
		}
	}
	if text, ok := entries[keyLoss]; ok {
		if m.FinalLoss, err = strconv.ParseFloat(text, 64); err != nil {
			return Metadata{}, fmt.Errorf("metadata: final loss: %w", err)
		}
	}
	return m, m.check()
}

// Bytes returns the encoder's file. Equal architecture, weights and metadata give equal bytes.
func (e *Encoder) Bytes() []byte {
	data, err := MarshalTensors(e.weights, e.fileMetadata())
	if err != nil {
		panic(err) // New has checked all that can fail
	}
	return data
}

// fileBytes is len(e.Bytes()).
func (e *Encoder) fileBytes() int64 {
	header, _, size, err := tensorHeader(e.weights, e.fileMetadata())
	if err != nil {
		panic(err) // New has checked all that can fail
	}
	return 8 + int64(len(header)) + int64(size)
}

// fileMetadata returns all metadata of the file.
func (e *Encoder) fileMetadata() map[string]string {
	entries := e.metadata.entries()
	entries[keyVersion] = strconv.Itoa(FormatVersion)
	entries[keyArchitecture] = string(e.json)
	entries[keyChecksum] = checksum(entries, e.digest)
	return entries
}

// Read makes an encoder of the bytes of its file; data is not kept. It checks lengths before it allocates. Errors wrap
// [ErrFormat], [ErrVersion], [ErrChecksum], [ErrArchitecture] or [ErrWeights].
func Read(data []byte) (*Encoder, error) {
	tensors, entries, err := parseSafetensors(data)
	if err != nil {
		return nil, err
	}
	version, ok := entries[keyVersion]
	if !ok {
		return nil, fmt.Errorf("%w: a safetensors file without %s in its metadata", ErrFormat, keyVersion)
	}
	if version != strconv.Itoa(FormatVersion) {
		return nil, fmt.Errorf("%w: version %.20q, this program reads %d", ErrVersion, version, FormatVersion)
	}
	for _, t := range tensors {
		if t.dtype != "F32" {
			return nil, fmt.Errorf("%w: tensor %.100q has dtype %s: F32 is needed", ErrFormat, t.name, t.dtype)
		}
	}
	slices.SortFunc(tensors, func(a, b tensorEntry) int { return strings.Compare(a.name, b.name) })
	h := sha256.New()
	for _, t := range tensors {
		hashTensor(h, t.name, t.shape)
		h.Write(t.data)
	}
	var digest [sha256.Size]byte
	h.Sum(digest[:0])
	if got := checksum(entries, digest); got != entries[keyChecksum] {
		return nil, fmt.Errorf("%w: checksum %s, the file says %.64q", ErrChecksum, got, entries[keyChecksum])
	}
	metadata, err := parseMetadata(entries)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	a, err := ParseArchitecture([]byte(entries[keyArchitecture]))
	if err != nil {
		return nil, err
	}
	weights := make(Weights, len(tensors))
	for _, t := range tensors {
		weights[t.name] = Tensor{Shape: t.shape, Data: readFloats(t.data)}
	}
	return newEncoder(a, weights, metadata, &digest)
}

// Load reads an encoder file. Errors name the path and wrap those of [Read], or say why the file cannot be read:
// fs.ErrNotExist where there is none.
func Load(path string) (*Encoder, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("open encoder: %w", err)
	}
	e, err := Read(data)
	if err != nil {
		return nil, fmt.Errorf("open encoder %s: %w", path, err)
	}
	return e, nil
}

// readFile reads a regular file of at most maxFile bytes.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("%w: a folder", ErrFormat)}
	}
	if info.Size() > maxFile {
		return nil, &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("%w: %d bytes: at most %d", ErrFormat, info.Size(), int64(maxFile))}
	}
	// The size is a hint: a pipe has none, and a file may grow.
	data := make([]byte, 0, info.Size()+512)
	for {
		n, err := f.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		if err == io.EOF {
			return data, nil
		}
		if err != nil {
			return nil, err
		}
		if len(data) > maxFile {
			return nil, &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("%w: more than %d bytes", ErrFormat, int64(maxFile))}
		}
		if len(data) == cap(data) {
			data = slices.Grow(data, len(data))
		}
	}
}

// Save writes the encoder's file: to a temporary file beside it, synced, then renamed. A crash leaves the old file or
// the new one, and perhaps the temporary one, whose name starts with a dot. An existing file is replaced.
func (e *Encoder) Save(path string) error {
	if err := writeFile(path, e.Bytes()); err != nil {
		return fmt.Errorf("save encoder %s: %w", path, err)
	}
	return nil
}

func writeFile(path string, data []byte) (err error) {
	dir, base := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	f, err := os.CreateTemp(dir, "."+base+".tmp-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreClosed(f.Close()), os.Remove(f.Name()))
		}
	}()
	// CreateTemp makes files that only their owner can read; an encoder is no secret.
	if err := f.Chmod(0o644); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	// So that the rename outlives a power cut too. Not every system can sync a folder; the file itself is safe.
	if d, err := os.Open(dir); err == nil {
		_ = d.Sync()
		_ = d.Close()
	}
	return nil
}

func ignoreClosed(err error) error {
	if errors.Is(err, fs.ErrClosed) {
		return nil
	}
	return err
}

// checksum returns the hex SHA-256 of all metadata of imgsearch but the checksum itself, sorted by key, each key and
// value behind its length (8 bytes, little endian), and of the digest of the weights.
func checksum(entries map[string]string, digest [sha256.Size]byte) string {
	h := sha256.New()
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		if strings.HasPrefix(key, metadataPrefix) && key != keyChecksum {
			hashText(h, key)
			hashText(h, entries[key])
		}
	}
	h.Write(digest[:])
	return hex.EncodeToString(h.Sum(nil))
}

// weightsDigest returns the SHA-256 of all tensors sorted by name: name behind its length, number of sides, sides,
// values; integers as 8 bytes, little endian.
func weightsDigest(w Weights) [sha256.Size]byte {
	h := sha256.New()
	var buffer []byte
	for _, name := range slices.Sorted(maps.Keys(w)) {
		t := w[name]
		hashTensor(h, name, t.Shape)
		for part := range slices.Chunk(t.Data, 16<<10) {
			buffer = appendFloats(buffer[:0], part)
			h.Write(buffer)
		}
	}
	var digest [sha256.Size]byte
	h.Sum(digest[:0])
	return digest
}

// fingerprint returns the hex SHA-256 of the architecture's JSON behind its length and of the digest of the weights.
func fingerprint(architecture []byte, digest [sha256.Size]byte) string {
	h := sha256.New()
	hashText(h, string(architecture))
	h.Write(digest[:])
	return hex.EncodeToString(h.Sum(nil))
}

func hashTensor(h hash.Hash, name string, shape []int) {
	hashText(h, name)
	hashNumber(h, len(shape))
	for _, n := range shape {
		hashNumber(h, n)
	}
}

func hashText(h hash.Hash, text string) {
	hashNumber(h, len(text))
	io.WriteString(h, text)
}

func hashNumber(h hash.Hash, n int) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(n))
	h.Write(b[:])
}
