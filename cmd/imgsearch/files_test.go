package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/csv"
	"encoding/json"
	"hash/crc32"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/sbinet/npyio"

	"imgsearch/dataset"
)

// versionCommand is "version FILE": a collection becomes one of format version 2, checksums and all.
func versionCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: version FILE")
	}
	path := ts.MkAbs(args[0])
	data, err := os.ReadFile(path)
	ts.Check(err)
	// A value begins with 16 bytes: "IS", its kind (1 is the header), a version, a number, the length, a CRC-32C.
	changed := 0
	for at := 0; at+16 < len(data); at++ {
		head := data[at : at+16]
		if head[0] != 'I' || head[1] != 'S' || head[2] != 1 {
			continue
		}
		end := at + 16 + (int(binary.LittleEndian.Uint32(head[8:]))+7)&^7
		if end > len(data) {
			continue
		}
		payload := data[at+16 : end]
		field := bytes.Index(payload, []byte(`"format":1`))
		if field < 0 {
			continue
		}
		payload[field+len(`"format":`)] = '2'
		table := crc32.MakeTable(crc32.Castagnoli)
		binary.LittleEndian.PutUint32(head[12:], crc32.Update(crc32.Checksum(head[:12], table), table, payload))
		changed++
	}
	if changed == 0 {
		ts.Fatalf("no header in %s", args[0])
	}
	ts.Check(os.WriteFile(path, data, 0o666))
}

// npyCommand is "npy FILE ROWS DIM": float32 values of that shape.
func npyCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: npy FILE ROWS DIM")
	}
	_, shape := readNPY(ts, args[0])
	if got := []string{strconv.Itoa(shape[0]), strconv.Itoa(shape[1])}; !slices.Equal(got, args[1:]) {
		ts.Fatalf("shape %v", shape)
	}
}

// readNPY reads with a library that is not the one that wrote.
func readNPY(ts *testscript.TestScript, file string) (values []float32, shape []int) {
	data, err := os.ReadFile(ts.MkAbs(file))
	ts.Check(err)
	r, err := npyio.NewReader(bytes.NewReader(data))
	ts.Check(err)
	shape = r.Header.Descr.Shape
	if r.Header.Descr.Type != "<f4" || r.Header.Descr.Fortran || len(shape) != 2 {
		ts.Fatalf("%s: %+v", file, r.Header)
	}
	if shape[0] > 0 {
		ts.Check(r.Read(&values))
	}
	begin := len(data) - 4*shape[0]*shape[1]
	if begin%64 != 0 || data[begin-1] != '\n' {
		ts.Fatalf("%s: values begin at byte %d", file, begin)
	}
	return values, shape
}

// exportCommand is "export NPY CSV JSONL DATASET": the three say the same, in the order of the data set.
func exportCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: export NPY CSV JSONL DATASET")
	}
	values, shape := readNPY(ts, args[0])
	rows, err := csv.NewReader(strings.NewReader(ts.ReadFile(args[1]))).ReadAll()
	ts.Check(err)
	if !slices.Equal(rows[0], []string{"id", "source", "label"}) {
		ts.Fatalf("columns %q", rows[0])
	}
	name := args[3]
	if !strings.Contains(name, ":") {
		name = ts.MkAbs(name)
	}
	ds, err := dataset.Open(context.Background(), name, dataset.Options{})
	ts.Check(err)
	defer ds.Close()
	if shape[0] != ds.Len() || len(rows) != ds.Len()+1 {
		ts.Fatalf("%d embeddings, %d rows, want %d", shape[0], len(rows)-1, ds.Len())
	}
	objects := exportedObjects(ts, args[2])
	if len(objects) != ds.Len() {
		ts.Fatalf("%d objects", len(objects))
	}
	for i, row := range rows[1:] {
		entry := ds.Entry(i)
		source := entry.Source
		if name != args[3] {
			source = strings.Replace(source, name, args[3], 1)
		}
		if want := []string{strconv.Itoa(i), source, string(entry.Label)}; !slices.Equal(row, want) {
			ts.Fatalf("row %d is %q, want %q", i, row, want)
		}
		object := objects[i]
		if object.ID != i || object.Source != source || object.Label != string(entry.Label) ||
			!slices.Equal(object.Embedding, values[i*shape[1]:(i+1)*shape[1]]) {
			ts.Fatalf("object %d is %+v", i, object)
		}
	}
}

// exportedObject is a line of an export as JSON lines.
type exportedObject struct {
	ID        int       `json:"id"`
	Source    string    `json:"source"`
	Label     string    `json:"label"`
	Embedding []float32 `json:"embedding"`
}

func exportedObjects(ts *testscript.TestScript, file string) []exportedObject {
	var objects []exportedObject
	for _, value := range values(ts, file) {
		var object exportedObject
		decoder := json.NewDecoder(bytes.NewReader(value))
		decoder.DisallowUnknownFields()
		ts.Check(decoder.Decode(&object))
		objects = append(objects, object)
	}
	return objects
}
