package main

import (
	"context"
	"encoding/csv"
	"errors"
	"io"
	"slices"
	"strconv"

	"github.com/sbinet/npyio"
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
		Args:    cobra.NoArgs,
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
	for _, path := range []string{f.embeddings, f.labels, f.jsonl} {
		if err := refuseOverwrite(path, f.force); err != nil {
			return err
		}
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

func (e exported) writeNPY(w io.Writer) error {
	rows := make([][]float32, 0, len(e.records))
	for row := range slices.Chunk(e.embeddings, e.dim) {
		rows = append(rows, row)
	}
	return npyio.Write(w, rows)
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
