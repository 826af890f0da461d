package dataset

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// maxFailures is how often in a row a download may break off without a byte being won.
	maxFailures = 4
	// maxDownload is far above the length of the archive: what goes on longer is something else.
	maxDownload = 1 << 30
)

// download completes the file part from the URL: it goes on where an earlier attempt or call stopped, if the server
// agrees, and tries again when the connection breaks. Resumed tells whether bytes of an earlier call are in it.
func (g *getter) download(ctx context.Context, part string) (resumed bool, err error) {
	record, known := readPartRecord(part, g.URL)
	have := g.fs.sizeOnDisk(part)
	if !known || have == 0 {
		dropPart(part)
		record, have = partRecord{URL: g.URL, Total: -1}, 0
	}
	resumed = have > 0
	for failures := 0; ; {
		if record.Total >= 0 && have == record.Total {
			g.Progress(have, record.Total)
			return resumed, nil
		}
		before := have
		have, err = g.attempt(ctx, part, &record, have)
		if have < before {
			resumed = false // the server made us start anew
		}
		switch {
		case err == nil:
			if record.Total < 0 || have == record.Total {
				return resumed, nil
			}
			err = io.ErrUnexpectedEOF // the connection ended early, without an error
		case ctx.Err() != nil:
			return resumed, fmt.Errorf("%w; what is here already is kept, the next time goes on from there", ctx.Err())
		}
		var final finalError
		if errors.As(err, &final) {
			return resumed, g.failed(final.error, have)
		}
		if have > before {
			failures = 0
		}
		if failures++; failures == maxFailures {
			return resumed, g.failed(err, have)
		}
		if err := g.pause(ctx, failures); err != nil {
			return resumed, err
		}
	}
}

// finalError is one that another attempt would not mend.
type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }

// failed says how a download ended and how to go on.
func (g *getter) failed(err error, have int64) error {
	switch {
	case isDiskFull(err):
		return fmt.Errorf("%w: %w%s", ErrDownload, err, roomHint(err))
	case have > 0:
		return fmt.Errorf("%w: %s: %w; %d MB are kept, try again to go on from there", ErrDownload, g.URL, err, have/1e6)
	default:
		return fmt.Errorf("%w: %s: %w; try again later, or get %s elsewhere and name it with --from", ErrDownload, g.URL, err,
			cifarArchive)
	}
}

// roomHint is what to add to an error when the disk is full.
func roomHint(err error) string {
	if isDiskFull(err) {
		return "; make room (it takes 400 MB for a moment) and try again: what is here already is kept"
	}
	return ""
}

// isDiskFull tells whether a file could not grow for want of room.
func isDiskFull(err error) bool {
	const windowsDiskFull = syscall.Errno(112) // ERROR_DISK_FULL
	return errors.Is(err, syscall.ENOSPC) || runtime.GOOS == "windows" && errors.Is(err, windowsDiskFull)
}

// attempt makes one request for what is missing beyond the first have bytes and appends the answer to part. It returns
// the new length.
func (g *getter) attempt(ctx context.Context, part string, record *partRecord, have int64) (int64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(g.idle, func() { cancel(fmt.Errorf("the server was silent for %v", g.idle)) })
	defer silence.Stop()
	why := func(err error) error {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return err
	}

	request, err := http.NewRequestWithContext(ctx, http.MethodGet, g.URL, nil)
	if err != nil {
		return have, finalError{err}
	}
	request.Header.Set("Accept-Encoding", "identity")
	request.Header.Set("User-Agent", "imgsearch")
	if have > 0 {
		request.Header.Set("Range", "bytes="+strconv.FormatInt(have, 10)+"-")
		if record.Validator != "" {
			request.Header.Set("If-Range", record.Validator)
		}
	}
	response, err := g.Client.Do(request)
	if err != nil {
		return have, why(err)
	}
	defer response.Body.Close()

	have, fresh, err := answered(response, record, have)
	if err != nil {
		return have, err
	}
	if record.Total > maxDownload {
		return have, finalError{fmt.Errorf("it has %d MB, CIFAR-10 has 170", record.Total/1e6)}
	}
	open := g.fs.appendTo
	if fresh {
		open = g.fs.create
	}
	if err := record.write(part); err != nil {
		return have, finalError{err}
	}
	f, err := open(part)
	if err != nil {
		return have, finalError{err}
	}
	have, err = g.copy(f, response.Body, have, record.Total, func() { silence.Reset(g.idle) })
	if closed := f.Close(); err == nil && closed != nil {
		err = finalError{closed}
	}
	if err != nil {
		return have, why(err)
	}
	return have, nil
}

// answered reads the answer's header: how much of what is here may stay, and whether the file starts anew.
func answered(response *http.Response, record *partRecord, have int64) (stays int64, fresh bool, err error) {
	switch response.StatusCode {
	case http.StatusOK: // also when the server knows no ranges, or the file has changed
		record.Total = response.ContentLength
		record.Validator = validator(response.Header)
		return 0, true, nil
	case http.StatusPartialContent:
		first, total, ok := contentRange(response.Header.Get("Content-Range"))
		if !ok || first != have || record.Total >= 0 && total >= 0 && total != record.Total {
			// Not what was asked for: without a validator and a length the next attempt starts anew.
			*record = partRecord{URL: record.URL, Total: -1}
			return 0, true, errors.New("the server sent another range than asked for")
		}
		if total >= 0 {
			record.Total = total
		}
		return have, false, nil
	case http.StatusRequestedRangeNotSatisfiable:
		*record = partRecord{URL: record.URL, Total: -1}
		return 0, true, errors.New("the server has no more than what is here already")
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return have, false, errors.New("the server answered " + response.Status)
	default:
		err := errors.New("the server answered " + response.Status)
		if response.StatusCode < 500 {
			err = finalError{err}
		}
		return have, false, err
	}
}

// copy appends the body and reports progress. An error of the file is final, one of the connection is not.
func (g *getter) copy(f partFile, body io.Reader, have, total int64, alive func()) (int64, error) {
	buf := make([]byte, 256<<10)
	for {
		n, err := body.Read(buf)
		if n > 0 {
			alive()
			written, werr := f.Write(buf[:n])
			have += int64(written)
			if werr != nil {
				return have, finalError{werr}
			}
			if have > maxDownload {
				return have, finalError{errors.New("it does not end, CIFAR-10 has 170 MB")}
			}
			g.Progress(have, total)
		}
		if err == io.EOF {
			if err := f.Sync(); err != nil {
				return have, finalError{err}
			}
			return have, nil
		}
		if err != nil {
			return have, err
		}
	}
}

// validator is what If-Range takes: a strong ETag, or else the time of the last change.
func validator(header http.Header) string {
	if tag := header.Get("ETag"); strings.HasPrefix(tag, `"`) {
		return tag
	}
	return header.Get("Last-Modified")
}

// contentRange takes "bytes 5-9/10" apart; total is -1 for "bytes 5-9/*".
func contentRange(value string) (first, total int64, ok bool) {
	rest, found := strings.CutPrefix(value, "bytes ")
	span, length, slash := strings.Cut(rest, "/")
	from, _, dash := strings.Cut(span, "-")
	if !found || !slash || !dash {
		return 0, 0, false
	}
	first, err := strconv.ParseInt(from, 10, 64)
	if err != nil || first < 0 {
		return 0, 0, false
	}
	if length == "*" {
		return first, -1, true
	}
	total, err = strconv.ParseInt(length, 10, 64)
	return first, total, err == nil && total >= 0
}
