"""Builds a PyTorch module of an architecture as package embedder writes it in JSON.

Modules are named as package embedder names its parameters ("layers.3.body.0.weight"), so that its tensors load as a
state dict.
"""

import json

import numpy as np
import torch
from torch import nn

DTYPES = {"F32": np.float32}


def read_tensors(path):
    """Returns the tensors of a safetensors file by name."""
    with open(path, "rb") as f:
        data = f.read()
    length = int.from_bytes(data[:8], "little")
    out = {}
    for name, entry in json.loads(data[8 : 8 + length]).items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        values = np.frombuffer(data[8 + length + begin : 8 + length + end], DTYPES[entry["dtype"]])
        out[name] = torch.from_numpy(values.reshape(entry["shape"]).copy())
    return out


class L2Norm(nn.Module):
    def forward(self, x):
        return nn.functional.normalize(x, dim=1, eps=1e-12)


class GlobalMean(nn.Module):
    def forward(self, x):
        return x.mean(dim=(2, 3))


class Residual(nn.Module):
    def __init__(self, layers, shape):
        super().__init__()
        self.body, _ = make_layers(layers, shape)

    def forward(self, x):
        y = x
        for layer in self.body:
            y = layer(y)
        return x + y


def make_layer(layer, shape):
    """Returns the module of a layer and the shape [C, H, W] or [F] of one image that it leaves."""
    kind, stride = layer["kind"], max(layer.get("stride", 0), 1)
    if kind == "conv":
        dilation = max(layer.get("dilation", 0), 1)
        m = nn.Conv2d(
            shape[0], layer["out"], layer["kernel"], stride=stride, padding=layer.get("pad", 0), dilation=dilation,
            bias=layer.get("bias", False),
        )
        span = dilation * (layer["kernel"] - 1) + 1
        shape = [layer["out"]] + [(s + 2 * layer.get("pad", 0) - span) // stride + 1 for s in shape[1:]]
    elif kind == "linear":
        m = nn.Linear(shape[0], layer["out"], bias=layer.get("bias", False))
        shape = [layer["out"]]
    elif kind == "batchnorm":
        m = nn.BatchNorm2d(shape[0]) if len(shape) == 3 else nn.BatchNorm1d(shape[0])
    elif kind == "relu":
        m = nn.ReLU(inplace=True)
    elif kind == "maxpool":
        m = nn.MaxPool2d(layer["kernel"], stride=stride)
        shape = [shape[0]] + [(s - layer["kernel"]) // stride + 1 for s in shape[1:]]
    elif kind == "globalmean":
        m = GlobalMean()
        shape = [shape[0]]
    elif kind == "flatten":
        m = nn.Flatten()
        shape = [shape[0] * shape[1] * shape[2]]
    elif kind == "l2norm":
        m = L2Norm()
    elif kind == "residual":
        m = Residual(layer["body"], shape)
    else:
        raise ValueError(f"layer kind {kind!r} has no counterpart here")
    if layer.get("frozen", False):
        for p in m.parameters():
            p.requires_grad_(False)
        m.frozen = True
    return m, shape


def make_layers(layers, shape):
    out = nn.ModuleList()
    for layer in layers:
        m, shape = make_layer(layer, shape)
        out.append(m)
    return out, shape


class Net(nn.Module):
    """An encoder and, for training, its projection head."""

    def __init__(self, architecture, head=None):
        super().__init__()
        size = architecture["input_size"]
        self.layers, shape = make_layers(architecture["layers"], [3, size, size])
        self.head, _ = make_layers(head or [], shape)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        for layer in self.head:
            x = layer(x)
        return x

    def train(self, mode=True):
        super().train(mode)
        for m in self.modules():  # frozen batch normalisation keeps its statistics
            if getattr(m, "frozen", False):
                m.training = False
        return self

    def load(self, tensors):
        """Copies weights by name; num_batches_tracked is of no use here."""
        own = {k: v for k, v in self.state_dict().items() if not k.endswith("num_batches_tracked")}
        if own.keys() != tensors.keys():
            raise ValueError(f"the weights are those of another net: {sorted(own.keys() ^ tensors.keys())}")
        with torch.no_grad():
            for name, t in tensors.items():
                own[name].copy_(t)


class Embedder(nn.Module):
    """From pixels [N, S, S, 3] uint8 to embeddings."""

    def __init__(self, net, architecture, channels_last):
        super().__init__()
        self.net = net
        self.channels_last = channels_last
        scale = torch.tensor(architecture["std"]).reciprocal() / 255
        shift = -torch.tensor(architecture["mean"]) / torch.tensor(architecture["std"])
        self.register_buffer("scale", scale.reshape(1, 3, 1, 1))
        self.register_buffer("shift", shift.reshape(1, 3, 1, 1))

    def forward(self, pixels):
        x = pixels.permute(0, 3, 1, 2)  # as it lies in memory this is channels_last
        if not self.channels_last:
            x = x.contiguous()
        return self.net(x * self.scale + self.shift)
