// Command bench compares the speed of imgsearch with that of PyTorch on the processor, in one run:
//
//	python3 -m venv VENV && VENV/bin/pip install -r bench/peers/requirements.txt
//	go run ./bench --peers VENV --data cifar-10-binary.tar.gz --out bench.json
//
// It prints tables in Markdown, those of docs/performance.md, which explains the rows, and writes everything that it
// measured to the file of --out. Without --peers it measures imgsearch alone.
//
// # How it measures
//
// The harness computes nothing itself. Workers do: this program started anew for imgsearch (ours.go), and
// peers/torch_peer.py for PyTorch, a process for each number of threads and each instruction set, since both libraries
// settle these when they start. They speak a protocol of JSON lines (protocol.go), keep time themselves, and wait for
// input, idle, while another one works.
//
// A row (rows.go) is one amount of work, such as a training step; its entrants do it in turns (rounds.go): imgsearch,
// each way of running PyTorch, for each number of threads, round after round, so that whatever else the machine does
// hits all of them. First runs, in which memory is touched and code compiled, do not count. Medians do. A ratio is the
// median over the rounds of the ratio within a round, against the fastest way of running PyTorch.
//
// Before anything is timed both sides get the same weights and the same input, and must agree on the losses of the first
// steps or on the embeddings (equal.go): otherwise they would not do the same work, and the row fails.
//
// Whole programs (program.go) are timed from outside, built by the go command.
//
// Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done but PyTorch could not do all of it (the tables say what), 130
// interrupted.
package main
