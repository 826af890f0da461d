package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// checkOutput is an error when a result cannot or must not be written to path, so that it is known before the work: the
// folder is missing, or something is there and force is not set, or it is no regular file, which force must not replace.
// The empty path is none.
func checkOutput(path string, force bool) error {
	if path == "" {
		return nil
	}
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return fmt.Errorf("%s is a folder: name a file", path)
	case err == nil && !info.Mode().IsRegular():
		return fmt.Errorf("%s is no regular file: name another", path)
	case err == nil && !force:
		return fmt.Errorf("%s exists already: name another file, or add --force to replace it", path)
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return checkFolder(path)
	default:
		return checkedPath(path, err)
	}
}

// checkFolder is an error when the folder that path is to lie in is not there.
func checkFolder(path string) error {
	folder := filepath.Dir(path)
	info, err := os.Stat(folder)
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		return fmt.Errorf("%s cannot be made: %s is no folder", path, folder)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s cannot be made: make the folder %s first", path, folder)
	default:
		return checkedPath(path, err)
	}
}

// checkedPath words an error of the file system about a path that is to be written.
func checkedPath(path string, err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		err = at.Err
	}
	return fmt.Errorf("%s cannot be made: %w: name another file", path, err)
}

// sameFile tells whether two paths lead to one file that is there.
func sameFile(a, b string) bool {
	first, err := os.Stat(a)
	if err != nil {
		return false
	}
	second, err := os.Stat(b)
	return err == nil && os.SameFile(first, second)
}

// exists tells whether there is something at path.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// word renders a file name as a word of a command line that can be copied.
func word(name string) string {
	if name != "" && !strings.ContainsAny(name, " \t\n'\"\\$`!*?[](){}<>|&;#~") {
		return name
	}
	return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
}
