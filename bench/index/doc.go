// Command index measures imgsearch's neighbour graph beside the reference implementations: hnswlib, faiss-cpu's
// IndexHNSWFlat and usearch.
//
//	python3 -m venv VENV && VENV/bin/pip install -r bench/peers/requirements.txt
//	CFLAGS=-march=native VENV/bin/pip install --force-reinstall --no-deps --no-binary hnswlib hnswlib==0.8.0
//	go run ./bench/index --data cifar-10-binary.tar.gz --peers VENV
//
// The second line builds hnswlib for the processor at hand, which its wheels are not.
//
// The vectors are embeddings of the training images of CIFAR-10 by the built-in encoder, float32, 64 values, of length one;
// the queries are embeddings of test images. More than 50,000 are embeddings of views of the training images (vectors.go).
// They are made once and kept in the folder of --cache. All engines get the same vectors in the same order, under L2, with the
// same M and efConstruction, and search on one thread.
//
// Each engine is built as often as --builds says, and each efSearch is asked as often as --rounds says, engine after engine,
// round after round, so that whatever else the machine does hits all of them. Times are of processors, not of the clock;
// medians count. Recall is the share of the true ten nearest that were returned, one as close as the tenth counting. Queries
// a second at a recall are interpolated between two efSearch, the logarithm of the speed over that of the share that is
// missed. Memory is what the process grew by (the peers: resident pages; imgsearch: live heap), less the vectors.
//
// It writes tables of Markdown to the standard output, and with --plot the curves as SVG, with --out everything as JSON.
package main
