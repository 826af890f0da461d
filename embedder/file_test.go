package embedder

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

var someMetadata = Metadata{
	Preset: "default", Seed: math.MaxUint64, Steps: 12345, Dataset: "cifar10:train+/pictures/\"é\"", DatasetFingerprint: "ab12",
	FinalLoss: 0.1234567890123, Created: "2025-01-02T03:04:05Z", Program: "imgsearch 1.2.3",
}

func someEncoder(tb testing.TB) *Encoder {
	tb.Helper()
	a := everyKind()
	e, err := New(a, InitWeights(a, rand.New(rand.NewPCG(1, 2))), someMetadata)
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

func TestEncoderSurvivesItsFile(t *testing.T) {
	e := someEncoder(t)
	path := filepath.Join(t.TempDir(), "encoder.safetensors")
	for range 2 { // the second time over the first file
		if err := e.Save(path); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.Architecture(), e.Architecture()) || !reflect.DeepEqual(got.Weights(), e.Weights()) || got.Metadata() != someMetadata {
		t.Error("the file holds another encoder")
	}
	if got.Fingerprint() != e.Fingerprint() || got.Dim() != 5 || got.InputSize() != 12 || !got.Normalized() {
		t.Error("the encoder of the file differs")
	}
	if !bytes.Equal(got.Bytes(), e.Bytes()) {
		t.Error("equal encoders, other bytes")
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("left in the folder: %v, %v", entries, err)
	}
	if info, err := os.Stat(path); runtime.GOOS != "windows" && (err != nil || info.Mode().Perm() != 0o644) {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestFingerprint(t *testing.T) {
	a := everyKind()
	w := InitWeights(a, rand.New(rand.NewPCG(1, 2)))
	fingerprintOf := func() string {
		e, err := New(a, w, Metadata{})
		if err != nil {
			t.Fatal(err)
		}
		return e.Fingerprint()
	}
	first := fingerprintOf()
	if first != someEncoder(t).Fingerprint() {
		t.Error("the fingerprint depends on metadata")
	}
	if len(first) != 64 {
		t.Errorf("%q is no SHA-256", first)
	}
	w["layers.12.bias"].Data[4] += 1e-6
	if fingerprintOf() == first {
		t.Error("the fingerprint does not depend on a weight")
	}
	w["layers.12.bias"].Data[4] = 0
	w = InitWeights(a, rand.New(rand.NewPCG(1, 2)))
	a.Mean[0] += 0.01
	if fingerprintOf() == first {
		t.Error("the fingerprint does not depend on the architecture")
	}
}

func TestEncoderIsNotAliased(t *testing.T) {
	a := everyKind()
	w := InitWeights(a, rand.New(rand.NewPCG(1, 2)))
	e, err := New(a, w, Metadata{})
	if err != nil {
		t.Fatal(err)
	}
	before := e.Bytes()
	w["layers.12.bias"].Data[0] = 9
	e.Weights()["layers.12.bias"].Data[0] = 9
	a.Layers[0].Kind = ReLU
	e.Architecture().Layers[0].Kind = ReLU
	if !bytes.Equal(before, e.Bytes()) {
		t.Error("the encoder can be changed from outside")
	}
}

func TestMetadata(t *testing.T) {
	a := everyKind()
	w := InitWeights(a, rand.New(rand.NewPCG(1, 2)))
	for name, m := range map[string]Metadata{
		"steps": {Steps: -1}, "final loss": {FinalLoss: math.NaN()}, "dataset": {Dataset: strings.Repeat("x", maxMetadataText+1)},
	} {
		if _, err := New(a, w, m); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	e, err := New(a, w, Metadata{Dataset: "folder\xff", Created: "\x00<&>\u2028"})
	if err != nil {
		t.Fatal(err)
	}
	if e, err = Read(e.Bytes()); err != nil {
		t.Fatal(err)
	}
	if e.Metadata().Dataset != "folder\uFFFD" || e.Metadata().Created != "\x00<&>\u2028" {
		t.Errorf("%+v", e.Metadata())
	}
}

// Every change of a byte must be seen: an error, or (a space in the padding turned into another white space) the
// encoder as it was.
func TestReadSeesEveryFlippedByte(t *testing.T) {
	e := someEncoder(t)
	good := e.Bytes()
	rng := rand.New(rand.NewPCG(1, 1))
	header := 8 + int(binary.LittleEndian.Uint64(good))
	for i := range good {
		if i >= header && i%13 != 0 {
			continue // within the weights all bytes are alike
		}
		bad := slices.Clone(good)
		bad[i] ^= byte(1 + rng.IntN(255))
		got, err := Read(bad)
		if err == nil {
			if got.Fingerprint() != e.Fingerprint() || got.Metadata() != e.Metadata() {
				t.Fatalf("byte %d (%q) turned to %q is not seen", i, good[i], bad[i])
			}
			continue
		}
		if !errors.Is(err, ErrFormat) && !errors.Is(err, ErrVersion) && !errors.Is(err, ErrChecksum) {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
	for n := 0; n < len(good); n += 1 + n/50 {
		if _, err := Read(good[:n]); !errors.Is(err, ErrFormat) {
			t.Fatalf("cut after %d bytes: %v", n, err)
		}
	}
	if _, err := Read(append(slices.Clone(good), 0)); !errors.Is(err, ErrFormat) {
		t.Errorf("a byte too many: %v", err)
	}
}

func TestReadRefuses(t *testing.T) {
	e := someEncoder(t)
	tensors, metadata, err := UnmarshalTensors(e.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	file := func(change func(w Weights, m map[string]string), sum bool) []byte {
		w, m := tensors.Clone(), maps.Clone(metadata)
		change(w, m)
		if sum {
			m[keyChecksum] = checksum(m, weightsDigest(w))
		}
		data, err := MarshalTensors(w, m)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	for _, test := range []struct {
		name string
		data []byte
		kind error
		want string
	}{
		{"empty", nil, ErrFormat, "0 bytes"},
		{"text", []byte("hello, this is no encoder"), ErrFormat, "no safetensors file"},
		{"PNG", []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"), ErrFormat, "no safetensors file"},
		{"others' tensors", file(func(_ Weights, m map[string]string) { clear(m) }, false), ErrFormat, "a safetensors file without imgsearch.format_version"},
		{"newer", file(func(_ Weights, m map[string]string) { m[keyVersion] = "2" }, true), ErrVersion, `version "2", this program reads 1`},
		{"metadata changed", file(func(_ Weights, m map[string]string) { m[keySteps] = "7" }, false), ErrChecksum, "damaged"},
		{"metadata lost", file(func(_ Weights, m map[string]string) { delete(m, keySeed) }, false), ErrChecksum, "damaged"},
		{"architecture changed", file(func(_ Weights, m map[string]string) { m[keyArchitecture] = "{}" }, false), ErrChecksum, "damaged"},
		{"weight changed", file(func(w Weights, _ map[string]string) { w["layers.12.bias"].Data[0]++ }, false), ErrChecksum, "damaged"},
		{"no checksum", file(func(_ Weights, m map[string]string) { delete(m, keyChecksum) }, false), ErrChecksum, "damaged"},
		{"steps", file(func(_ Weights, m map[string]string) { m[keySteps] = "many" }, true), ErrFormat, "steps"},
		{"seed", file(func(_ Weights, m map[string]string) { m[keySeed] = "-1" }, true), ErrFormat, "seed"},
		{"loss", file(func(_ Weights, m map[string]string) { m[keyLoss] = "NaN" }, true), ErrFormat, "final loss"},
		{"loss text", file(func(_ Weights, m map[string]string) { m[keyLoss] = "low" }, true), ErrFormat, "final loss"},
		{"no architecture", file(func(_ Weights, m map[string]string) { delete(m, keyArchitecture) }, true), ErrArchitecture, "EOF"},
		{"architecture", file(func(_ Weights, m map[string]string) {
			m[keyArchitecture] = strings.Replace(m[keyArchitecture], `"input_size":12`, `"input_size":99999999`, 1)
		}, true), ErrArchitecture, "input_size 99999999: must be 1 to 1024"},
		{"missing tensor", file(func(w Weights, _ map[string]string) { delete(w, "layers.9.weight") }, true), ErrWeights, "layers.9.weight is missing"},
		{"tensor's shape", file(func(w Weights, _ map[string]string) { w["layers.9.weight"] = NewTensor(3) }, true), ErrWeights, "layers.9.weight has shape [3]"},
		{"NaN", file(func(w Weights, _ map[string]string) { w["layers.12.bias"].Data[0] = float32(math.NaN()) }, true), ErrWeights, "must be finite"},
		{"other dtype", bytes.Replace(e.Bytes(), []byte(`"dtype":"F32"`), []byte(`"dtype":"I32"`), 1), ErrFormat, "F32 is needed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Read(test.data)
			if !errors.Is(err, test.kind) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %v with %q", err, test.kind, test.want)
			}
		})
	}
	// What others add does not matter.
	if _, err := Read(file(func(_ Weights, m map[string]string) { m["format"] = "pt" }, false)); err != nil {
		t.Error(err)
	}
}

func TestLoadErrors(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "missing")
	if _, err := Load(missing); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), missing) {
		t.Errorf("missing: %v", err)
	}
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("folder: %v", err)
	}
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("no encoder"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(text); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), text) {
		t.Errorf("text: %v", err)
	}
	// A sparse file larger than any encoder is refused before it is read.
	huge := filepath.Join(dir, "huge")
	f, err := os.Create(huge)
	if err != nil {
		t.Fatal(err)
	}
	err = f.Truncate(maxFile + 1)
	f.Close()
	if err != nil {
		t.Skip(err)
	}
	if _, err := Load(huge); !errors.Is(err, ErrFormat) {
		t.Errorf("huge: %v", err)
	}
}

func TestSaveErrors(t *testing.T) {
	e := someEncoder(t)
	dir := t.TempDir()
	missing := filepath.Join(dir, "missing", "e")
	if err := e.Save(missing); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), missing) {
		t.Errorf("missing folder: %v", err)
	}
	// A folder in the way: the rename fails, and nothing stays behind.
	inTheWay := filepath.Join(dir, "folder")
	if err := os.MkdirAll(filepath.Join(inTheWay, "full"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := e.Save(inTheWay); err == nil {
		t.Error("saved over a folder")
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestTensors(t *testing.T) {
	want := Weights{
		"scalar": {Shape: []int{}, Data: []float32{42}},
		"none":   {Shape: []int{3, 0, 2}, Data: []float32{}},
		"a \"b\" <é>": {Shape: []int{2, 2}, Data: []float32{
			float32(math.Inf(1)), -1, math.SmallestNonzeroFloat32, math.MaxFloat32}},
	}
	metadata := map[string]string{"key": "value", "": "empty", "é": "<>&\u2028\n"}
	data, err := MarshalTensors(want, metadata)
	if err != nil {
		t.Fatal(err)
	}
	if header := binary.LittleEndian.Uint64(data); (8+header)%dataAlignment != 0 || len(data) != 8+int(header)+20 {
		t.Errorf("header of %d bytes, file of %d", header, len(data))
	}
	got, gotMetadata, err := UnmarshalTensors(data)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) || !maps.Equal(gotMetadata, metadata) {
		t.Errorf("got %v %v", got, gotMetadata)
	}
	if data, err = MarshalTensors(nil, nil); err != nil {
		t.Fatal(err)
	}
	if got, _, err := UnmarshalTensors(data); err != nil || len(got) != 0 {
		t.Errorf("none: %v, %v", got, err)
	}
	for name, bad := range map[string]Weights{
		"reserved name": {metadataKey: NewTensor(1)}, "name": {"\xff": NewTensor(1)}, "length": {"a": {Shape: []int{2}, Data: []float32{1}}},
		"negative": {"a": {Shape: []int{-1, -1}, Data: []float32{1}}}, "sides": {"a": NewTensor(1, 1, 1, 1, 1, 1, 1, 1, 1)},
	} {
		if _, err := MarshalTensors(bad, nil); err == nil {
			t.Errorf("%s: written", name)
		}
	}
	if _, err := MarshalTensors(nil, map[string]string{"a": "\xff"}); err == nil {
		t.Error("metadata that is no UTF-8 is written")
	}
}

func withHeader(header string, data int) []byte {
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(out, header...), make([]byte, data)...)
}

func TestUnmarshalTensorsRefuses(t *testing.T) {
	for _, test := range []struct {
		header string
		data   int
		want   string
	}{
		{``, 0, "EOF"},
		{`[]`, 0, "a JSON object is needed"},
		{`{`, 0, "EOF"},
		{`{} {}`, 0, "2 bytes after its end"},
		{"{\"\xff\":1}", 0, "UTF-8"},
		{`{"a":1}`, 0, "a JSON object is needed"},
		{`{"a":null}`, 0, "a JSON object is needed"},
		{`{"a":{"dtype":"F32","shape":[1]}}`, 4, "two data_offsets are needed"},
		{`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}}`, 4, "two data_offsets are needed"},
		{`{"a":{"dtype":"F32","shape":null,"data_offsets":[0,4]}}`, 4, "null"},
		{`{"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}}`, 4, "1.5"},
		{`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}}`, 4, `unknown field "x"`},
		{`{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4, `"dtype" comes twice`},
		{`{"a":{"dtype":"F7","shape":[1],"data_offsets":[0,4]}}`, 4, "unknown dtype"},
		{`{"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}}`, 8, "F32 is needed"},
		{`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}`, 4, "does not fill its 4 bytes"},
		{`{"a":{"dtype":"F32","shape":[-1,-1],"data_offsets":[0,4]}}`, 4, "does not fill"},
		{`{"a":{"dtype":"F32","shape":[4294967296,4294967296,4294967296,4294967296],"data_offsets":[0,0]}}`, 0, "does not fill"},
		{`{"a":{"dtype":"F32","shape":[4611686018427387905],"data_offsets":[0,4]}}`, 4, "does not fill"},
		{`{"a":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]}}`, 4, "9 dimensions: at most 8"},
		{`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 3, "truncated"},
		{`{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}`, 4, "lies at bytes 4 to 0"},
		{`{"a":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}}`, 4, "lies at bytes -4"},
		{`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 8, "take 4 bytes, the file has 8"},
		{`{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8, "starts at byte 4: must be 0"},
		{`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}`, 12, "starts at byte 4: must be 8"},
		{`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8, `"a" comes twice`},
		{`{"__metadata__":{"a":1}}`, 0, `metadata "a"`},
		{`{"__metadata__":{"a":null}}`, 0, `metadata "a"`},
		{`{"__metadata__":[]}`, 0, "a JSON object is needed"},
	} {
		_, _, err := UnmarshalTensors(withHeader(test.header, test.data))
		if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", test.header, err, test.want)
		}
	}
	// A header length beyond all bounds must not be believed.
	for _, n := range []uint64{1 << 63, math.MaxUint64, maxHeader + 1, 100} {
		if _, _, err := UnmarshalTensors(binary.LittleEndian.AppendUint64(nil, n)); !errors.Is(err, ErrFormat) {
			t.Errorf("header of %d bytes: %v", n, err)
		}
	}
}

// The golden file holds what version 1 writes; it must stay readable, and equal content must give these bytes.
func TestCompat(t *testing.T) {
	path := filepath.Join("testdata", "compat", "encoder_v1.safetensors")
	e := someEncoder(t)
	if *update {
		if err := e.Save(path); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Read(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got.Metadata() != someMetadata || !reflect.DeepEqual(got.Architecture(), e.Architecture()) {
		t.Errorf("got %+v %+v", got.Metadata(), got.Architecture())
	}
	if want := "625012434e05"; FormatVersion == 1 && !strings.HasPrefix(got.Fingerprint(), want) {
		t.Errorf("fingerprint %s, want %s…: collections made with version 1 would be refused", got.Fingerprint(), want)
	}
	// The normal draws pass through math.Log and math.Exp, which some processors round in another way.
	if runtime.GOARCH == "amd64" && !bytes.Equal(e.Bytes(), golden) {
		t.Error("equal content gives other bytes (run with -update if the change is wanted)")
	}
}

// TestPythonReads has another program read our file: set IMGSEARCH_PYTHON to a Python 3 with numpy and safetensors.
func TestPythonReads(t *testing.T) {
	python := os.Getenv("IMGSEARCH_PYTHON")
	if python == "" {
		t.Skip("set IMGSEARCH_PYTHON to a Python 3 with numpy and safetensors")
	}
	e := someEncoder(t)
	path := filepath.Join(t.TempDir(), "e.safetensors")
	if err := e.Save(path); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(python, filepath.Join("testdata", "read_encoder.py"), path).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want := "preset default\n"
	w := e.Weights()
	for _, name := range slices.Sorted(maps.Keys(w)) {
		shape := strings.ReplaceAll(strings.Trim(fmt.Sprint(w[name].Shape), "[]"), " ", "x")
		sum := 0.0
		for _, v := range w[name].Data {
			sum += float64(v)
		}
		want += fmt.Sprintf("%s %s %.6f\n", name, shape, sum)
	}
	if got := strings.ReplaceAll(string(out), "\r", ""); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func FuzzRead(f *testing.F) {
	small := Architecture{InputSize: 2, Std: [3]float32{1, 1, 1}, Layers: []Layer{{Kind: GlobalMean}, {Kind: Linear, Out: 2, Bias: true}}}
	e, err := New(small, InitWeights(small, rand.New(rand.NewPCG(1, 1))), Metadata{Preset: "p"})
	if err != nil {
		f.Fatal(err)
	}
	good := e.Bytes()
	f.Add(good, false)
	f.Add(good[:len(good)/2], false)
	f.Add(good, true)
	f.Add(someEncoder(f).Bytes(), true)
	f.Add(mustNew(f, mirroredNets()["pixels"], 1).Bytes(), true)
	f.Add(withHeader(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4), true)
	f.Fuzz(func(t *testing.T, data []byte, repair bool) {
		if repair { // so that the fuzzer gets past the checksum
			tensors, metadata, err := UnmarshalTensors(data)
			if err != nil {
				return
			}
			metadata[keyVersion] = "1"
			metadata[keyChecksum] = checksum(metadata, weightsDigest(tensors))
			if data, err = MarshalTensors(tensors, metadata); err != nil {
				t.Fatal(err)
			}
		}
		e, err := Read(data)
		if err != nil {
			for _, kind := range []error{ErrFormat, ErrVersion, ErrChecksum, ErrArchitecture, ErrWeights} {
				if errors.Is(err, kind) {
					return
				}
			}
			t.Fatalf("an error of no kind: %v", err)
		}
		again, err := Read(e.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if again.Fingerprint() != e.Fingerprint() || again.Metadata() != e.Metadata() {
			t.Error("another encoder after writing and reading")
		}
		_ = e.Describe()
	})
}
