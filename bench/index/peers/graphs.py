"""The peers of bench/index: reads requests from standard input, one JSON object a line, and answers each with a line."""

import gc
import importlib.metadata
import json
import os
import sys
import time

import numpy as np

K = 10


def resident():
    """Bytes of memory that the process has."""
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Hnswlib:
    def __init__(self, data, m, efc, threads):
        import hnswlib

        self.index = hnswlib.Index(space="l2", dim=data.shape[1])
        self.index.init_index(max_elements=len(data), M=m, ef_construction=efc, random_seed=100)
        self.index.add_items(data, np.arange(len(data)), num_threads=threads)

    def search(self, queries, ef):
        self.index.set_ef(max(ef, K))
        return self.index.knn_query(queries, k=K, num_threads=1)[0]


class Faiss:
    def __init__(self, data, m, efc, threads):
        import faiss

        faiss.omp_set_num_threads(threads)
        self.index = faiss.IndexHNSWFlat(data.shape[1], m)
        self.index.hnsw.efConstruction = efc
        self.index.add(data)
        faiss.omp_set_num_threads(1)

    def search(self, queries, ef):
        self.index.hnsw.efSearch = ef
        return self.index.search(queries, K)[1]


class Usearch:
    def __init__(self, data, m, efc, threads):
        from usearch.index import Index

        # usearch's connectivity counts the links of the upper levels, as M does; level 0 has twice as many.
        self.index = Index(ndim=data.shape[1], metric="l2sq", dtype="f32", connectivity=m, expansion_add=efc)
        self.index.add(np.arange(len(data)), data, threads=threads)

    def search(self, queries, ef):
        self.index.expansion_search = ef
        return self.index.search(queries, K, threads=1).keys


ENGINES = {"hnswlib": Hnswlib, "faiss": Faiss, "usearch": Usearch}
PACKAGES = {"hnswlib": "hnswlib", "faiss": "faiss-cpu", "usearch": "usearch"}


def answer(state, r):
    do = r["do"]
    if do == "about":
        about = {"python": sys.version.split()[0], "numpy": np.__version__}
        for name, package in PACKAGES.items():
            try:
                about[name] = importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                pass
        return {"about": about}
    if do == "load":
        state["gallery"] = np.fromfile(r["gallery"], dtype="<f4").reshape(-1, r["dim"])[: r["count"]]
        state["queries"] = np.fromfile(r["queries"], dtype="<f4").reshape(-1, r["dim"])[: r["queries_count"]]
        return {}
    name = r["engine"]
    if do == "build":
        state.pop(name, None)
        gc.collect()
        before, begun, clock = resident(), time.process_time(), time.perf_counter()
        state[name] = ENGINES[name](state["gallery"], r["m"], r["ef_construction"], r["threads"])
        spent, clock = time.process_time() - begun, time.perf_counter() - clock
        return {"processor": spent, "seconds": clock, "bytes": resident() - before}
    if do == "search":
        begun = time.process_time()
        found = state[name].search(state["queries"], r["ef"])
        spent = time.process_time() - begun
        if r.get("out"):
            np.ascontiguousarray(found).astype("<i8").tofile(r["out"])
        return {"processor": spent}
    raise ValueError("unknown request " + do)


def main():
    state = {}
    for line in sys.stdin:
        try:
            reply = answer(state, json.loads(line))
        except Exception as e:  # the harness tells
            reply = {"error": f"{type(e).__name__}: {e}"}
        print(json.dumps(reply), flush=True)


main()
