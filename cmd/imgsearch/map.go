package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"imgsearch/atlas"
	"imgsearch/dataset"
	"imgsearch/search"
)

type mapFlags struct {
	index      string
	out        string
	thumbnails bool
	dark       bool
	size       int
	title      string
	force      bool
	options    search.MapOptions
}

func newMap(s *streams) *cobra.Command {
	var f mapFlags
	cmd := &cobra.Command{
		Use:   "map --index FILE --out map.html|map.png|map.svg",
		Short: "Draw which images the encoder groups together",
		Long: `Lay the images of a collection out on a plane, like beside like, by t-SNE over the neighbours that the collection's
graph finds, and draw the map: as a page for the browser that works offline (.html), or as a picture (.png, .svg), coloured
by label, or with --thumbnails of the images themselves (.png).

The collection keeps the positions: the next map is drawn at once, and images that were added meanwhile are placed beside
their neighbours without moving the others. --again, or another --perplexity, --iterations or --seed, lays all out anew, as
do more new images than old. Ctrl-C draws the layout as it is then, and keeps nothing.`,
		Example: `  imgsearch map --index photos.imgsearch --out photos.html
  imgsearch map --index photos.imgsearch --out photos.png --thumbnails`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runMap(cmd.Context(), s, f, cmd.Flags().Changed) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.index, "index", "", "collection `FILE` to draw")
	flags.StringVar(&f.out, "out", "", "`FILE` to write: .html, .png or .svg")
	flags.BoolVar(&f.thumbnails, "thumbnails", false, "draw the images themselves (PNG)")
	flags.Float64Var(&f.options.Perplexity, "perplexity", 0, "weigh about `N` neighbours of an image (default: as the kept map, or 40)")
	flags.IntVar(&f.options.Iterations, "iterations", 0, "make `N` steps (default: as the kept map, or 1,000)")
	flags.Uint64Var(&f.options.Seed, "seed", 0, "draw what is random by `N` (default: as the kept map, or 1)")
	flags.BoolVar(&f.options.Again, "again", false, "lay all out anew although a map is kept")
	flags.IntVar(&f.options.Threads, "threads", 0, "use `N` threads (default: all cores)")
	flags.IntVar(&f.size, "size", 0, "a picture's map is `N` pixels wide and high (default: 1,400, or 3,200 with --thumbnails)")
	flags.BoolVar(&f.dark, "dark", false, "draw a picture on black")
	flags.StringVar(&f.title, "title", "", "head the map by `TEXT` (default: the collection's name)")
	flags.BoolVar(&f.force, "force", false, "replace the file if it exists")
	_ = cmd.MarkFlagFilename("out", "html", "png", "svg")
	return cmd
}

// check returns the first mistake in the flags.
func (f mapFlags) check(changed func(string) bool) error {
	if err := requireFlag("index", f.index, "photos.imgsearch"); err != nil {
		return err
	}
	if err := requireFlag("out", f.out, "map.html"); err != nil {
		return err
	}
	ending := f.ending()
	switch {
	case ending != ".html" && ending != ".png" && ending != ".svg":
		return usagef("--out %s: must end in .html, .png or .svg", f.out)
	case f.thumbnails && ending != ".png":
		return usagef("--thumbnails draws PNG files, and pages show the images anyway: end the name of --out in .png, or leave --thumbnails out")
	case ending == ".html" && (f.dark || changed("size")):
		return usagef("--dark and --size are for pictures: a page has a switch and fills its window")
	case changed("perplexity") && !(f.options.Perplexity >= 1 && f.options.Perplexity <= 1e5):
		return usagef("--perplexity %g: must be 1 to 100,000", f.options.Perplexity)
	case changed("iterations") && f.options.Iterations < 1:
		return usagef("--iterations %d: must be at least 1", f.options.Iterations)
	case f.options.Threads < 0:
		return usagef("--threads %d: must not be negative", f.options.Threads)
	case changed("size") && (f.size < 200 || f.size > 16_000):
		return usagef("--size %d: must be 200 to 16,000", f.size)
	case sameFile(f.out, f.index):
		return usagef("%s is the collection itself: name another file", f.out)
	}
	return nil
}

func (f mapFlags) ending() string { return strings.ToLower(filepath.Ext(f.out)) }

func runMap(ctx context.Context, s *streams, f mapFlags, changed func(string) bool) error {
	if err := f.check(changed); err != nil {
		return err
	}
	if err := checkOutput(f.out, f.force); err != nil {
		return err
	}
	if err := requireIndex(f.index); err != nil {
		return err
	}
	c, reason, err := openToKeep(f.index)
	if err != nil {
		return err
	}
	defer c.Close()
	started := time.Now()
	f.options.PositionsOnly = f.ending() != ".html" // pictures show no neighbours
	m, err := makeMap(ctx, s, c, f.options)
	stopped := errors.Is(err, context.Canceled)
	if m == nil || err != nil && !stopped {
		return err
	}
	// What was laid out is drawn although ctx is done.
	text, drawErr := f.draw(context.WithoutCancel(ctx), c, m)
	switch {
	case drawErr != nil:
		return drawErr
	case stopped:
		return interruptedError{fmt.Sprintf("%s shows the layout after %s; the collection does not keep it, and the same command with --force begins anew", f.out, count(m.Info.Iterations, "step")), err}
	}
	fmt.Fprintf(s.out, "%s: %s in %s\n", f.out, text, duration(time.Since(started)))
	if reason != nil && (m.Fresh || m.New > 0) {
		fmt.Fprintf(s.err, "the positions are not kept: %s\n", oneLine(reason))
	}
	return nil
}

// openToKeep opens a collection for writing, so that it can keep its map, or for reading where it may not be written or
// another process writes it; reason says why then.
func openToKeep(path string) (c *search.Collection, reason, err error) {
	c, reason = search.Open(path, search.OpenOptions{})
	if reason == nil {
		return c, nil, nil
	}
	if errors.Is(reason, search.ErrReadOnly) || errors.Is(reason, search.ErrLocked) {
		c, err = search.Open(path, search.OpenOptions{ReadOnly: true})
		return c, reason, err
	}
	return nil, nil, reason
}

// makeMap makes the map, or reads the one that is kept, with progress on stderr.
func makeMap(ctx context.Context, s *streams, c *search.Collection, o search.MapOptions) (*search.Map, error) {
	line := newStatusLine(s)
	defer line.finish()
	started := time.Now()
	o.OnProgress = func(p search.MapProgress) {
		line.update(func(int) string {
			switch p.Stage {
			case "layout":
				left := time.Duration(float64(time.Since(started)) / float64(p.Done) * float64(p.Total-p.Done))
				return fmt.Sprintf("layout  step %s of %s  divergence %.4f  %s left", thousands(p.Done), thousands(p.Total), p.Divergence, duration(left))
			case "placing":
				return "placing " + count(p.Total, "new image")
			default:
				started = time.Now()
				return fmt.Sprintf("%s  %s of %s", p.Stage, thousands(p.Done), count(p.Total, "image"))
			}
		})
	}
	return c.Map(ctx, o)
}

// draw writes the file and says what it shows.
func (f mapFlags) draw(ctx context.Context, c *search.Collection, m *search.Map) (string, error) {
	points, err := mapPoints(ctx, c, m)
	if err != nil {
		return "", err
	}
	text := fmt.Sprintf("%s, divergence %.3f", count(len(points), "image"), m.Info.Divergence)
	if m.Info.Placed > 0 {
		text += fmt.Sprintf(", %s of them placed later", thousands(m.Info.Placed))
	}
	o := atlas.PlotOptions{Title: f.title, Size: f.size, Dark: f.dark,
		Subtitle: fmt.Sprintf("%s, t-SNE, perplexity %g", count(len(points), "image"), m.Info.Perplexity)}
	if o.Title == "" {
		o.Title = strings.TrimSuffix(filepath.Base(f.index), filepath.Ext(f.index))
	}
	thumbnail := func(i int) (*dataset.Image, error) {
		img, err := c.Thumbnail(ctx, points[i].ID)
		if errors.Is(err, search.ErrNoThumbnail) {
			return nil, nil
		}
		return img, err
	}
	switch {
	case f.ending() == ".html":
		page := atlas.MapPage{Title: o.Title, Subtitle: o.Subtitle, Points: points, Neighbors: m.Neighbors, Thumbnail: thumbnail}
		return text, atlas.WriteFile(f.out, func(w io.Writer) error { return atlas.WriteMapPage(ctx, w, page) })
	case f.ending() == ".svg":
		return text, atlas.WriteFile(f.out, func(w io.Writer) error { return atlas.WriteMapSVG(w, points, o) })
	case f.thumbnails:
		info, err := c.Info(ctx)
		if err != nil {
			return "", err
		}
		if info.Thumbnail == 0 {
			return "", errors.New("the collection keeps no thumbnails: leave --thumbnails out, or index the images into a new file with thumbnails")
		}
		img, shown, err := atlas.DrawThumbnailMap(ctx, points, thumbnail, o)
		if err != nil {
			return "", err
		}
		if shown < len(points) {
			text += fmt.Sprintf(" (%s shown: the others lie behind them)", thousands(shown))
		}
		return text, atlas.WriteFile(f.out, func(w io.Writer) error { return atlas.WritePNG(w, img) })
	default:
		img, err := atlas.DrawMap(points, o)
		if err != nil {
			return "", err
		}
		return text, atlas.WriteFile(f.out, func(w io.Writer) error { return atlas.WritePNG(w, img) })
	}
}

// mapPoints joins positions and records.
func mapPoints(ctx context.Context, c *search.Collection, m *search.Map) ([]atlas.MapPoint, error) {
	points := make([]atlas.MapPoint, 0, len(m.IDs))
	for r, err := range c.Records(ctx) {
		if err != nil {
			return nil, err
		}
		i := len(points)
		if i == len(m.IDs) || m.IDs[i] != r.ID {
			return nil, errors.New("the collection was changed while its map was drawn: try again")
		}
		points = append(points, atlas.MapPoint{ID: r.ID, Source: r.Source, Label: r.Label, X: m.Positions[2*i], Y: m.Positions[2*i+1]})
	}
	return points, nil
}
