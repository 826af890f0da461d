package main

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// peerFiles are PyTorch's side of the comparison.
//
//go:embed peers/*.py
var peerFiles embed.FS

// isaAVX2 holds both sides to AVX2; "" lets them use what the processor has.
const isaAVX2 = "avx2"

// peerHelp tells how to get the peer.
const peerHelp = `PyTorch is not measured: no --peers. To make a virtual environment for it:
  python3 -m venv VENV && VENV/bin/pip install -r bench/peers/requirements.txt
  go run ./bench --peers VENV
`

// pythonOf returns the interpreter of a virtual environment.
func pythonOf(venv string) (string, error) {
	path := filepath.Join(venv, "bin", "python")
	if runtime.GOOS == "windows" {
		path = filepath.Join(venv, "Scripts", "python.exe")
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("--peers %s is no virtual environment of Python: %w", venv, err)
	}
	return filepath.Abs(path)
}

// workers starts processes and keeps them.
type workers struct {
	folder string // for temporary files
	python string // "" where there is no peer
	script string
	byKey  map[string]*worker
}

// newWorkers prepares for workers; python may be "".
func newWorkers(folder, python string) (*workers, error) {
	w := &workers{folder: folder, python: python, byKey: map[string]*worker{}}
	if python == "" {
		return w, nil
	}
	files, err := fs.Sub(peerFiles, "peers")
	if err != nil {
		return nil, err
	}
	w.script = filepath.Join(folder, "peers")
	return w, os.CopyFS(w.script, files)
}

// get returns the worker of a side for a number of threads and an instruction set, started where it is not there yet.
func (s *workers) get(side string, threads int, isa string) (*worker, error) {
	key := strings.Trim(fmt.Sprintf("%s-%d-%s", side, threads, isa), "-")
	if w := s.byKey[key]; w != nil {
		return w, nil
	}
	var command *exec.Cmd
	var err error
	if side == peerSide {
		command = s.peerCommand(threads, isa)
	} else if command, err = ourCommand(threads, isa); err != nil {
		return nil, err
	}
	w, err := startWorker(key, command)
	if err == nil {
		s.byKey[key] = w
	}
	return w, err
}

// ourCommand is this program as a worker.
func ourCommand(threads int, isa string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := exec.Command(self)
	c.Env = append(os.Environ(), workerVariable+"="+strconv.Itoa(threads), "GOMAXPROCS="+strconv.Itoa(threads))
	if isa != "" {
		c.Env = append(c.Env, "IMGSEARCH_KERNEL="+isa)
	}
	return c, nil
}

// peerCommand is Python with PyTorch as a worker.
func (s *workers) peerCommand(threads int, isa string) *exec.Cmd {
	n := strconv.Itoa(threads)
	c := exec.Command(s.python, filepath.Join(s.script, "torch_peer.py"), n)
	c.Env = peerEnvironment(os.Environ(), n, isa)
	return c
}

// settings are the beginnings of the names of variables that tell the libraries below PyTorch how to work; what the user
// has set for other programs must not make the peer slower.
var settings = []string{
	"OPENBLAS_", "OMP_", "GOMP_", "KMP_", "MKL_", "ONEDNN_", "DNNL_", "ATEN_", "TORCH", "PYTORCH_", "PYTHON", "LD_PRELOAD",
}

// peerEnvironment returns the environment for the peer.
func peerEnvironment(environment []string, threads, isa string) []string {
	var out []string
next:
	for _, v := range environment {
		for _, s := range settings {
			if strings.HasPrefix(v, s) {
				continue next
			}
		}
		out = append(out, v)
	}
	out = append(out, "OMP_NUM_THREADS="+threads, "MKL_NUM_THREADS="+threads, "CUDA_VISIBLE_DEVICES=", "PYTHONDONTWRITEBYTECODE=1")
	if isa == isaAVX2 {
		out = append(out, "ONEDNN_MAX_CPU_ISA=AVX2", "ATEN_CPU_CAPABILITY=avx2", "MKL_ENABLE_INSTRUCTIONS=AVX2")
	}
	return out
}

// about asks the workers of one thread what they run on.
func (s *workers) about(ctx context.Context, threads int) (map[string]map[string]string, error) {
	out := map[string]map[string]string{}
	for _, side := range []string{ourSide, peerSide} {
		if side == peerSide && s.python == "" {
			continue
		}
		w, err := s.get(side, threads, "")
		if err != nil {
			return nil, err
		}
		a, err := w.ask(ctx, request{Do: "about"})
		if err != nil {
			if side == peerSide {
				err = fmt.Errorf("%w\ninstall bench/peers/requirements.txt in the virtual environment of --peers", err)
			}
			return nil, err
		}
		out[side] = a.About
	}
	return out, nil
}

// idle returns the most processor time that a worker of the peer spent while it should have waited.
func (s *workers) idle() float64 {
	var most float64
	for _, w := range s.byKey {
		most = max(most, w.idle)
	}
	return most
}

// close ends all workers.
func (s *workers) close() error {
	for _, w := range s.byKey {
		w.close()
	}
	if s.script == "" {
		return nil
	}
	return os.RemoveAll(s.script)
}
