package main

import (
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// newTable returns an aligned table without borders that writes to w. Columns named in right are aligned to the right.
func newTable(w io.Writer, right ...int) table.Writer {
	t := table.NewWriter()
	t.SetOutputMirror(w)
	style := table.StyleDefault
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	style.Options = table.OptionsNoBordersAndSeparators
	style.Format.Header = text.FormatDefault
	t.SetStyle(style)
	t.SuppressTrailingSpaces()
	configs := make([]table.ColumnConfig, len(right))
	for i, column := range right {
		configs[i] = table.ColumnConfig{Number: column, Align: text.AlignRight, AlignHeader: text.AlignRight}
	}
	t.SetColumnConfigs(configs)
	return t
}

// keyValues writes aligned "key: value" lines; pairs alternate between the two.
func keyValues(w io.Writer, pairs ...string) {
	t := newTable(w)
	for i := 0; i+1 < len(pairs); i += 2 {
		t.AppendRow(table.Row{pairs[i] + ":", strings.TrimRight(pairs[i+1], "\n")})
	}
	t.Render()
}

// columnsIndented writes pairs in two aligned columns.
func columnsIndented(w io.Writer, pairs ...string) {
	t := newTable(w)
	for i := 0; i+1 < len(pairs); i += 2 {
		t.AppendRow(table.Row{"  " + pairs[i], pairs[i+1]})
	}
	t.Render()
}
