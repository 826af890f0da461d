package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/jedib0t/go-pretty/v6/table"

	"imgsearch/atlas"
	"imgsearch/dataset"
	"imgsearch/search"
)

// print writes the answers in the form that the flags ask for.
func (f queryFlags) print(ctx context.Context, s *streams, c *search.Collection, questions []question, answers []answer) error {
	for i, a := range answers {
		var err error
		switch {
		case f.json:
			err = printAnswerJSON(s, a, len(answers) == 1)
		case f.paths:
			err = printPaths(s, a)
		default:
			err = f.printTable(ctx, s, c, questions[i], a, len(answers) > 1)
		}
		if err != nil {
			return err
		}
	}
	if f.sheet == "" {
		return nil
	}
	rows, err := sheetRows(ctx, c, questions, answers)
	if err != nil {
		return err
	}
	paths, err := atlas.SaveSheets(ctx, f.sheet, rows, atlas.SheetOptions{Title: "Nearest neighbours", Subtitle: f.index})
	if err != nil {
		return err
	}
	for _, path := range paths {
		fmt.Fprintf(s.err, "wrote %s\n", path)
	}
	return nil
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

func printPaths(s *streams, a answer) error {
	for _, n := range a.Neighbors {
		if _, err := fmt.Fprintln(s.out, n.Source); err != nil {
			return err
		}
	}
	return nil
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
	if heading {
		fmt.Fprintln(s.out)
	}
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

// sheetRows lays out questions and answers for a contact sheet.
func sheetRows(ctx context.Context, c *search.Collection, questions []question, answers []answer) ([]atlas.SheetRow, error) {
	rows := make([]atlas.SheetRow, len(answers))
	for i, a := range answers {
		q := questions[i]
		image, err := questionImage(ctx, c, q)
		if err != nil {
			return nil, err
		}
		rows[i].Query = atlas.SheetCell{Image: image, Caption: caption(q.entry.Label, q.entry.Source), Sub: q.entry.Source}
		for _, n := range a.Neighbors {
			image, err := thumbnail(ctx, c, n.ID)
			if err != nil {
				return nil, err
			}
			rows[i].Cells = append(rows[i].Cells, atlas.SheetCell{
				Image: image, Caption: caption(n.Label, n.Source), Sub: fmt.Sprintf("%.3f  #%d", n.Distance, n.ID),
				Frame: frame(q.entry.Label, n.Label),
			})
		}
	}
	return rows, nil
}

// caption is the label, or where there is none the source.
func caption(label dataset.Label, source string) string {
	if label != "" {
		return string(label)
	}
	return source
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
