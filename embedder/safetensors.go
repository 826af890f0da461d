package embedder

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"unicode/utf8"
)

// The safetensors format (https://github.com/huggingface/safetensors): the length of the header as 8 bytes, little
// endian; the header, one JSON object that maps each tensor's name to {"dtype", "shape", "data_offsets"}, and
// "__metadata__" to an object of strings; then the tensors' values, little endian, without gaps. The header may end
// with spaces.
const (
	maxHeader     = 16 << 20 // bytes; more than a hundred times what MaxLayers layers take
	maxDimensions = 8        // of one tensor
	dataAlignment = 64       // of the first tensor within the file; the others follow without gaps, as the format asks
	metadataKey   = "__metadata__"
)

// MarshalTensors writes tensors and metadata in the safetensors format, dtype F32, tensors and metadata sorted by name:
// equal content gives equal bytes. Names and metadata must be valid UTF-8.
func MarshalTensors(tensors Weights, metadata map[string]string) ([]byte, error) {
	header, names, size, err := tensorHeader(tensors, metadata)
	if err != nil {
		return nil, fmt.Errorf("write tensors: %w", err)
	}
	out := make([]byte, 0, 8+len(header)+size)
	out = binary.LittleEndian.AppendUint64(out, uint64(len(header)))
	out = append(out, header...)
	for _, name := range names {
		out = appendFloats(out, tensors[name].Data)
	}
	return out, nil
}

// tensorHeader returns the header, padded, the names in the order of the data, and the bytes that the data takes.
func tensorHeader(tensors Weights, metadata map[string]string) (out []byte, names []string, size int, err error) {
	var header bytes.Buffer
	header.WriteByte('{')
	if len(metadata) > 0 {
		for key, value := range metadata {
			if !utf8.ValidString(key) || !utf8.ValidString(value) {
				return nil, nil, 0, fmt.Errorf("metadata %q is no valid UTF-8", key)
			}
		}
		text, err := json.Marshal(metadata) // sorts the keys
		if err != nil {
			return nil, nil, 0, fmt.Errorf("metadata: %w", err)
		}
		fmt.Fprintf(&header, "%q:%s", metadataKey, text)
	}
	names = slices.Sorted(maps.Keys(tensors))
	for _, name := range names {
		t := tensors[name]
		if name == metadataKey || !utf8.ValidString(name) {
			return nil, nil, 0, fmt.Errorf("%q cannot be a tensor's name", name)
		}
		if len(t.Shape) > maxDimensions || slices.ContainsFunc(t.Shape, func(n int) bool { return n < 0 }) {
			return nil, nil, 0, fmt.Errorf("%s has shape %v: at most %d sides, none negative", name, t.Shape, maxDimensions)
		}
		if product(t.Shape) != len(t.Data) {
			return nil, nil, 0, fmt.Errorf("%s has shape %v and %d values", name, t.Shape, len(t.Data))
		}
		if header.Len() > 1 {
			header.WriteByte(',')
		}
		quoted, err := json.Marshal(name)
		if err != nil {
			return nil, nil, 0, err
		}
		header.Write(quoted)
		header.WriteString(`:{"dtype":"F32","shape":[`)
		for i, n := range t.Shape {
			if i > 0 {
				header.WriteByte(',')
			}
			header.WriteString(strconv.Itoa(n))
		}
		fmt.Fprintf(&header, `],"data_offsets":[%d,%d]}`, size, size+4*len(t.Data))
		size += 4 * len(t.Data)
	}
	header.WriteByte('}')
	for (8+header.Len())%dataAlignment != 0 {
		header.WriteByte(' ')
	}
	if header.Len() > maxHeader {
		return nil, nil, 0, fmt.Errorf("header of %d bytes: at most %d", header.Len(), maxHeader)
	}
	return header.Bytes(), names, size, nil
}

// UnmarshalTensors reads a safetensors file whose tensors are all of dtype F32, written by this program or another. It
// allocates no more than a small multiple of len(data). Errors wrap [ErrFormat].
func UnmarshalTensors(data []byte) (tensors Weights, metadata map[string]string, err error) {
	entries, metadata, err := parseSafetensors(data)
	if err != nil {
		return nil, nil, err
	}
	tensors = make(Weights, len(entries))
	for _, e := range entries {
		if e.dtype != "F32" {
			return nil, nil, fmt.Errorf("%w: tensor %.100q has dtype %.20q: F32 is needed", ErrFormat, e.name, e.dtype)
		}
		tensors[e.name] = Tensor{Shape: e.shape, Data: readFloats(e.data)}
	}
	return tensors, metadata, nil
}

// tensorEntry is a tensor of a file; data points into the file's bytes.
type tensorEntry struct {
	name  string
	dtype string
	shape []int
	data  []byte
}

// dtypeBytes holds the size of a value of each dtype of whole bytes.
var dtypeBytes = map[string]int{
	"BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
	"I32": 4, "U32": 4, "F32": 4, "I64": 8, "U64": 8, "F64": 8,
}

// parseSafetensors checks the file's structure and returns the tensors in the order of their data.
func parseSafetensors(data []byte) ([]tensorEntry, map[string]string, error) {
	if len(data) < 8 {
		return nil, nil, fmt.Errorf("%w: %d bytes", ErrFormat, len(data))
	}
	n := binary.LittleEndian.Uint64(data)
	body := data[8:]
	if n > maxHeader {
		return nil, nil, fmt.Errorf("%w: no safetensors file (header of %d bytes: at most %d)", ErrFormat, n, maxHeader)
	}
	if n > uint64(len(body)) {
		return nil, nil, fmt.Errorf("%w: truncated: header of %d bytes in a file of %d", ErrFormat, n, len(data))
	}
	header, body := body[:n], body[n:]
	if !utf8.Valid(header) {
		return nil, nil, fmt.Errorf("%w: header is no valid UTF-8", ErrFormat)
	}
	var entries []tensorEntry
	var offsets [][2]int
	metadata := map[string]string{}
	err := walkObject(header, func(key string, value json.RawMessage) error {
		if key == metadataKey {
			return walkObject(value, func(key string, value json.RawMessage) error {
				var text string
				if err := strictUnmarshal(value, &text); err != nil {
					return fmt.Errorf("metadata %.100q: %w", key, err)
				}
				metadata[key] = text
				return nil
			})
		}
		e := tensorEntry{name: key}
		var shape []int
		var offset []int
		fields := 0
		err := walkObject(value, func(key string, value json.RawMessage) error {
			fields++
			switch key {
			case "dtype":
				return strictUnmarshal(value, &e.dtype)
			case "shape":
				return strictUnmarshal(value, &shape)
			case "data_offsets":
				return strictUnmarshal(value, &offset)
			}
			return fmt.Errorf("unknown field %.100q", key)
		})
		if err != nil {
			return fmt.Errorf("tensor %.100q: %w", e.name, err)
		}
		if fields != 3 || len(offset) != 2 {
			return fmt.Errorf("tensor %.100q: dtype, shape and two data_offsets are needed", e.name)
		}
		if offset[0] < 0 || offset[1] < offset[0] || offset[1] > len(body) {
			return fmt.Errorf("truncated: tensor %.100q lies at bytes %d to %d of %d", e.name, offset[0], offset[1], len(body))
		}
		if len(shape) > maxDimensions {
			return fmt.Errorf("tensor %.100q has %d dimensions: at most %d", e.name, len(shape), maxDimensions)
		}
		unit, ok := dtypeBytes[e.dtype]
		if !ok {
			return fmt.Errorf("tensor %.100q has the unknown dtype %.20q", e.name, e.dtype)
		}
		if size, ok := byteSize(shape, unit); !ok || size != offset[1]-offset[0] {
			return fmt.Errorf("tensor %.100q of shape %v and dtype %s does not fill its %d bytes", e.name, shape, e.dtype, offset[1]-offset[0])
		}
		e.shape = slices.Clip(shape)
		if e.shape == nil {
			e.shape = []int{}
		}
		e.data = body[offset[0]:offset[1]:offset[1]]
		entries = append(entries, e)
		offsets = append(offsets, [2]int{offset[0], offset[1]})
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	// The format allows neither gaps nor overlaps: each byte belongs to one tensor.
	order := make([]int, len(entries))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		if c := offsets[a][0] - offsets[b][0]; c != 0 {
			return c
		}
		return offsets[a][1] - offsets[b][1]
	})
	sorted := make([]tensorEntry, len(entries))
	end := 0
	for i, k := range order {
		if offsets[k][0] != end {
			return nil, nil, fmt.Errorf("%w: tensor %.100q starts at byte %d: must be %d", ErrFormat, entries[k].name, offsets[k][0], end)
		}
		end = offsets[k][1]
		sorted[i] = entries[k]
	}
	if end != len(body) {
		return nil, nil, fmt.Errorf("%w: the tensors take %d bytes, the file has %d", ErrFormat, end, len(body))
	}
	return sorted, metadata, nil
}

// byteSize returns the bytes that a tensor takes, false where a side is negative or the product overflows.
func byteSize(shape []int, unit int) (int, bool) {
	size, empty := uint64(unit), false
	for _, n := range shape {
		if n < 0 {
			return 0, false
		}
		if n == 0 {
			empty = true
			continue
		}
		hi, lo := bits.Mul64(size, uint64(n))
		if hi != 0 || lo > math.MaxInt {
			return 0, false
		}
		size = lo
	}
	if empty {
		return 0, true
	}
	return int(size), true
}

// walkObject calls fn for each member of a JSON object in order. A name that comes twice is an error, as is anything
// but white space after the object.
func walkObject(data []byte, fn func(key string, value json.RawMessage) error) error {
	d := json.NewDecoder(bytes.NewReader(data))
	if t, err := d.Token(); err != nil {
		return fmt.Errorf("header: %w", err)
	} else if t != json.Delim('{') {
		return fmt.Errorf("header: a JSON object is needed")
	}
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return fmt.Errorf("header: %w", err)
		}
		key, ok := t.(string)
		if !ok {
			return fmt.Errorf("header: a name is needed")
		}
		if seen[key] {
			return fmt.Errorf("header: %.100q comes twice", key)
		}
		seen[key] = true
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return fmt.Errorf("header: %w", err)
		}
		if err := fn(key, value); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return fmt.Errorf("header: %w", err)
	}
	if rest := bytes.TrimSpace(data[d.InputOffset():]); len(rest) > 0 {
		return fmt.Errorf("header: %d bytes after its end", len(rest))
	}
	return nil
}

// strictUnmarshal is json.Unmarshal that does not take null for a zero value.
func strictUnmarshal(data []byte, v any) error {
	if string(bytes.TrimSpace(data)) == "null" {
		return fmt.Errorf("null")
	}
	return json.Unmarshal(data, v)
}

// appendFloats appends the values, little endian.
func appendFloats(out []byte, values []float32) []byte {
	start := len(out)
	out = slices.Grow(out, 4*len(values))[:start+4*len(values)]
	for i, x := range values {
		binary.LittleEndian.PutUint32(out[start+4*i:], math.Float32bits(x))
	}
	return out
}

// readFloats reads as many values as there are whole groups of four bytes.
func readFloats(data []byte) []float32 {
	out := make([]float32, len(data)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return out
}
