package dataset

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// Place returns the folder where imgsearch keeps downloaded data sets: $XDG_DATA_HOME/imgsearch where that variable is
// an absolute path, otherwise ~/.local/share/imgsearch, on macOS ~/Library/Application Support/imgsearch, on Windows
// %LocalAppData%\imgsearch. The folder need not exist.
func Place() (string, error) {
	return place(runtime.GOOS, os.Getenv, os.UserHomeDir)
}

func place(goos string, getenv func(string) string, home func() (string, error)) (string, error) {
	if dir := getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "imgsearch"), nil
	}
	if dir := getenv("LocalAppData"); goos == "windows" && dir != "" {
		return filepath.Join(dir, "imgsearch"), nil
	}
	dir, err := home()
	if err != nil {
		return "", fmt.Errorf("find a place for data sets: %w; set XDG_DATA_HOME to a folder", err)
	}
	switch goos {
	case "darwin":
		return filepath.Join(dir, "Library", "Application Support", "imgsearch"), nil
	case "windows":
		return filepath.Join(dir, "AppData", "Local", "imgsearch"), nil
	default:
		return filepath.Join(dir, ".local", "share", "imgsearch"), nil
	}
}

// openPlaced opens CIFAR-10 where [Get] puts it.
func openPlaced(ctx context.Context, name string, ref reference) (Dataset, error) {
	dir, err := Place()
	if err != nil {
		return nil, err
	}
	set, err := openCIFARIn(ctx, name, dir, ref.split)
	if err != nil && isWrongContent(err) {
		err = fmt.Errorf("%w; `imgsearch dataset get cifar10` replaces what is there", err)
	}
	return ref.of(set, err)
}

// openCIFARIn opens the folder of batches in dir, or else the archive.
func openCIFARIn(ctx context.Context, name, dir, split string) (*recordSet, error) {
	if folder, ok := cifarFolderAt(dir, cifarBatches); ok {
		return openCIFARFolder(ctx, name, folder, split, cifarBatches)
	}
	archive := filepath.Join(dir, cifarArchive)
	if _, err := os.Stat(archive); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w: it is not in %s; run `imgsearch dataset get cifar10`, with --from FILE if you have %s",
			name, ErrNotDownloaded, dir, cifarArchive)
	}
	return openCIFARArchive(ctx, name, archive, split, cifarBatches)
}
