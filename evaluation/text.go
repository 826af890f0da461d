package evaluation

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/rivo/uniseg"

	"imgsearch/dataset"
	"imgsearch/index"
)

const (
	textWidth = 100
	// textClasses is the number of classes that the table of classes lists.
	textClasses = 30
)

// WriteText renders a report as aligned tables: the measures with their intervals beside chance and baselines, the
// classes, and the matrix where it fits. Lines are at most width columns long where names allow (0: 100). Nothing
// but characters is written, no colour.
func WriteText(w io.Writer, r *Report, width int) error {
	if width <= 0 {
		width = textWidth
	}
	var b strings.Builder
	r.writeHead(&b)
	r.writeScores(&b)
	r.writeClasses(&b, width)
	r.writeMatrix(&b, width)
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteSummary renders the first part of what WriteText does: the measures with their intervals beside chance and
// baselines.
func WriteSummary(w io.Writer, r *Report) error {
	var b strings.Builder
	r.writeHead(&b)
	r.writeScores(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Report) writeHead(b *strings.Builder) {
	distance := "Euclidean distance"
	if r.Metric == index.Cosine {
		distance = "cosine distance"
	}
	engine := r.Engine
	if engine == "exact" {
		engine = "exact search"
	}
	fmt.Fprintf(b, "%s in a gallery of %s, dim %d, %s, answered by %s\n", plural(r.Queries, "query", "queries"),
		thousands(r.Gallery), r.Dim, distance, engine)
	if r.LeaveOneOut {
		b.WriteString("The queries are images of the gallery; each is left out of its own neighbours.\n")
	}
	if r.UnlabelledQueries > 0 || r.UnlabelledGallery > 0 {
		fmt.Fprintf(b, "Without a label, and not counted: %s, %s of the gallery.\n",
			plural(r.UnlabelledQueries, "query", "queries"), plural(r.UnlabelledGallery, "image", "images"))
	}
}

func (r *Report) writeScores(b *strings.Builder) {
	b.WriteByte('\n')
	interval := fmt.Sprintf("%s %%\ninterval", strconv.FormatFloat(100*r.Intervals.Confidence, 'f', -1, 64))
	header := []string{"", wrapName(r.Engine), interval}
	labelled := r.Purity != nil
	if labelled {
		for _, base := range r.Baselines {
			header = append(header, wrapName(base.Name))
		}
	}
	t := textTable{header: header, left: []int{0}}
	row := func(name string, value float64, in Interval, of func(Scores) (float64, bool)) {
		cells := []string{name, share(value), share(in[0]) + "–" + share(in[1])}
		if labelled {
			for _, base := range r.Baselines {
				cell := ""
				if v, ok := of(base.Scores); ok {
					cell = share(v)
				}
				cells = append(cells, cell)
			}
		}
		t.rows = append(t.rows, cells)
	}
	for _, k := range sortedKeys(r.Purity) {
		row(fmt.Sprintf("purity@%d", k), r.Purity[k], r.Intervals.Purity[k],
			func(s Scores) (float64, bool) { v, ok := s.Purity[k]; return v, ok })
	}
	if labelled && r.Intervals.KNNAccuracy != nil {
		row("kNN accuracy", float64(r.KNNAccuracy), *r.Intervals.KNNAccuracy,
			func(s Scores) (float64, bool) { return float64(s.KNNAccuracy), !math.IsNaN(float64(s.KNNAccuracy)) })
	}
	for _, k := range sortedKeys(r.ANNRecall) {
		row(fmt.Sprintf("ANN recall@%d", k), r.ANNRecall[k], r.Intervals.ANNRecall[k],
			func(Scores) (float64, bool) { return 0, false })
	}
	t.render(b)
	if labelled {
		fmt.Fprintf(b, "Neighbours drawn at random would have a purity of %s.\n", share(float64(r.Chance)))
	}
}

func (r *Report) writeClasses(b *strings.Builder, width int) {
	if len(r.PerClass) == 0 {
		return
	}
	b.WriteByte('\n')
	ks := sortedKeys(r.Purity)
	header := []string{"class", "queries", "gallery"}
	for _, k := range ks {
		header = append(header, fmt.Sprintf("purity\n@%d", k))
	}
	header = append(header, "kNN\naccuracy")
	classes := r.PerClass
	if len(classes) > textClasses {
		classes = slices.Clone(classes)
		slices.SortStableFunc(classes, func(a, b Class) int { return cmp.Compare(b.Queries, a.Queries) })
		classes = classes[:textClasses]
	}
	longest := len("class")
	for _, c := range classes {
		longest = max(longest, uniseg.StringWidth(string(c.Label)))
	}
	longest = min(longest, width/4)
	rest := width - longest - 2 - 2*9 - 8*len(ks) - 10
	const title = "neighbours of other classes"
	others := rest >= len(title)
	if others {
		header = append(header, title)
	}
	t := textTable{header: header, left: []int{0, len(ks) + 4}}
	for _, c := range classes {
		row := []string{snip(string(c.Label), longest), thousands(c.Queries), thousands(c.Gallery)}
		for _, k := range ks {
			row = append(row, share(c.Purity[k]))
		}
		row = append(row, share(c.KNNAccuracy))
		if others {
			row = append(row, takenFor(c.TakenFor, rest))
		}
		t.rows = append(t.rows, row)
	}
	t.render(b)
	if more := len(r.PerClass) - len(classes); more > 0 {
		fmt.Fprintf(b, "The %d classes with the most queries are shown; there are %s more.\n", len(classes), thousands(more))
	}
}

// takenFor lists as many labels as fit into width, at least one.
func takenFor(labels []LabelShare, width int) string {
	out := ""
	for _, l := range labels {
		if l.Share < 0.005 {
			break
		}
		next := fmt.Sprintf("%s %s", snip(string(l.Label), max(width-6, 8)), percent(l.Share))
		if out != "" {
			next = out + ", " + next
			if uniseg.StringWidth(next) > width {
				break
			}
		}
		out = next
	}
	return out
}

func (r *Report) writeMatrix(b *strings.Builder, width int) {
	if r.Matrix == nil || len(r.Matrix.Labels) < 2 {
		return
	}
	labels := r.Matrix.Labels
	longest := 0
	for _, l := range labels {
		longest = max(longest, uniseg.StringWidth(string(l)))
	}
	longest = min(longest, width/4)
	column := matrixColumn(labels, width-longest)
	if column < 3 {
		return
	}
	fmt.Fprintf(b, "\nLabels of the %d nearest, per cent (rows: the query's class)\n\n", r.Matrix.K)
	header := []string{""}
	for i, l := range labels {
		name := snip(string(l), column)
		if column < 4 {
			name = strconv.Itoa(i + 1)
		}
		header = append(header, name)
	}
	t := textTable{header: header, left: []int{0}}
	for i, l := range labels {
		name := snip(string(l), longest)
		if column < 4 {
			name = fmt.Sprintf("%2d %s", i+1, snip(string(l), max(longest-3, 3)))
		}
		row := []string{name}
		for _, v := range r.Matrix.Shares[i] {
			cell := strconv.FormatFloat(100*v, 'f', 0, 64)
			if v < 0.005 {
				cell = "·"
			}
			row = append(row, cell)
		}
		t.rows = append(t.rows, row)
	}
	t.render(b)
}

// matrixColumn is the number of columns to which labels must be cut for all to stand side by side in width.
func matrixColumn(labels []dataset.Label, width int) int {
	for column := width; column >= 3; column-- {
		total := 0
		for _, l := range labels {
			total += 2 + min(column, max(3, uniseg.StringWidth(string(l))))
		}
		if total <= width {
			return column
		}
	}
	return 0
}

// textTable is a table without frame: a header, whose cells may have several lines, a rule and rows.
type textTable struct {
	header []string
	rows   [][]string
	// left are the columns aligned to the left, counted from 0; the others are aligned to the right.
	left []int
}

// render writes the table, two blanks between its columns and none at the ends of lines.
func (t textTable) render(b *strings.Builder) {
	widths := make([]int, len(t.header))
	height := 0
	head := make([][]string, len(t.header))
	for c, cell := range t.header {
		head[c] = strings.Split(cell, "\n")
		height = max(height, len(head[c]))
		for _, line := range head[c] {
			widths[c] = max(widths[c], uniseg.StringWidth(line))
		}
	}
	for _, row := range t.rows {
		for c, cell := range row {
			widths[c] = max(widths[c], uniseg.StringWidth(cell))
		}
	}
	for l := range height {
		cells := make([]string, len(head))
		for c, lines := range head {
			if at := l - (height - len(lines)); at >= 0 {
				cells[c] = lines[at]
			}
		}
		t.line(b, widths, cells)
	}
	total := 2 * (len(widths) - 1)
	for _, w := range widths {
		total += w
	}
	b.WriteString(strings.Repeat("─", total))
	b.WriteByte('\n')
	for _, row := range t.rows {
		t.line(b, widths, row)
	}
}

func (t textTable) line(b *strings.Builder, widths []int, cells []string) {
	var line strings.Builder
	for c, cell := range cells {
		if c > 0 {
			line.WriteString("  ")
		}
		pad := strings.Repeat(" ", widths[c]-uniseg.StringWidth(cell))
		if slices.Contains(t.left, c) {
			line.WriteString(cell + pad)
		} else {
			line.WriteString(pad + cell)
		}
	}
	b.WriteString(strings.TrimRight(line.String(), " "))
	b.WriteByte('\n')
}

// wrapName breaks a name at its blanks.
func wrapName(name string) string { return strings.Join(strings.Fields(name), "\n") }

// snip shortens a name to width columns, ending in an ellipsis where something was left out, and makes it one line.
func snip(name string, width int) string {
	name = strings.Join(strings.Fields(name), " ")
	name = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '\ufffd' // a name must not steer the terminal
	}, name)
	if uniseg.StringWidth(name) <= width {
		return name
	}
	var out strings.Builder
	used := 1 // the ellipsis
	for graphemes := uniseg.NewGraphemes(name); graphemes.Next(); {
		if used += graphemes.Width(); used > width {
			break
		}
		out.WriteString(graphemes.Str())
	}
	return out.String() + "…"
}

func share(v float64) string   { return strconv.FormatFloat(v, 'f', 3, 64) }
func percent(v float64) string { return strconv.FormatFloat(100*v, 'f', 0, 64) + " %" }

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return thousands(n) + " " + many
}

func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
