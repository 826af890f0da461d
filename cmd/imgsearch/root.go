package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

const longHelp = `imgsearch finds similar images by features that it learned without labels.

A data set D is one of:
  sample            real CIFAR-10 images that are built in; sample:train and sample:test are its parts
  cifar10           CIFAR-10 as fetched by "imgsearch dataset get cifar10"; also cifar10:train, cifar10:test
  FILE.tar.gz       the official CIFAR-10 binary archive, or the folder unpacked from it (suffix :train or :test)
  FOLDER            a folder of images, searched recursively; the names of sub-folders are the labels
  FILE              one image`

const exitHelp = `
Exit codes:
  0    done
  1    failure
  2    wrong usage
  3    done but incomplete: some inputs were skipped, each named on stderr
  4    index or encoder missing, or written by another version
  130  interrupted

Environment:
  NO_COLOR          no colour, whatever the terminal
  XDG_DATA_HOME     where "dataset get" puts data sets
  IMGSEARCH_KERNEL  avx512, avx2 or go: use these arithmetic kernels instead of the processor's best
`

// execute runs one command line and returns its exit code. Errors are printed here, in one line on stderr.
func execute(ctx context.Context, s *streams, args []string) int {
	root := newRoot(s)
	root.SetArgs(args)
	command, err := root.ExecuteContextC(ctx)
	code := exitCode(err)
	switch {
	case err == nil:
	case code == exitUsage:
		fmt.Fprintf(s.err, "imgsearch: %s (see %q)\n", oneLine(err), command.CommandPath()+" --help")
	default:
		fmt.Fprintf(s.err, "imgsearch: %s\n", oneLine(err))
	}
	return code
}

// oneLine renders an error without line breaks.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

func newRoot(s *streams) *cobra.Command {
	root := &cobra.Command{
		Use:           "imgsearch",
		Short:         "Find similar images by features learned without labels",
		Long:          longHelp,
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       version(),
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	root.SetVersionTemplate("imgsearch {{.Version}}\n")
	root.SetUsageTemplate(root.UsageTemplate() + exitHelp)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(
		newDemo(s), newTrain(s), newIndex(s), newQuery(s), newEval(s), newExport(s), newRemove(s),
		newDataset(s), newEncoder(s), newInfo(s), newCheck(s), newVersion(s),
	)
	wrapArgs(root)
	return root
}

// wrapArgs makes every complaint about the number of arguments a usage error.
func wrapArgs(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(c *cobra.Command, args []string) error {
			err := check(c, args)
			var usage usageError
			if err == nil || errors.As(err, &usage) {
				return err
			}
			return usageError{err}
		}
	}
	for _, sub := range cmd.Commands() {
		wrapArgs(sub)
	}
}

// requireFlag makes a missing flag a usage error that names the flag and an example.
func requireFlag(name, value, example string) error {
	if value == "" {
		return usagef("--%s is missing: for example --%s %s", name, name, example)
	}
	return nil
}
