package main

import (
	"fmt"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"imgsearch/embedder"
)

func newEncoder(s *streams) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "encoder [FILE]",
		Short: "Describe an encoder file: its net, and what made it",
		Long:  "Describe an encoder file: its net, and what made it. Without FILE, the encoder that is built in.",
		Args:  atMostOne,
		RunE: func(_ *cobra.Command, args []string) error {
			encoder, err := loadEncoder(strings.Join(args, ""))
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(s.out, encoder.Describe())
			}
			describeEncoder(s, encoder.Describe())
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func describeEncoder(s *streams, d embedder.Description) {
	distance := "l2"
	if d.Normalized {
		distance = "cosine"
	}
	m := d.Metadata
	keyValues(s.out,
		"fingerprint", d.Fingerprint,
		"file", fmt.Sprintf("%s, format version %d", fileSize(d.FileBytes), d.FormatVersion),
		"input", fmt.Sprintf("%d x %d RGB, mean %.4g, std %.4g", d.InputSize, d.InputSize, d.Mean, d.Std),
		"embedding", fmt.Sprintf("%d values, compared by %s", d.Dim, distance),
		"size", fmt.Sprintf("%s, %.1f MFLOP an image", count(int(d.Parameters), "parameter"), float64(d.FLOPs)/1e6),
		"made by", fmt.Sprintf("%s, preset %s, seed %d", m.Program, m.Preset, m.Seed),
		"trained on", trainedText(m),
		"created", m.Created)
	fmt.Fprintln(s.out)
	t := newTable(s.out, 4, 5, 6)
	t.AppendHeader(table.Row{"layer", "kind", "settings", "output", "parameters", "MFLOP"})
	for _, l := range d.Layers {
		t.AppendRow(table.Row{
			l.Name, l.Kind, l.Detail, strings.Trim(strings.ReplaceAll(fmt.Sprint(l.Output), " ", " x "), "[]"),
			thousands(int(l.Parameters)), fmt.Sprintf("%.2f", float64(l.FLOPs)/1e6),
		})
	}
	t.Render()
}

// trainedText says what an encoder was trained on.
func trainedText(m embedder.Metadata) string {
	if m.Dataset == "" {
		return "nothing that it tells of"
	}
	return fmt.Sprintf("%s (%.12s), %s, final loss %.4f", m.Dataset, m.DatasetFingerprint, count(m.Steps, "step"), m.FinalLoss)
}
