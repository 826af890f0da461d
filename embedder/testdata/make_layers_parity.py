#!/usr/bin/env python3
"""Writes compat/python_v1.safetensors and layers_parity.safetensors.

The first is a whole encoder file, format version 1, written by the safetensors library of Python: a small net that
uses every kind of layer, with its checksum computed here from the description in file.go. The second holds images and
what PyTorch makes of them at every layer.

The library writes the metadata in another order each time: a file made anew holds the same, in other bytes.

Needs Python 3, numpy, torch and safetensors. Run in this folder: python3 make_layers_parity.py
"""

import hashlib
import json
import struct

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

IMAGES = 3
SIZE = 13


class Residual(nn.Module):
    def __init__(self, *body):
        super().__init__()
        self.body = nn.Sequential(*body)

    def forward(self, x):
        return x + self.body(x)


class GlobalMean(nn.Module):
    def forward(self, x):
        return x.mean((2, 3))


class L2Norm(nn.Module):
    def forward(self, x):
        return nn.functional.normalize(x, eps=1e-12)


def net():
    return nn.Sequential(
        nn.BatchNorm2d(3),
        nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.MaxPool2d(3, stride=2),
        Residual(
            nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 8, 3, padding=2, dilation=2), nn.BatchNorm2d(8),
            Residual(nn.Conv2d(8, 8, 1)),
        ),
        nn.ReLU(),
        nn.Conv2d(8, 11, 4, stride=3, padding=3, dilation=2), nn.ReLU(), nn.BatchNorm2d(11),
        nn.MaxPool2d(2, stride=1),
        Residual(nn.ReLU(), nn.Conv2d(11, 11, 1, bias=False)),
        GlobalMean(),
        nn.Linear(11, 10, bias=False), nn.BatchNorm1d(10), nn.ReLU(),
        Residual(nn.Linear(10, 10)),
        nn.Linear(10, 6),
        L2Norm(),
    )


def describe(module):
    """Returns the layer as the architecture's JSON holds it."""
    if isinstance(module, nn.Conv2d):
        layer = {"kind": "conv", "out": module.out_channels, "kernel": module.kernel_size[0], "stride": module.stride[0],
                 "pad": module.padding[0], "dilation": module.dilation[0], "bias": module.bias is not None}
    elif isinstance(module, nn.Linear):
        layer = {"kind": "linear", "out": module.out_features, "bias": module.bias is not None}
    elif isinstance(module, (nn.BatchNorm2d, nn.BatchNorm1d)):
        layer = {"kind": "batchnorm"}
    elif isinstance(module, nn.MaxPool2d):
        layer = {"kind": "maxpool", "kernel": module.kernel_size, "stride": module.stride}
    elif isinstance(module, Residual):
        layer = {"kind": "residual", "body": [describe(m) for m in module.body]}
    else:
        layer = {"kind": {nn.ReLU: "relu", GlobalMean: "globalmean", L2Norm: "l2norm"}[type(module)]}
    return {k: v for k, v in layer.items() if v not in (0, False)}


def number(n):
    return struct.pack("<Q", n)


def text(s):
    data = s.encode()
    return number(len(data)) + data


def checksum(metadata, tensors):
    weights = hashlib.sha256()
    for name in sorted(tensors):
        values = tensors[name].numpy().astype("<f4")
        weights.update(text(name) + number(values.ndim) + b"".join(number(n) for n in values.shape) + values.tobytes())
    h = hashlib.sha256()
    for key in sorted(metadata):
        if key.startswith("imgsearch.") and key != "imgsearch.checksum":
            h.update(text(key) + text(metadata[key]))
    h.update(weights.digest())
    return h.hexdigest()


def main():
    torch.manual_seed(1)
    torch.set_num_threads(1)
    model = net().eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm1d)):
                module.weight.uniform_(-1.5, 1.5)
                module.bias.uniform_(-0.5, 0.5)
                module.running_mean.uniform_(-0.5, 0.5)
                module.running_var.uniform_(0.1, 2)
        mean, std = [0.5, 0.25, 0.75], [0.25, 0.5, 0.3]
        pixels = np.random.default_rng(1).integers(0, 256, (IMAGES, SIZE, SIZE, 3))
        images = torch.from_numpy(pixels.astype(np.float32))
        x = (images.permute(0, 3, 1, 2) / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
        outputs = {"images": images.contiguous(), "input": x.contiguous()}
        for i, layer in enumerate(model):
            x = layer(x)
            outputs[f"layers.{i}"] = x.contiguous()

    tensors = {name: t.contiguous() for name, t in model.state_dict().items() if not name.endswith("num_batches_tracked")}
    # The architecture's own tensors are named layers.0.weight and so on.
    tensors = {"layers." + name: t for name, t in tensors.items()}
    metadata = {
        "format": "pt",  # what others' tools expect; not ours, so not in the checksum
        "imgsearch.format_version": "1",
        "imgsearch.architecture": json.dumps({
            "input_size": SIZE, "mean": mean, "std": std, "layers": [describe(m) for m in model]}),
        "imgsearch.preset": "python",
        "imgsearch.seed": "1",
        "imgsearch.final_loss": "0.125",
        "imgsearch.program": "make_layers_parity.py",
    }
    metadata["imgsearch.checksum"] = checksum(metadata, tensors)
    save_file(tensors, "compat/python_v1.safetensors", metadata)
    save_file(outputs, "layers_parity.safetensors", {"made_by": f"PyTorch {torch.__version__.split('+')[0]}"})


if __name__ == "__main__":
    main()
