package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"imgsearch/internal/cifartest"
)

// The scripts of testdata/script run the program as a process of its own: this test binary, when its name is imgsearch.
func TestMain(m *testing.M) {
	testscript.Main(tests{m}, map[string]func(){"imgsearch": func() { os.Exit(run()) }})
}

// tests removes the fixtures when all tests have run.
type tests struct{ *testing.M }

func (t tests) Run() int {
	defer func() { _ = os.RemoveAll(fixtureFolder) }()
	return t.M.Run()
}

func TestScripts(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/junk.tar.gz" {
			http.NotFound(w, r)
			return
		}
		_, _ = io.WriteString(w, "this is no archive")
	}))
	// Scripts run in parallel, after this function has returned.
	t.Cleanup(server.Close)
	fixtures := fixtures(t)
	pictures, err := filepath.Abs(filepath.Join("..", "..", "dataset", "testdata", "images"))
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			for name, value := range map[string]string{
				"XDG_DATA_HOME": filepath.Join(env.WorkDir, "data"),
				"ENCODER":       fixtures.encoder,
				"OTHER":         fixtures.other,
				"SAMPLE":        fixtures.sample,
				"PHOTOS":        fixtures.photos,
				"PICTURES":      pictures,
				"SERVER":        server.URL,
				"CIFAR10":       os.Getenv(cifartest.Variable),
			} {
				env.Setenv(name, value)
			}
			return nil
		},
		Condition: func(name string) (bool, error) {
			switch name {
			case "root":
				return os.Geteuid() == 0, nil
			case "full":
				_, err := os.Stat("/dev/full")
				return err == nil, nil
			case "cifar10":
				return os.Getenv(cifartest.Variable) != "" && !testing.Short(), nil
			}
			return false, fmt.Errorf("unknown condition %q", name)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"run":     runCommand,
			"full":    fullCommand,
			"limit":   limitCommand,
			"json":    jsonCommand,
			"same":    sameCommand,
			"keys":    keysCommand,
			"lines":   linesCommand,
			"photos":  photosCommand,
			"picture": pictureCommand,
			"altered": alteredCommand,
			"replace": replaceCommand,
			"version": versionCommand,
			"cut":     cutCommand,
			"png":     pngCommand,
			"npy":     npyCommand,
			"export":  exportCommand,
		},
	})
}

// fixtureFiles are made once, mostly by the program itself, and shared by all tests, which must not change them.
type fixtureFiles struct {
	photos         string // folder of 40 pictures of two labels
	encoder, other string // two encoders, hardly trained
	sample         string // collection of sample:test by encoder
}

// fixtureFolder is where the fixtures lie, once they are made.
var fixtureFolder string

var makeFixtures = sync.OnceValues(func() (fixtureFiles, error) {
	// Not t.TempDir: parallel tests of several functions use them.
	dir, err := os.MkdirTemp("", "imgsearch-fixtures")
	if err != nil {
		return fixtureFiles{}, err
	}
	fixtureFolder = dir
	f := fixtureFiles{
		photos:  filepath.Join(dir, "photos"),
		encoder: filepath.Join(dir, "tiny.encoder"), other: filepath.Join(dir, "other.encoder"),
		sample: filepath.Join(dir, "sample.imgsearch"),
	}
	if err := makePhotos(f.photos, 20); err != nil {
		return f, err
	}
	for _, line := range [][]string{
		{"train", "--data", f.photos, "--preset", "tiny", "--steps", "2", "--batch", "16", "--out", f.encoder},
		{"train", "--data", f.photos, "--preset", "tiny", "--steps", "1", "--batch", "8", "--seed", "2", "--dim", "8", "--out", f.other},
		{"index", "sample:test", "--index", f.sample, "--encoder", f.encoder},
	} {
		if out, err := exec.Command("imgsearch", line...).CombinedOutput(); err != nil {
			return f, fmt.Errorf("imgsearch %s: %w\n%s", strings.Join(line, " "), err, out)
		}
	}
	return f, nil
})

func fixtures(t *testing.T) fixtureFiles {
	t.Helper()
	f, err := makeFixtures()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// runCommand is "run CODE ARGS...": imgsearch ends with that exit code, and what it prints obeys the rules that hold for
// every command line.
func runCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: run CODE ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	expect(ts, want, args[1:], "imgsearch", args[1:]...)
}

// fullCommand is "full CODE imgsearch ARGS...": the same with a full disk behind stdout.
func fullCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: full CODE imgsearch ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	expect(ts, want, args[1:], "sh", append([]string{"-c", `"$@" >/dev/full`, "sh"}, args[1:]...)...)
	if !strings.Contains(ts.ReadFile("stderr"), "no space left on device") || !strings.Contains(ts.ReadFile("stderr"), "free some space") {
		ts.Fatalf("the full disk, or what to do about it, is not named")
	}
}

// limitCommand is "limit CODE N imgsearch ARGS...": the same where no file can grow beyond N times 512 bytes.
func limitCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: limit CODE BLOCKS imgsearch ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	expect(ts, want, args[2:], "sh", append([]string{"-c", `ulimit -f "$0" && exec "$@"`}, args[1:]...)...)
}

// expect runs a command and looks at its exit code and its output.
func expect(ts *testscript.TestScript, want int, args []string, program string, words ...string) {
	err := ts.Exec(program, words...)
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
	stdout, stderr := ts.ReadFile("stdout"), ts.ReadFile("stderr")
	for _, problem := range outputProblems(code, stdout, stderr, slices.Contains(args, "--picture")) {
		ts.Fatalf("%s", problem)
	}
}

// outputProblems lists how the output of a command that ended with code breaks the rules.
func outputProblems(code int, stdout, stderr string, pictures bool) []string {
	var problems []string
	problem := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	if strings.ContainsAny(stderr, "\x1b\r") || !pictures && strings.ContainsAny(stdout, "\x1b\r") {
		problem("control characters in output that is no terminal's")
	}
	if strings.Contains(stderr, "panic:") || strings.Contains(stderr, "goroutine ") {
		problem("a panic")
	}
	lines := strings.Split(strings.TrimRight(stderr, "\n"), "\n")
	var own []int
	for i, line := range lines {
		if strings.HasPrefix(line, "imgsearch: ") {
			own = append(own, i)
		}
	}
	switch {
	case code == exitOK && len(own) > 0:
		problem("an error line, and exit code 0")
	case code == exitOK:
	case len(own) != 1 || own[0] != len(lines)-1:
		problem("want one error line, at the end of stderr")
	case code == exitIncomplete && !strings.Contains(lines[own[0]], "done, but"):
		problem("exit code 3 without saying so")
	case code == exitUsage && (len(lines) != 1 || !strings.Contains(lines[0], "--help")):
		problem("wrong usage wants a single line that names --help")
	case (code == exitUsage || code == exitMissing) && stdout != "":
		problem("a result on stdout, and exit code %d", code)
	}
	return problems
}

// values decodes all JSON values of a file, stdout or stderr.
func values(ts *testscript.TestScript, file string) []json.RawMessage {
	var all []json.RawMessage
	decoder := json.NewDecoder(strings.NewReader(ts.ReadFile(file)))
	for {
		var value json.RawMessage
		err := decoder.Decode(&value)
		if err == io.EOF {
			return all
		}
		ts.Check(err)
		all = append(all, value)
	}
}

// lookUp walks from the value of that number along a path of names and positions, joined by slashes.
func lookUp(ts *testscript.TestScript, file, number, path string) json.RawMessage {
	n, err := strconv.Atoi(number)
	ts.Check(err)
	all := values(ts, file)
	if n >= len(all) {
		ts.Fatalf("%s has %d JSON values", file, len(all))
	}
	value := all[n]
	for _, step := range strings.FieldsFunc(path, func(r rune) bool { return r == '/' }) {
		if i, err := strconv.Atoi(step); err == nil && bytes.HasPrefix(bytes.TrimSpace(value), []byte("[")) {
			var list []json.RawMessage
			ts.Check(json.Unmarshal(value, &list))
			if i >= len(list) {
				ts.Fatalf("%s: %d values", path, len(list))
			}
			value = list[i]
			continue
		}
		var object map[string]json.RawMessage
		ts.Check(json.Unmarshal(value, &object))
		inner, ok := object[step]
		if !ok {
			ts.Fatalf("%s: no %q", path, step)
		}
		value = inner
	}
	return value
}

// jsonCommand is "json FILE NUMBER PATH PATTERN": the value matches the pattern as a whole; a text without its quotes.
func jsonCommand(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 4 {
		ts.Fatalf("usage: json FILE NUMBER PATH PATTERN")
	}
	value := lookUp(ts, args[0], args[1], args[2])
	text := string(value)
	_ = json.Unmarshal(value, &text)
	matched, err := regexp.MatchString("^(?:"+args[3]+")$", text)
	ts.Check(err)
	if matched == neg {
		ts.Fatalf("%s is %s", args[2], text)
	}
}

// sameCommand is "same FILE FILE PATH": both have an equal value there.
func sameCommand(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: same FILE FILE PATH")
	}
	a, b := lookUp(ts, args[0], "0", args[2]), lookUp(ts, args[1], "0", args[2])
	if bytes.Equal(a, b) == neg {
		ts.Fatalf("%s and %s", a, b)
	}
}

// keysCommand is "keys FILE NUMBER PATH NAME...": the object has exactly these names, in this order.
func keysCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: keys FILE NUMBER PATH NAME...")
	}
	decoder := json.NewDecoder(bytes.NewReader(lookUp(ts, args[0], args[1], args[2])))
	_, err := decoder.Token()
	ts.Check(err)
	var names []string
	for decoder.More() {
		name, err := decoder.Token()
		ts.Check(err)
		names = append(names, name.(string))
		var skipped json.RawMessage
		ts.Check(decoder.Decode(&skipped))
	}
	if !slices.Equal(names, args[3:]) {
		ts.Fatalf("names %q", names)
	}
}

// linesCommand is "lines FILE N": the file has N lines.
func linesCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: lines FILE N")
	}
	if n := strings.Count(ts.ReadFile(args[0]), "\n"); strconv.Itoa(n) != args[1] {
		ts.Fatalf("%s has %d lines", args[0], n)
	}
}

// replaceCommand is "replace FILE OLD NEW": the first occurrence of OLD becomes NEW.
func replaceCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: replace FILE OLD NEW")
	}
	path := ts.MkAbs(args[0])
	data, err := os.ReadFile(path)
	ts.Check(err)
	if !bytes.Contains(data, []byte(args[1])) {
		ts.Fatalf("%s does not contain %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(path, bytes.Replace(data, []byte(args[1]), []byte(args[2]), 1), 0o666))
}

// cutCommand is "cut FILE BYTES": the file keeps its first bytes.
func cutCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: cut FILE BYTES")
	}
	n, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	ts.Check(os.Truncate(ts.MkAbs(args[0]), n))
}
