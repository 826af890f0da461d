package main

import (
	"errors"
	"fmt"
	"os"
)

// refuseOverwrite is an error when path exists and force is not set, so that no result is lost without being asked.
func refuseOverwrite(path string, force bool) error {
	if path == "" || force {
		return nil
	}
	_, err := os.Stat(path)
	switch {
	case err == nil:
		return fmt.Errorf("%s exists already: name another file, or add --force to replace it", path)
	case errors.Is(err, os.ErrNotExist):
		return nil
	default:
		return err
	}
}
