package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"imgsearch/atlas"
	"imgsearch/dataset"
	"imgsearch/search"
)

type groupsFlags struct {
	index   string
	out     string
	csv     string
	force   bool
	json    bool
	limit   int
	options search.GroupOptions
}

func newGroups(s *streams) *cobra.Command {
	var f groupsFlags
	cmd := &cobra.Command{
		Use:   "groups --index FILE [--out DIR|FILE.html]",
		Short: "Find the groups of images that the encoder sees",
		Long: `Find the groups of images that the encoder sees together, as communities of the neighbour graph, and the images that fit
nowhere. Labels choose nothing; where there are some, each group's mix is told.

--out takes a folder for PNG sheets, one of all groups, one for each group and one of the images that fit nowhere, or the
name of one HTML file. Of each group the medoid comes first: the image with the smallest mean squared distance to all
others. The other pictures are taken from it outwards, evenly.

Tightness is 1 less the mean squared distance between two images of the group over that between any two. Agreement is
how alike the groups are when they are looked for in another order (adjusted Rand index).

With --json the result is {"images","labelled","labels","k","resolution","modularity","agreement","purity","nmi","groups":
[{"group","size","medoid":{"id","source","label"},"tightness","labels":[{"label","count"}],"nearest":[{"group",
"distance"}],"members":[{"id","distance","fit"}]}],"nowhere":[{"id","distance"}]}.`,
		Example: `  imgsearch groups --index photos.imgsearch --out groups.html
  imgsearch groups --index photos.imgsearch --groups 12 --out sheets/
  imgsearch groups --index photos.imgsearch --csv groups.csv`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("groups") && f.options.Count < 1 {
				return usagef("--groups %d: must be at least 1", f.options.Count)
			}
			return runGroups(cmd.Context(), s, f)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.index, "index", "", "collection `FILE` to look through")
	flags.StringVar(&f.out, "out", "", "draw the groups into this folder, or into `FILE.html`")
	flags.StringVar(&f.csv, "csv", "", "write the group of every image into this CSV `FILE`")
	flags.BoolVar(&f.force, "force", false, "replace the files of --out and --csv if they exist")
	flags.BoolVar(&f.json, "json", false, "print one JSON object")
	flags.Float64Var(&f.options.Resolution, "resolution", 1, "make more and smaller groups the larger `R` is")
	flags.IntVar(&f.options.Count, "groups", 0, "make about `N` groups, by looking for the resolution")
	flags.IntVarP(&f.options.K, "k", "k", 0, "link each image with up to `N` neighbours (default: 15, fewer in a small collection)")
	flags.IntVar(&f.options.MinSize, "min-size", 0, "a group has at least `N` images (default: 5, fewer in a small collection)")
	flags.IntVarP(&f.limit, "limit", "n", 100, "print and draw the `N` largest groups; --json and --csv have all")
	flags.Uint64Var(&f.options.Seed, "seed", 1, "seed `N` of the order in which images are looked at; equal seeds give equal groups")
	flags.IntVar(&f.options.Threads, "threads", 0, "use `N` threads; the result does not depend on it (default: all cores)")
	exclusive(cmd, "resolution", "groups")
	_ = cmd.MarkFlagFilename("csv", "csv")
	return cmd
}

func runGroups(ctx context.Context, s *streams, f groupsFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	c, err := openCollection(f.index, "")
	if err != nil {
		return err
	}
	defer c.Close()
	bars := newStages(s)
	defer bars.finish()
	f.options.OnProgress = bars.show
	report, err := c.Groups(ctx, f.options)
	bars.finish()
	if err != nil {
		return err
	}
	if f.json {
		err = printJSON(s.out, report)
	} else {
		f.print(s, report)
	}
	if err != nil {
		return err
	}
	if err := f.writeCSV(ctx, s, c, report); err != nil {
		return err
	}
	switch {
	case f.out == "":
		return nil
	case f.isPage():
		return f.writePage(ctx, s, c, report)
	default:
		return f.writeSheets(ctx, s, c, report)
	}
}

// check returns the first mistake in the flags.
func (f groupsFlags) check() error {
	if err := requireFlag("index", f.index, "photos.imgsearch"); err != nil {
		return err
	}
	switch {
	case !(f.options.Resolution >= 1e-4 && f.options.Resolution <= 1e6):
		return usagef("--resolution %g: must be 0.0001 to 1000000", f.options.Resolution)
	case f.options.K < 0 || f.options.K > 200:
		return usagef("-k %d: must be 1 to 200", f.options.K)
	case f.options.MinSize < 0:
		return usagef("--min-size %d: must not be negative", f.options.MinSize)
	case f.limit < 1:
		return usagef("-n %d: must be at least 1", f.limit)
	case f.options.Threads < 0:
		return usagef("--threads %d: must not be negative", f.options.Threads)
	case f.csv != "" && f.csv == f.out:
		return usagef("%s is named twice: each output needs a file of its own", f.csv)
	}
	for _, path := range []string{f.csv, f.out} {
		if path != "" && sameFile(path, f.index) {
			return usagef("%s is the collection itself: name another file", path)
		}
	}
	if err := checkOutput(f.csv, f.force); err != nil {
		return err
	}
	if f.isPage() {
		return checkOutput(f.out, f.force)
	}
	return f.checkSheets()
}

func (f groupsFlags) isPage() bool {
	ext := strings.ToLower(filepath.Ext(f.out))
	return ext == ".html" || ext == ".htm"
}

// checkSheets looks at the folder for sheets, which may be missing. Those of an earlier run would be mixed up with the new.
func (f groupsFlags) checkSheets() error {
	if f.out == "" {
		return nil
	}
	switch ext := strings.ToLower(filepath.Ext(f.out)); ext {
	case ".png", ".jpg", ".jpeg", ".svg", ".pdf", ".csv", ".json":
		return usagef("--out %s: sheets go into a folder, a page into a file whose name ends in .html", f.out)
	}
	info, err := os.Stat(f.out)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return checkFolder(filepath.Clean(f.out))
	case err != nil:
		return checkedPath(f.out, err)
	case !info.IsDir():
		return fmt.Errorf("%s is a file: name a folder for the sheets, or a file whose name ends in .html", f.out)
	}
	old, err := f.oldSheets()
	if err == nil && len(old) > 0 && !f.force {
		return fmt.Errorf("%s has sheets of groups already: name another folder, or add --force to replace them", f.out)
	}
	return err
}

// oldSheets are the files of an earlier run in the folder.
func (f groupsFlags) oldSheets() ([]string, error) {
	entries, err := os.ReadDir(f.out)
	if err != nil {
		return nil, checkedPath(f.out, err)
	}
	var old []string
	for _, entry := range entries {
		name := entry.Name()
		stem, isPNG := strings.CutSuffix(name, ".png")
		number, isGroup := strings.CutPrefix(stem, "group-")
		page, isAll := strings.CutPrefix(stem, "groups-")
		if isPNG && entry.Type().IsRegular() && (stem == "groups" || stem == "nowhere" || isGroup && isNumber(number) || isAll && isNumber(page)) {
			old = append(old, filepath.Join(f.out, name))
		}
	}
	return old, nil
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// print writes what was found as a table.
func (f groupsFlags) print(s *streams, r *search.GroupReport) {
	fmt.Fprintf(s.out, "%s of %s; %s %s nowhere\n", count(len(r.Groups), "group"), count(r.Images, "image"),
		count(len(r.Nowhere), "image"), map[bool]string{true: "fits", false: "fit"}[len(r.Nowhere) == 1])
	if len(r.Groups) == 0 {
		return
	}
	fmt.Fprintf(s.out, "%s\n\n", strings.Join(groupFacts(r), " · "))
	t := newTable(s.out, 1, 2, 3)
	head := table.Row{"group", "size", "tightness"}
	if r.Labels > 0 {
		head = append(head, "labels")
	}
	t.AppendHeader(append(head, "nearest", "medoid"))
	shown := r.Groups[:min(len(r.Groups), f.limit)]
	for _, g := range shown {
		row := table.Row{g.Group, thousands(g.Size), fmt.Sprintf("%.3f", g.Tightness)}
		if r.Labels > 0 {
			row = append(row, labelMix(g, 3))
		}
		var near []string
		for _, n := range g.Nearest[:min(len(g.Nearest), 3)] {
			near = append(near, strconv.Itoa(n.Group))
		}
		t.AppendRow(append(row, strings.Join(near, " "), g.Medoid.Source))
	}
	t.Render()
	if rest := len(r.Groups) - len(shown); rest > 0 {
		fmt.Fprintf(s.out, "\nand %s more: raise -n, or take --csv or --json\n", count(rest, "group"))
	}
}

// groupFacts are the numbers that describe all groups.
func groupFacts(r *search.GroupReport) []string {
	facts := []string{
		fmt.Sprintf("resolution %.3g", r.Resolution), fmt.Sprintf("modularity %.3f", r.Modularity), fmt.Sprintf("agreement %.3f", r.Agreement),
	}
	if r.Purity != nil {
		facts = append(facts, fmt.Sprintf("purity %.3f", *r.Purity), fmt.Sprintf("NMI with the labels %.3f", *r.MutualInformation))
	}
	return facts
}

// labelMix names the commonest labels of a group and their shares.
func labelMix(g search.Group, most int) string {
	labelled := 0
	for _, l := range g.Labels {
		labelled += l.Count
	}
	var parts []string
	for _, l := range g.Labels[:min(len(g.Labels), most)] {
		share := fmt.Sprintf("%.0f %%", 100*float64(l.Count)/float64(labelled))
		if 200*l.Count < labelled {
			share = "< 1 %"
		}
		parts = append(parts, fmt.Sprintf("%s %s", l.Label, share))
	}
	if more := len(g.Labels) - most; more > 0 {
		parts = append(parts, fmt.Sprintf("%s more", thousands(more)))
	}
	return strings.Join(parts, ", ")
}

// writeCSV writes the group of every image, by rising id; none where it fits nowhere.
func (f groupsFlags) writeCSV(ctx context.Context, s *streams, c *search.Collection, r *search.GroupReport) error {
	if f.csv == "" {
		return nil
	}
	rows := make(map[dataset.ID][4]string, r.Images)
	decimal := func(v float32) string { return strconv.FormatFloat(float64(v), 'f', 4, 64) }
	for _, g := range r.Groups {
		for i, m := range g.Members {
			rows[m.ID] = [4]string{strconv.Itoa(g.Group), strconv.Itoa(i), decimal(m.Distance), decimal(m.Fit)}
		}
	}
	for _, l := range r.Nowhere {
		rows[l.ID] = [4]string{"", "", "", decimal(0)}
	}
	err := atlas.WriteFile(f.csv, func(w io.Writer) error {
		out := csv.NewWriter(w)
		_ = out.Write([]string{"id", "source", "label", "group", "rank", "distance", "fit"})
		for record, err := range c.Records(ctx) {
			if err != nil {
				return err
			}
			if row, ok := rows[record.ID]; ok {
				_ = out.Write(append([]string{strconv.FormatUint(uint64(record.ID), 10), record.Source, string(record.Label)}, row[:]...))
			}
		}
		out.Flush()
		return out.Error()
	})
	if err == nil {
		fmt.Fprintf(s.err, "wrote %s\n", f.csv)
	}
	return err
}
