package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"imgsearch/internal/kernel"
)

// recordVersion is that of the file of --out. History: 1, the first.
const recordVersion = 1

// record is everything that a run of the harness measured.
type record struct {
	Version int       `json:"version"`
	Time    time.Time `json:"time"`
	// Seconds is how long the whole run took.
	Seconds float64 `json:"seconds"`
	Machine machine `json:"machine"`
	// Commit is that of the source, with "+" behind it where files differ from it; "" where it is not known.
	Commit string `json:"commit"`
	// Workers tells what each side runs on: the versions and settings of its libraries.
	Workers map[string]map[string]string `json:"workers"`
	// Flags are those of the harness.
	Flags map[string]string `json:"flags"`
	// ByProcessor tells that the times of turns are those of processors, not of the clock.
	ByProcessor bool `json:"by_processor_time,omitempty"`
	// Idle is the most processor time, in seconds, that a worker spent between two turns.
	Idle float64 `json:"idle_seconds"`
	// Undisturbed is the median over all turns on one thread of the share of the time on the clock that they had a
	// processor for: near 1 unless other programs ran as well; 0 where the system does not tell.
	Undisturbed float64 `json:"undisturbed,omitempty"`

	Rows        []*result    `json:"rows"`
	Comparisons []comparison `json:"comparisons"`
	Cold        *cold        `json:"cold,omitempty"`
	Programs    []wholeRun   `json:"whole_program,omitempty"`
	// Skipped tells what was not measured, and why.
	Skipped []string `json:"skipped,omitempty"`
}

// machine is where it was measured.
type machine struct {
	System string `json:"system"`
	CPU    string `json:"cpu"`
	CPUs   int    `json:"cpus"`
	Go     string `json:"go"`
	Kernel string `json:"kernel"`
}

func thisMachine() machine {
	return machine{
		System: runtime.GOOS + "/" + runtime.GOARCH, CPU: cpuModel(), CPUs: runtime.NumCPU(), Go: runtime.Version(),
		Kernel: kernel.Name(),
	}
}

// cpuModel returns the processor's name where the system tells it in /proc/cpuinfo, otherwise "".
func cpuModel() string {
	data, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	return modelName(data)
}

// modelName finds the processor's name, family and model in the text of /proc/cpuinfo.
func modelName(cpuinfo []byte) string {
	var name, numbers string
	for s := bufio.NewScanner(bytes.NewReader(cpuinfo)); s.Scan(); {
		key, value, _ := strings.Cut(s.Text(), ":")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		switch {
		case key == "model name":
			name = value
		case key == "cpu family":
			numbers += " family " + value
		case key == "model":
			numbers += " model " + value
		case key == "" && name != "": // the next processor
			return name + numbers
		}
	}
	return name + numbers
}

// commitOf returns the commit of the module's source.
func commitOf(module string) string {
	git := func(arguments ...string) (string, error) {
		c := exec.Command("git", arguments...)
		c.Dir = module
		out, err := c.Output()
		return strings.TrimSpace(string(out)), err
	}
	commit, err := git("rev-parse", "--short=12", "HEAD")
	if err != nil {
		return ""
	}
	if changes, err := git("status", "--porcelain", "--untracked-files=no"); err == nil && changes != "" {
		commit += "+"
	}
	return commit
}

// moduleFolder returns the folder of the module whose program this is.
func moduleFolder() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "imgsearch").Output()
	if err != nil {
		return "", err
	}
	return filepath.Clean(strings.TrimSpace(string(out))), nil
}

// undisturbed returns what the field of that name holds.
func (r *record) undisturbed() float64 {
	var shares []float64
	for _, row := range r.Rows {
		for _, e := range row.Entrants {
			if e.Threads == 1 {
				shares = append(shares, collect(e.Samples, func(s sample) float64 { return s.share(1) })...)
			}
		}
	}
	if len(shares) == 0 {
		return 0
	}
	return median(shares)
}

// write writes the record as JSON.
func (r *record) write(path string) error {
	data, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}
