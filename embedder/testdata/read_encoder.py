#!/usr/bin/env python3
"""Prints the tensors of an encoder file as Python's safetensors library reads them, one line each: name, shape, sum.

encoder_test.go runs it where IMGSEARCH_PYTHON names a Python 3 with numpy and safetensors.
"""

import sys

import numpy as np
from safetensors import safe_open

with safe_open(sys.argv[1], "np") as f:
    print("preset", f.metadata()["imgsearch.preset"])
    for name in sorted(f.keys()):
        t = f.get_tensor(name)
        print(name, "x".join(map(str, t.shape)), f"{t.astype(np.float64).sum():.6f}")
