"""One peer's map of embeddings, on one thread. Usage: tsne_peer.py PEER EMBEDDINGS.npy OUT.npy

PEER is sklearn, opentsne-fft or opentsne-bh; everything but perplexity, start and seed is the peer's default. Writes the
positions, [n, 2] float32, and prints the processor time of the whole fit in seconds and the version.
"""

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import sys
import time

import numpy as np


def main():
    peer, source, out = sys.argv[1:]
    x = np.load(source)
    if peer == "sklearn":
        import sklearn
        from sklearn.manifold import TSNE

        version = sklearn.__version__
        run = TSNE(perplexity=40, init="pca", random_state=1, n_jobs=1).fit_transform
    else:
        import openTSNE

        version = openTSNE.__version__
        run = openTSNE.TSNE(
            perplexity=40, random_state=1, n_jobs=1, negative_gradient_method=peer.removeprefix("opentsne-")
        ).fit
    began = time.process_time()
    y = np.asarray(run(x), dtype=np.float32)
    seconds = time.process_time() - began
    np.save(out, np.ascontiguousarray(y))
    print(seconds, version)


if __name__ == "__main__":
    main()
