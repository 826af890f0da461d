package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"imgsearch/dataset"
)

func newDataset(s *streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dataset",
		Short: "Fetch a data set, or describe one",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newDatasetGet(s), newDatasetInfo(s))
	return cmd
}

func newDatasetGet(s *streams) *cobra.Command {
	var o dataset.GetOptions
	cmd := &cobra.Command{
		Use:   "get cifar10",
		Short: "Download CIFAR-10 and check it",
		Long: `Download the published CIFAR-10 binary archive (170 MB), check its batches of images against their published SHA-256
sums, and keep them, unpacked (185 MB), where the name cifar10 finds them. An interrupted download goes on where it
stopped; the archive itself is not kept.`,
		Example: `  imgsearch dataset get cifar10
  imgsearch dataset get cifar10 --from cifar-10-binary.tar.gz`,
		ValidArgs: []string{"cifar10"},
		Args:      exactlyOne("the data set to fetch: cifar10"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[0] != "cifar10" {
				return usagef("data set %q cannot be fetched: cifar10 is the only one", args[0])
			}
			if o.From != "" && !exists(o.From) {
				return fmt.Errorf("--from %s: there is no such file", o.From)
			}
			bar := startCounter(s, "fetching", byteUnit)
			o.Progress = func(done, total int64) { bar.set(done, total) }
			path, err := dataset.Get(cmd.Context(), o)
			var place *fs.PathError
			bar.finish()
			switch {
			case errors.Is(err, context.Canceled):
				return interruptedError{"what came is kept, the same command goes on from there", err}
			case errors.As(err, &place):
				return fmt.Errorf("%w: name another folder with --dir", err)
			case err != nil:
				return err
			}
			_, err = fmt.Fprintln(s.out, path)
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.From, "from", "", "take this archive `FILE` instead of downloading")
	flags.StringVar(&o.Dir, "dir", "", "folder to put it in (default: where the name cifar10 looks)")
	flags.StringVar(&o.URL, "url", "", "address to download from (default: "+dataset.CIFAR10URL+")")
	exclusive(cmd, "from", "url")
	return cmd
}

// datasetInfo is what "dataset info" prints.
type datasetInfo struct {
	Name        string                `json:"name"`
	Images      int                   `json:"images"`
	Labels      map[dataset.Label]int `json:"labels"`
	Parts       map[string]int        `json:"parts,omitempty"`
	Ignored     int                   `json:"ignored_files"`
	Fingerprint string                `json:"fingerprint"`
}

func newDatasetInfo(s *streams) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "info D...",
		Short:   "Count the images and labels of a data set",
		Example: "  imgsearch dataset info photos/\n  imgsearch dataset info sample:train",
		Args:    atLeastOne("a data set: a folder of images, an image, sample or cifar10"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runDatasetInfo(cmd.Context(), s, args, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func runDatasetInfo(ctx context.Context, s *streams, names []string, asJSON bool) error {
	ds, err := dataset.OpenAll(ctx, names, dataset.Options{})
	if err != nil {
		return err
	}
	defer ds.Close()
	skipped := reportProblems(s, ds)
	info := datasetInfo{
		Name: ds.Name(), Images: ds.Len(), Ignored: dataset.Ignored(ds),
		Labels: make(map[dataset.Label]int), Parts: make(map[string]int),
	}
	for i := range ds.Len() {
		entry := ds.Entry(i)
		info.Labels[entry.Label]++
		if entry.Split != "" {
			info.Parts[entry.Split]++
		}
	}
	if info.Fingerprint, err = dataset.Fingerprint(ctx, ds); err != nil {
		return err
	}
	if asJSON {
		err = printJSON(s.out, info)
	} else {
		printDatasetInfo(s, info)
	}
	if err == nil && skipped > 0 {
		return incompleteError{skipped, "file"}
	}
	return err
}

func printDatasetInfo(s *streams, info datasetInfo) {
	pairs := []string{"name", info.Name, "images", thousands(info.Images)}
	for _, part := range slices.Sorted(maps.Keys(info.Parts)) {
		pairs = append(pairs, "  "+part, thousands(info.Parts[part]))
	}
	keyValues(s.out, append(pairs, "ignored files", thousands(info.Ignored), "fingerprint", info.Fingerprint)...)
	fmt.Fprintln(s.out)
	printLabels(s, info.Labels)
}
