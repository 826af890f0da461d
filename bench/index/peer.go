package main

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// peerScript is the other side of the protocol.
//
//go:embed peers/graphs.py
var peerScript []byte

// request is what the harness wants of the peers' process, and reply its answer: see peers/graphs.py.
type request struct {
	Do             string `json:"do"`
	Gallery        string `json:"gallery,omitempty"`
	Queries        string `json:"queries,omitempty"`
	Dim            int    `json:"dim,omitempty"`
	Count          int    `json:"count,omitempty"`
	QueriesCount   int    `json:"queries_count,omitempty"`
	Engine         string `json:"engine,omitempty"`
	M              int    `json:"m,omitempty"`
	EfConstruction int    `json:"ef_construction,omitempty"`
	Threads        int    `json:"threads,omitempty"`
	Ef             int    `json:"ef,omitempty"`
	Out            string `json:"out,omitempty"`
}

type reply struct {
	Error     string            `json:"error"`
	About     map[string]string `json:"about"`
	Processor float64           `json:"processor"`
	Seconds   float64           `json:"seconds"`
	Bytes     int64             `json:"bytes"`
}

// peers is the process that runs them.
type peers struct {
	command *exec.Cmd
	input   io.WriteCloser
	output  *bufio.Reader
	folder  string
	queries int
}

// startPeers starts the interpreter of a virtual environment.
func startPeers(ctx context.Context, venv, folder string) (*peers, error) {
	python := filepath.Join(venv, "bin", "python")
	if runtime.GOOS == "windows" {
		python = filepath.Join(venv, "Scripts", "python.exe")
	}
	if _, err := os.Stat(python); err != nil {
		return nil, fmt.Errorf("%w: --peers %s is no virtual environment of Python: %w", errUsage, venv, err)
	}
	script := filepath.Join(folder, "graphs.py")
	if err := os.WriteFile(script, peerScript, 0o600); err != nil {
		return nil, err
	}
	p := &peers{command: exec.CommandContext(ctx, python, script), folder: folder}
	// What a user has set for other programs must not make the peers slower.
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "OMP_") && !strings.HasPrefix(v, "OPENBLAS_") && !strings.HasPrefix(v, "PYTHON") {
			p.command.Env = append(p.command.Env, v)
		}
	}
	p.command.Env = append(p.command.Env, "PYTHONDONTWRITEBYTECODE=1")
	p.command.Stderr = os.Stderr
	var err error
	if p.input, err = p.command.StdinPipe(); err != nil {
		return nil, err
	}
	output, err := p.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.output = bufio.NewReader(output)
	return p, p.command.Start()
}

func (p *peers) ask(r request) (reply, error) {
	line, err := json.Marshal(r)
	if err != nil {
		return reply{}, err
	}
	if _, err := p.input.Write(append(line, '\n')); err != nil {
		return reply{}, fmt.Errorf("peers: %s: %w", r.Do, err)
	}
	if line, err = p.output.ReadBytes('\n'); err != nil {
		return reply{}, fmt.Errorf("peers: %s: %w", r.Do, err)
	}
	var a reply
	if err := json.Unmarshal(line, &a); err != nil {
		return reply{}, fmt.Errorf("peers: %s: %w", r.Do, err)
	}
	if a.Error != "" {
		return reply{}, fmt.Errorf("peers: %s %s: %s", r.Do, r.Engine, a.Error)
	}
	return a, nil
}

func (p *peers) close() {
	p.input.Close()
	_ = p.command.Wait()
}

// load hands the vectors over in files.
func (p *peers) load(v *vectors) error {
	gallery, queries := filepath.Join(p.folder, "gallery.f32"), filepath.Join(p.folder, "queries.f32")
	if err := writeFloats(gallery, v.gallery); err != nil {
		return err
	}
	if err := writeFloats(queries, v.queries); err != nil {
		return err
	}
	p.queries = len(v.queries) / embeddingDim
	_, err := p.ask(request{
		Do: "load", Gallery: gallery, Queries: queries, Dim: embeddingDim, Count: v.len(), QueriesCount: p.queries,
	})
	return err
}

// peerEngine is one of the peers.
type peerEngine struct {
	p    *peers
	name string
}

func (e *peerEngine) build(m, efConstruction, threads int) (built, error) {
	a, err := e.p.ask(request{Do: "build", Engine: e.name, M: m, EfConstruction: efConstruction, Threads: threads})
	return built{Processor: a.Processor, Seconds: a.Seconds, Bytes: a.Bytes}, err
}

func (e *peerEngine) search(ef int) (float64, error) {
	a, err := e.p.ask(request{Do: "search", Engine: e.name, Ef: ef})
	return a.Processor, err
}

func (e *peerEngine) answers(ef int) ([]int64, error) {
	path := filepath.Join(e.p.folder, "found")
	if _, err := e.p.ask(request{Do: "search", Engine: e.name, Ef: ef, Out: path}); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if len(data) != 8*neighbors*e.p.queries {
		return nil, fmt.Errorf("peers: %s answered with %d bytes", e.name, len(data))
	}
	out := make([]int64, len(data)/8)
	for i := range out {
		out[i] = int64(binary.LittleEndian.Uint64(data[8*i:]))
	}
	return out, nil
}
