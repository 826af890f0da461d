package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"imgsearch/dataset"
	"imgsearch/embedder"
	"imgsearch/search"
)

func newInfo(s *streams) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "info FILE",
		Short: "Describe a collection",
		Args:  exactlyOne("a collection file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runInfo(cmd.Context(), s, args[0], asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func runInfo(ctx context.Context, s *streams, path string, asJSON bool) error {
	c, err := openCollection(path, "")
	if err != nil {
		return err
	}
	defer c.Close()
	info, err := c.Info(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(s.out, info)
	}
	encoder, err := c.Encoder()
	if err != nil {
		return err
	}
	printInfo(s, info, encoder.Metadata())
	return nil
}

func printInfo(s *streams, info search.Info, made embedder.Metadata) {
	graph := fmt.Sprintf("hnsw, M %d, efConstruction %d, efSearch %d", info.Graph.M, info.Graph.EfConstruction, info.Graph.EfSearch)
	if info.Graph.Stale {
		graph += " (not up to date: answers are exact, the next index run completes it)"
	}
	thumbnails := "none"
	if info.Thumbnail > 0 {
		thumbnails = fmt.Sprintf("up to %d pixels", info.Thumbnail)
	}
	pairs := []string{
		"file", info.Path,
		"format", strconv.Itoa(info.Format),
		"created", info.Created.Format(time.RFC3339),
		"images", thousands(info.Images),
		"embedding", fmt.Sprintf("%d values, compared by %s", info.Dim, info.Metric),
		"encoder", info.Encoder,
		"  trained on", trainedText(made),
		"graph", graph,
		"map", mapText(info.Map),
		"thumbnails", thumbnails,
		"size", fileSize(info.FileBytes),
	}
	for _, part := range slices.Sorted(maps.Keys(info.Bytes)) {
		pairs = append(pairs, "  "+part, fileSize(info.Bytes[part]))
	}
	keyValues(s.out, pairs...)
	if len(info.Labels) == 0 {
		return
	}
	fmt.Fprintln(s.out)
	printLabels(s, info.Labels)
}

// mapText says what is known of the map.
func mapText(m *search.MapInfo) string {
	if m == nil {
		return "none (make one: imgsearch map)"
	}
	text := fmt.Sprintf("%s, perplexity %g, divergence %.3f", count(m.Laid, "image"), m.Perplexity, m.Divergence)
	if m.Placed > 0 {
		text += fmt.Sprintf("; %s placed later", thousands(m.Placed))
	}
	return text
}

// printLabels writes how many images have each label.
func printLabels(s *streams, labels map[dataset.Label]int) {
	t := newTable(s.out, 2)
	t.AppendHeader(table.Row{"label", "images"})
	for _, label := range slices.Sorted(maps.Keys(labels)) {
		name := string(label)
		if name == "" {
			name = "(none)"
		}
		t.AppendRow(table.Row{name, thousands(labels[label])})
	}
	t.Render()
}
