package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imgsearch/search"
)

const longHelp = `imgsearch finds similar images by features that it learned without labels.

A data set D is one of:
  sample            real CIFAR-10 images that are built in; sample:train and sample:test are its parts
  cifar10           CIFAR-10 as fetched by "imgsearch dataset get cifar10"; also cifar10:train, cifar10:test
  FILE.tar.gz       the official CIFAR-10 binary archive, or the folder unpacked from it (suffix :train or :test)
  FOLDER            a folder of IDX files, as MNIST and Fashion-MNIST come (train-images-idx3-ubyte.gz and the like; suffix
                    :train or :test)
  FOLDER            a folder of images, searched recursively; the names of sub-folders are the labels
  FILE              one image

A collection holds images, their embeddings and the encoder that made them, all in one file.`

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

// usageTemplate ends the help of the root with the exit codes, and that of commands with where they are told.
const usageTemplate = `{{if .HasParent}}
Exit codes and environment: imgsearch --help
{{else}}` + exitHelp + `{{end}}`

// execute runs one command line and returns its exit code. Errors are printed here, in one line on stderr.
func execute(ctx context.Context, s *streams, args []string) int {
	root := newRoot(s)
	root.SetArgs(args)
	command, err := root.ExecuteContextC(ctx)
	if err == nil && s.out.first != nil {
		err = fmt.Errorf("%w: the output is not complete", s.out.first)
	}
	code := exitCode(err)
	switch {
	case err == nil:
	case code == exitUsage:
		if command.Name() == "help" {
			command = root
		}
		fmt.Fprintf(s.err, "imgsearch: %s (see %q)\n", oneLine(err), command.CommandPath()+" --help")
	case errors.Is(err, context.Canceled) && !errors.As(err, new(interruptedError)):
		fmt.Fprintln(s.err, "imgsearch: interrupted")
	default:
		fmt.Fprintf(s.err, "imgsearch: %s%s\n", oneLine(err), wayOut(err))
	}
	return code
}

// wayOut says what to do about errors of the operating system, which do not tell themselves.
func wayOut(err error) string {
	switch {
	case errors.Is(err, search.ErrReadOnly), errors.Is(err, search.ErrNoSpace):
		return "" // these do
	case errors.Is(err, fs.ErrPermission):
		return " (look at the permissions of the file and its folder, or name another)"
	case errors.Is(err, syscall.ENOSPC):
		return " (free some space and repeat the command)"
	default:
		return ""
	}
}

// oneLine renders an error without line breaks. Errors that were joined say each thing once.
func oneLine(err error) string {
	var parts []string
	for line := range strings.Lines(err.Error()) {
		if part := strings.Join(strings.Fields(line), " "); part != "" && !slices.Contains(parts, part) {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, "; ")
}

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
	root.SetUsageTemplate(root.UsageTemplate() + usageTemplate)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{flagError(err)} })
	root.AddCommand(
		newDemo(s), newTrain(s), newIndex(s), newQuery(s), newEval(s), newExport(s), newRemove(s),
		newMap(s), newGroups(s), newDuplicates(s), newOutliers(s),
		newDataset(s), newEncoder(s), newInfo(s), newCheck(s), newVersion(s),
	)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "help":
			cmd.Run, cmd.RunE = nil, func(_ *cobra.Command, args []string) error { return help(root, args) }
		case "completion":
			// Without this, cobra takes an unknown shell for a wish for help.
			cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		}
	}
	wrapArgs(root)
	return root
}

// help prints the help of the command that the words name.
func help(root *cobra.Command, words []string) error {
	cmd, rest, err := root.Find(words)
	if err != nil || len(rest) > 0 {
		return usagef("there is no command %q", strings.Join(words, " "))
	}
	cmd.InitDefaultHelpFlag()
	return cmd.Help()
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

// noArgs refuses arguments of a command that takes flags only.
func noArgs(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case cmd.HasSubCommands():
		return usagef("unknown command %q", args[0])
	default:
		return usagef("unexpected %q: %s takes no arguments but flags", args[0], cmd.CommandPath())
	}
}

// exactlyOne and atLeastOne want arguments that what describes.
func exactlyOne(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) == 0:
			return usagef("name %s", what)
		case len(args) > 1:
			return usagef("unexpected %q: name %s only", args[1], what)
		}
		return nil
	}
}

func atLeastOne(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usagef("name %s", what)
		}
		return nil
	}
}

// atMostOne allows one argument, or none.
func atMostOne(_ *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usagef("unexpected %q: name one file at most", args[1])
	}
	return nil
}

// flagError words what the parser of flags says.
func flagError(err error) error {
	var value *pflag.InvalidValueError
	if !errors.As(err, &value) {
		return err
	}
	flag := value.GetFlag()
	wanted := map[string]string{
		"int": "a whole number", "uint64": "a whole number from 0 on", "uintSlice": "a whole number from 0 on",
		"float64": "a number", "bool": "true or false",
	}[flag.Value.Type()]
	if _, ok := flag.Value.(*baselines); ok {
		wanted = "true, false or all"
	}
	if wanted == "" {
		return err
	}
	return fmt.Errorf("--%s %s: must be %s", flag.Name, value.GetValue(), wanted)
}

// requireFlag makes a missing flag a usage error that names the flag and an example.
func requireFlag(name, value, example string) error {
	if value == "" {
		return usagef("--%s is missing: for example --%s %s", name, name, example)
	}
	return nil
}

// exclusive makes it a usage error to give more than one of some flags, and says so to shell completion.
func exclusive(cmd *cobra.Command, names ...string) {
	cmd.MarkFlagsMutuallyExclusive(names...)
	before := cmd.PreRunE
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		given := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !cmd.Flags().Changed(name) })
		if len(given) > 1 {
			return usagef("--%s and --%s exclude each other: give one of them", given[0], given[1])
		}
		if before != nil {
			return before(cmd, args)
		}
		return nil
	}
}
