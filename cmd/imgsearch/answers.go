package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/jedib0t/go-pretty/v6/table"

	"imgsearch/atlas"
	"imgsearch/dataset"
	"imgsearch/search"
)

// print writes an answer in the form that the flags ask for, and takes it into the sheet.
func (a *asker) print(ctx context.Context, q question, answered answer) error {
	var err error
	switch {
	case a.f.json:
		err = printAnswerJSON(a.s, answered, !a.several)
	case a.f.paths:
		for _, n := range answered.Neighbors {
			fmt.Fprintln(a.s.out, n.Source)
		}
	default:
		if a.several && a.asked > 1 {
			fmt.Fprintln(a.s.out)
		}
		err = a.f.printTable(ctx, a.s, a.collection, q, answered, a.several)
	}
	if err == nil && a.f.sheet != "" {
		err = a.rows.add(ctx, a.collection, q, answered)
	}
	return errors.Join(err, a.s.out.first)
}

func printAnswerJSON(s *streams, a answer, alone bool) error {
	if a.Neighbors == nil {
		a.Neighbors = []search.Result{}
	}
	if alone {
		return printJSON(s.out, a)
	}
	return printJSONLine(s.out, a)
}

// saveSheet draws what was asked and answered, where a sheet is wanted.
func (a *asker) saveSheet(ctx context.Context) error {
	if a.f.sheet == "" || len(a.rows) == 0 {
		return nil
	}
	options := atlas.SheetOptions{Title: "Nearest neighbours", Subtitle: a.f.index}
	// Many queries take several files, whose names are only known now.
	paths, err := atlas.SheetPaths(a.f.sheet, a.rows, options)
	if err != nil {
		return err
	}
	for _, path := range paths {
		if err := checkOutput(path, a.f.force); err != nil {
			return err
		}
	}
	paths, err = atlas.SaveSheets(ctx, a.f.sheet, a.rows, options)
	for _, path := range paths {
		fmt.Fprintf(a.s.err, "wrote %s\n", path)
	}
	return err
}

// printTable writes one answer as an aligned table, below a heading where there are several.
func (f queryFlags) printTable(ctx context.Context, s *streams, c *search.Collection, q question, a answer, heading bool) error {
	if heading {
		fmt.Fprintf(s.out, "%s%s\n", q.name, labelled(q.entry.Label))
	}
	if err := f.showPictures(ctx, s, c, q, a); err != nil {
		return err
	}
	if len(a.Neighbors) == 0 {
		_, err := fmt.Fprintln(s.out, "no neighbours")
		return err
	}
	t := newTable(s.out, 1, 2, 3, 4)
	t.AppendHeader(table.Row{"rank", "id", "distance", "similarity", "label", "source"})
	for _, n := range a.Neighbors {
		t.AppendRow(table.Row{n.Rank, n.ID, fmt.Sprintf("%.4f", n.Distance), fmt.Sprintf("%.4f", n.Similarity), n.Label, n.Source})
	}
	t.Render()
	return nil
}

func labelled(label dataset.Label) string {
	if label == "" {
		return ""
	}
	return " (" + string(label) + ")"
}

// showPictures draws the query and its first neighbours into a terminal that can.
func (f queryFlags) showPictures(ctx context.Context, s *streams, c *search.Collection, q question, a answer) error {
	mode := atlas.TerminalNone
	switch {
	case f.picture == "always":
		if mode = atlas.Detect(s.getenv); mode == atlas.TerminalNone {
			mode = atlas.TerminalTrueColour
		}
	case f.picture == "auto" && s.outTerminal:
		mode = atlas.Detect(s.getenv)
	}
	if mode == atlas.TerminalNone {
		return nil
	}
	const side, gap = 16, 1
	width := s.width
	if width == 0 {
		width = 80
	}
	first, err := questionImage(ctx, c, q)
	if err != nil {
		return err
	}
	images := []*dataset.Image{first}
	for _, n := range a.Neighbors[:min(len(a.Neighbors), width/(side+gap)-1)] {
		image, err := thumbnail(ctx, c, n.ID)
		if err != nil {
			return err
		}
		images = append(images, image)
	}
	return atlas.Terminal(s.out, atlas.Strip(images, side, gap), width, mode)
}

// questionImage is the picture that was asked with.
func questionImage(ctx context.Context, c *search.Collection, q question) (*dataset.Image, error) {
	if q.image != nil {
		return q.image, nil
	}
	if q.sample != nil {
		return q.sample.Image, nil
	}
	return thumbnail(ctx, c, q.id)
}

// thumbnail reads a stored picture; nil where the collection keeps none.
func thumbnail(ctx context.Context, c *search.Collection, id dataset.ID) (*dataset.Image, error) {
	image, err := c.Thumbnail(ctx, id)
	if errors.Is(err, search.ErrNoThumbnail) {
		return nil, nil
	}
	return image, err
}

// sheetRows collects questions and answers for a contact sheet.
type sheetRows []atlas.SheetRow

func (h *sheetRows) add(ctx context.Context, c *search.Collection, q question, a answer) error {
	image, err := questionImage(ctx, c, q)
	if err != nil {
		return err
	}
	row := atlas.SheetRow{Query: atlas.SheetCell{Image: image, Caption: caption(q.entry.Label, q.entry.Source), Sub: q.entry.Source}}
	if q.entry.Label == "" && q.image == nil {
		row.Query.Sub = filepath.Dir(q.entry.Source)
	}
	if q.image != nil && q.entry.Label == "" {
		row.Query.Caption, row.Query.Sub = q.entry.Source, ""
	}
	for _, n := range a.Neighbors {
		image, err := thumbnail(ctx, c, n.ID)
		if err != nil {
			return err
		}
		row.Cells = append(row.Cells, atlas.SheetCell{
			Image: image, Caption: caption(n.Label, n.Source), Sub: fmt.Sprintf("%.3f  #%d", n.Distance, n.ID),
			Frame: frame(q.entry.Label, n.Label),
		})
	}
	*h = append(*h, row)
	return nil
}

// caption is the label, or where there is none the file's name.
func caption(label dataset.Label, source string) string {
	if label != "" {
		return string(label)
	}
	return filepath.Base(source)
}

func frame(query, neighbor dataset.Label) atlas.Frame {
	switch {
	case query == "" || neighbor == "":
		return atlas.FrameNone
	case query == neighbor:
		return atlas.FrameMatch
	default:
		return atlas.FrameMismatch
	}
}
