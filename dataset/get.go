package dataset

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// CIFAR10URL is where CIFAR-10's makers publish its binary version.
const CIFAR10URL = "https://www.cs.toronto.edu/~kriz/" + cifarArchive

// GetOptions say where [Get] takes CIFAR-10 from and where it puts it. The zero value downloads to [Place].
type GetOptions struct {
	// URL is what is downloaded; default [CIFAR10URL].
	URL string
	// From is an archive on this machine that is taken instead of a download. It is left as it is.
	From string
	// Dir is the folder to put the data set in; it is made when missing. Default [Place], the only one where the name
	// cifar10 finds it.
	Dir string
	// Progress, if not nil, is told how many bytes of the archive are here and how many there are in all, -1 when the
	// server does not say. It is called often, from the calling goroutine.
	Progress func(done, total int64)
	// Client makes the requests; default [http.DefaultClient].
	Client *http.Client
}

// Get downloads the published CIFAR-10 archive, or takes one from this machine, checks the six batches against the
// published SHA-256 sums, and unpacks them to a folder in [GetOptions.Dir], whose path it returns. If the folder is
// there already and right, that is all.
//
// The folder appears whole or not at all. A download that breaks off is tried again from where it stopped, a few times;
// after an interruption the next Get goes on from there too. What is there of it lies in the file
// cifar-10-binary.tar.gz.part, with cifar-10-binary.tar.gz.part.json beside it, which are removed in the end. Two calls
// for one folder at a time disturb each other: one of them, or both, end with an error.
//
// Errors: [ErrDownload]; [ErrArchive], [ErrBatchMissing], [ErrBatchSize] and [ErrBatchChecksum] when what came is not
// CIFAR-10, of which nothing is kept; those of the file system and of the context.
func Get(ctx context.Context, opts GetOptions) (string, error) {
	if opts.Dir == "" {
		dir, err := Place()
		if err != nil {
			return "", err
		}
		opts.Dir = dir
	}
	if opts.URL == "" {
		opts.URL = CIFAR10URL
	}
	if opts.Client == nil {
		opts.Client = http.DefaultClient
	}
	if opts.Progress == nil {
		opts.Progress = func(int64, int64) {}
	}
	if u, err := url.Parse(opts.URL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", fmt.Errorf("%w: %q is not an http or https address", ErrDownload, opts.URL)
	}
	g := getter{GetOptions: opts, batches: cifarBatches, fs: osPartSystem, pause: pause, idle: time.Minute}
	return g.get(ctx)
}

// getter is one call of Get; tests set its unexported fields to what they need.
type getter struct {
	GetOptions
	batches []batch
	fs      partSystem
	pause   func(ctx context.Context, failures int) error
	idle    time.Duration // after which a silent server is given up
}

func (g *getter) get(ctx context.Context) (string, error) {
	final := filepath.Join(g.Dir, cifarFolder)
	if _, err := openCIFARFolder(ctx, final, final, "", g.batches); err == nil {
		return final, nil
	} else if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if g.From != "" {
		if err := g.installFrom(ctx, final); err != nil {
			return "", err
		}
		return final, nil
	}
	if err := os.MkdirAll(g.Dir, 0o755); err != nil {
		return "", err
	}
	archive := filepath.Join(g.Dir, cifarArchive+".part")
	for {
		resumed, err := g.download(ctx, archive)
		if err != nil {
			return "", err
		}
		err = g.install(ctx, archive, g.URL, final)
		switch {
		case err == nil:
			dropPart(archive)
			return final, nil
		case isWrongContent(err):
			dropPart(archive)
			if !resumed {
				return "", err
			}
			// The beginning was of an earlier call, perhaps of another file: once more from zero.
		default: // such as a full disk: the archive is kept for the next call
			return "", err
		}
	}
}

// installFrom installs an archive of this machine.
func (g *getter) installFrom(ctx context.Context, final string) error {
	info, err := os.Stat(g.From)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s: %w: not a file; name %s itself", g.From, ErrArchive, cifarArchive)
	}
	if err := os.MkdirAll(g.Dir, 0o755); err != nil {
		return err
	}
	return g.install(ctx, g.From, g.From, final)
}

// isWrongContent tells whether an archive is not what it should be, in contrast to not being readable now.
func isWrongContent(err error) bool {
	return errors.Is(err, ErrArchive) || errors.Is(err, ErrBatchMissing) || errors.Is(err, ErrBatchSize) ||
		errors.Is(err, ErrBatchChecksum)
}

// pause waits before another attempt: a second after the first failure, then twice as long each time.
func pause(ctx context.Context, failures int) error {
	select {
	case <-time.After(time.Second << (failures - 1)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
