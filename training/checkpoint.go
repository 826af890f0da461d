package training

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"imgsearch/embedder"
)

// checkpointVersion is the version of the checkpoint file that this program writes; it reads no other.
//
//   - 1 (first release): magic, version (uint32), header length (uint32), header (JSON), state length (uint64), state
//     (safetensors), SHA-256 of all that comes before it. Integers are little endian.
const checkpointVersion = 1

const (
	checkpointMagic     = "imgsearch checkpoint\n\x00\r\n"
	maxCheckpointHeader = 16 << 20
	maxCheckpoint       = 64 << 30
)

// checkpoint is all that a run needs to go on.
type checkpoint struct {
	// Options and Images must be those of the resuming run.
	Options recorded `json:"options"`
	Images  string   `json:"images"` // digest of the corpus
	// Kernel is the kind of arithmetic that was used; another one rounds differently.
	Kernel string `json:"kernel"`

	// Step steps of Steps are done.
	Step  int `json:"step"`
	Steps int `json:"steps"`
	// Seconds of training are behind, over all parts of the run.
	Seconds float64 `json:"seconds"`
	// RecordBytes is the length of the run record up to here.
	RecordBytes int64 `json:"record_bytes"`
	// What Progress and the run record go on from.
	Meter meter `json:"meter"`
	Watch watch `json:"watch"`
	// Stop is what a stop before the end depends on.
	Stop stopState `json:"stop,omitzero"`
	// HeldBack is the last measurement, or nil.
	HeldBack *HeldBack `json:"held_back,omitempty"`

	state embedder.Weights
}

// encode returns the file's bytes.
func (c *checkpoint) encode() ([]byte, error) {
	header, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode checkpoint: %w", err)
	}
	state, err := embedder.MarshalTensors(c.state, nil)
	if err != nil {
		return nil, fmt.Errorf("encode checkpoint: %w", err)
	}
	out := make([]byte, 0, len(checkpointMagic)+4+4+len(header)+8+len(state)+sha256.Size)
	out = append(out, checkpointMagic...)
	out = binary.LittleEndian.AppendUint32(out, checkpointVersion)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(header)))
	out = append(out, header...)
	out = binary.LittleEndian.AppendUint64(out, uint64(len(state)))
	out = append(out, state...)
	sum := checksum(out)
	return append(out, sum[:]...), nil
}

// checksum is what a checkpoint ends with.
func checksum(data []byte) [sha256.Size]byte { return sha256.Sum256(data) }

// decodeCheckpoint is the inverse of encode. Errors wrap ErrCheckpoint or ErrVersion. It allocates in proportion to
// the bytes that are there, whatever they say.
func decodeCheckpoint(data []byte) (*checkpoint, error) {
	fail := func(format string, args ...any) (*checkpoint, error) {
		return nil, fmt.Errorf("%w: %w", ErrCheckpoint, fmt.Errorf(format, args...))
	}
	rest, ok := bytes.CutPrefix(data, []byte(checkpointMagic))
	if !ok {
		return fail("the file does not begin like a checkpoint")
	}
	if len(rest) < 8+8+sha256.Size {
		return fail("truncated: %d bytes", len(data))
	}
	if v := binary.LittleEndian.Uint32(rest); v != checkpointVersion {
		return nil, fmt.Errorf("%w: version %d, this program reads %d", ErrVersion, v, checkpointVersion)
	}
	body, want := data[:len(data)-sha256.Size], data[len(data)-sha256.Size:]
	if sum := checksum(body); !bytes.Equal(sum[:], want) {
		return fail("the checksum does not match its %d bytes", len(data))
	}
	rest = rest[:len(rest)-sha256.Size]
	n := uint64(binary.LittleEndian.Uint32(rest[4:]))
	rest = rest[8:]
	if n > maxCheckpointHeader || n+8 > uint64(len(rest)) {
		return fail("header of %d bytes in a file of %d", n, len(data))
	}
	header := rest[:n]
	rest = rest[n:]
	if m := binary.LittleEndian.Uint64(rest); m != uint64(len(rest)-8) {
		return fail("state of %d bytes where there are %d", m, len(rest)-8)
	}
	c := &checkpoint{}
	d := json.NewDecoder(bytes.NewReader(header))
	d.DisallowUnknownFields()
	if err := d.Decode(c); err != nil {
		return fail("header: %w", err)
	}
	if c.Step < 0 || c.Steps < 1 || c.Step > c.Steps || c.Steps > maxSteps {
		return fail("step %d of %d", c.Step, c.Steps)
	}
	if s := c.Stop.Stopped; s != nil && (s.Step < 1 || s.Step > c.Step || s.Steps != c.Steps || s.Planned < s.Steps) {
		return fail("stopped after step %d of %d with %d to make, at step %d of %d", s.Step, s.Planned, s.Steps, c.Step, c.Steps)
	}
	if c.RecordBytes < 0 {
		return fail("record of %d bytes", c.RecordBytes)
	}
	state, _, err := embedder.UnmarshalTensors(rest[8:])
	if err != nil {
		return fail("state: %w", err)
	}
	c.state = state
	return c, nil
}

// readCheckpoint reads a checkpoint file; a missing one is ErrNoCheckpoint.
func readCheckpoint(path string) (*checkpoint, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNoCheckpoint, path)
	}
	if err != nil {
		return nil, fmt.Errorf("read checkpoint: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxCheckpoint {
		return nil, fmt.Errorf("%w: %s is no file of up to %d bytes", ErrCheckpoint, path, int64(maxCheckpoint))
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read checkpoint: %w", err)
	}
	c, err := decodeCheckpoint(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// writeAtomically makes path hold data or, after a crash at any moment, what it held before.
func writeAtomically(path string, data []byte) (err error) {
	temporary := path + ".tmp"
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temporary)
		}
	}()
	if _, err = f.Write(data); err != nil {
		_ = f.Close()
		return err
	}
	if err = f.Sync(); err != nil {
		_ = f.Close()
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	if err = os.Rename(temporary, path); err != nil {
		return err
	}
	syncDir(filepath.Dir(path))
	return nil
}

// syncDir makes a rename last through a power cut where the system lets a directory be synced.
func syncDir(path string) {
	if d, err := os.Open(path); err == nil {
		_ = d.Sync()
		_ = d.Close()
	}
}

// differences names the fields in which two values differ once they are JSON: "batch 128 there, 256 here".
func differences(there, here any) []string {
	a, b := map[string]string{}, map[string]string{}
	flatten(a, "", there)
	flatten(b, "", here)
	var names []string
	for name, x := range a {
		if y, ok := b[name]; !ok || x != y {
			names = append(names, name)
		}
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	value := func(m map[string]string, name string) string {
		if s, ok := m[name]; ok {
			return s
		}
		return "nothing"
	}
	for i, name := range names {
		names[i] = fmt.Sprintf("%s is %s in the checkpoint and %s now", name, value(a, name), value(b, name))
	}
	return names
}

// flatten writes the leaves of v, as JSON has them, by their paths.
func flatten(out map[string]string, path string, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		out[path] = err.Error()
		return
	}
	var tree any
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&tree); err != nil {
		out[path] = err.Error()
		return
	}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, x := range v {
				walk(strings.TrimPrefix(path+"."+name, "."), x)
			}
		case []any:
			for i, x := range v {
				walk(fmt.Sprintf("%s.%d", path, i), x)
			}
		case string:
			out[path] = fmt.Sprintf("%q", v)
		default:
			out[path] = fmt.Sprint(v)
		}
	}
	walk(path, tree)
}
