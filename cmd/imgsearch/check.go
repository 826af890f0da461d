package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

func newCheck(s *streams) *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE",
		Short: "Verify every checksum, record and edge of a collection",
		Args:  exactlyOne("a collection file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runCheck(cmd.Context(), s, args[0])
		},
	}
}

func runCheck(ctx context.Context, s *streams, path string) error {
	c, err := openCollection(path, "")
	if err != nil {
		return err
	}
	defer c.Close()
	report, err := c.Check(ctx)
	if err != nil {
		return err
	}
	for _, problem := range report.Problems {
		fmt.Fprintln(s.err, oneLine(problem))
	}
	if len(report.Problems) > 0 {
		return fmt.Errorf("%s: %s: index the images into a new file", path, count(len(report.Problems), "problem"))
	}
	_, err = fmt.Fprintf(s.out, "%s: %s, everything is as it was written\n", path, count(report.Images, "image"))
	return err
}
