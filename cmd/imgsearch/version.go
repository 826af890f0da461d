package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"imgsearch/internal/kernel"
)

// release is the version of the program; CHANGELOG.md lists what each one changed.
const release = "0.1.0"

// version is the release with the commit that it was built from, where the build recorded one.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return release
	}
	revision, modified := "", ""
	for _, setting := range info.Settings {
		switch setting.Key {
		case "vcs.revision":
			revision = setting.Value[:min(12, len(setting.Value))]
		case "vcs.modified":
			if setting.Value == "true" {
				modified = ", modified"
			}
		}
	}
	if revision == "" {
		return release
	}
	return fmt.Sprintf("%s (%s%s)", release, revision, modified)
}

func newVersion(s *streams) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version and what the program runs on",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(s.out, "imgsearch %s\n%s %s/%s, %d cores, %s kernels\n",
				version(), runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), kernel.Name())
			return err
		},
	}
}
