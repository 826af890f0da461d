package main

import (
	"context"
	"encoding/binary"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"imgsearch/atlas"
	"imgsearch/dataset"
	"imgsearch/embedder"
	"imgsearch/search"
)

type exportFlags struct {
	index      string
	embeddings string
	labels     string
	jsonl      string
	force      bool
}

func newExport(s *streams) *cobra.Command {
	var f exportFlags
	cmd := &cobra.Command{
		Use:   "export --index FILE [--embeddings F.npy] [--labels F.csv] [--jsonl F.jsonl]",
		Short: "Write embeddings and labels for other tools",
		Long: `Write the embeddings as a NumPy file, [images, dim] float32, and the records as CSV with the columns id, source,
label, its rows in the NumPy file's order, which is by rising id: for a fresh collection the data set's own. With
--jsonl both, an object a line: {"id","source","label","embedding"}.`,
		Example: "  imgsearch export --index photos.imgsearch --embeddings photos.npy --labels photos.csv",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runExport(cmd.Context(), s, f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.index, "index", "", "collection `FILE` to export")
	flags.StringVar(&f.embeddings, "embeddings", "", "NumPy `FILE` to write")
	flags.StringVar(&f.labels, "labels", "", "CSV `FILE` to write")
	flags.StringVar(&f.jsonl, "jsonl", "", "JSON lines `FILE` to write")
	flags.BoolVar(&f.force, "force", false, "replace files that exist")
	return cmd
}

func runExport(ctx context.Context, s *streams, f exportFlags) error {
	if err := requireFlag("index", f.index, "photos.imgsearch"); err != nil {
		return err
	}
	if f.embeddings == "" && f.labels == "" && f.jsonl == "" {
		return usagef("nothing to write: give --embeddings F.npy, --labels F.csv or --jsonl F.jsonl")
	}
	if err := f.checkFiles(); err != nil {
		return err
	}
	c, err := openCollection(f.index, "")
	if err != nil {
		return err
	}
	defer c.Close()
	all, err := readAll(ctx, c)
	if err != nil {
		return err
	}
	for _, out := range []struct {
		path  string
		write func(io.Writer) error
	}{{f.embeddings, all.writeNPY}, {f.labels, all.writeCSV}, {f.jsonl, all.writeJSONL}} {
		if out.path == "" {
			continue
		}
		if err := atlas.WriteFile(out.path, out.write); err != nil {
			return err
		}
	}
	keyValues(s.out, "exported", count(len(all.records), "image"), "dim", strconv.Itoa(c.Dim()))
	return nil
}

// checkFiles looks at the places to write: all different, and none the collection itself.
func (f exportFlags) checkFiles() error {
	paths := []string{f.embeddings, f.labels, f.jsonl}
	for i, path := range paths {
		if path == "" {
			continue
		}
		if slices.Contains(paths[:i], path) {
			return usagef("%s is named twice: each output needs a file of its own", path)
		}
		if sameFile(path, f.index) {
			return usagef("%s is the collection itself: name another file", path)
		}
		if err := checkOutput(path, f.force); err != nil {
			return err
		}
	}
	return nil
}

// exported is what a collection holds, records and embeddings in one order.
type exported struct {
	records    []search.Record
	embeddings []float32
	dim        int
}

func readAll(ctx context.Context, c *search.Collection) (exported, error) {
	all := exported{dim: c.Dim()}
	ids, embeddings, err := c.Embeddings(ctx)
	if err != nil {
		return all, err
	}
	all.embeddings = embeddings
	for record, err := range c.Records(ctx) {
		if err != nil {
			return all, err
		}
		all.records = append(all.records, record)
	}
	if len(all.records) != len(ids) {
		return all, errors.New("the collection was changed while it was read: try again")
	}
	return all, nil
}

// writeNPY writes format version 1.0: magic, length of the header, the header as a Python dictionary padded with spaces
// so that the values begin at a multiple of 64 bytes, and the rows as little-endian float32.
// See https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html.
func (e exported) writeNPY(w io.Writer) error {
	const prefix = len("\x93NUMPY") + 2 + 2
	header := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }", len(e.records), e.dim)
	header += strings.Repeat(" ", 63-(prefix+len(header))%64) + "\n"
	start := append([]byte("\x93NUMPY\x01\x00"), byte(len(header)), byte(len(header)>>8))
	if _, err := w.Write(append(start, header...)); err != nil {
		return err
	}
	row := make([]byte, 4*e.dim)
	for values := range slices.Chunk(e.embeddings, e.dim) {
		for i, v := range values {
			binary.LittleEndian.PutUint32(row[4*i:], math.Float32bits(v))
		}
		if _, err := w.Write(row); err != nil {
			return err
		}
	}
	return nil
}

func (e exported) writeCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	_ = out.Write([]string{"id", "source", "label"})
	for _, r := range e.records {
		_ = out.Write([]string{strconv.FormatUint(uint64(r.ID), 10), r.Source, string(r.Label)})
	}
	out.Flush()
	return out.Error()
}

func (e exported) writeJSONL(w io.Writer) error {
	for i, r := range e.records {
		err := printJSONLine(w, struct {
			ID        dataset.ID         `json:"id"`
			Source    string             `json:"source"`
			Label     dataset.Label      `json:"label"`
			Embedding embedder.Embedding `json:"embedding"`
		}{r.ID, r.Source, r.Label, e.embeddings[i*e.dim : (i+1)*e.dim]})
		if err != nil {
			return err
		}
	}
	return nil
}
