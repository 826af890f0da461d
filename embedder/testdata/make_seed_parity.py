#!/usr/bin/env python3
"""Writes seed_parity.json: what PyTorch computes with the net of the study for weights and images made by a formula.

The net has nine million weights, too many to commit, so both sides make them:

    hash(stream, i) = splitmix64(stream * 2**32 + i)           (all modulo 2**64; the finaliser below)
    weight i of parameter p (in state_dict order) = (2*u - 1) / sqrt(fan_in), u = (hash(p, i) >> 40) / 2**24,
        in float64, rounded to float32 once
    byte i (row, column, channel; row-major) of image n:
        n even: hash(1000 + n, i) >> 56                          noise
        n odd:  hash(1000 + n, i of the pixel at the corner of the 4x4 block, same channel) >> 56

Needs Python 3, numpy and torch. Run in this folder: python3 make_seed_parity.py
"""

import json

import numpy as np
import torch
from torch import nn

IMAGES = 6


def hashed(stream, index):
    z = np.uint64(stream << 32) + index.astype(np.uint64)
    z = z + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def image(n):
    y, x, c = np.meshgrid(np.arange(32), np.arange(32), np.arange(3), indexing="ij")
    if n % 2:
        y, x = y // 4 * 4, x // 4 * 4
    return (hashed(1000 + n, (y * 32 + x) * 3 + c) >> np.uint64(56)).astype(np.uint8)


def main():
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, dilation=1), nn.ReLU(),
        nn.Conv2d(6, 16, 3, dilation=2), nn.ReLU(),
        nn.Conv2d(16, 32, 3, dilation=5), nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8192, 1024), nn.ReLU(),
        nn.Linear(1024, 512), nn.ReLU(),
        nn.Linear(512, 128), nn.ReLU(),
        nn.Linear(128, 64),
    )
    with torch.no_grad():
        fan_in = 0
        for p, (name, parameter) in enumerate(net.named_parameters()):
            if name.endswith("weight"):
                fan_in = parameter[0].numel()
            u = (hashed(p, np.arange(parameter.numel())) >> np.uint64(40)).astype(np.float64) / 2**24
            values = ((2 * u - 1) / np.sqrt(float(fan_in))).astype(np.float32)
            parameter.copy_(torch.from_numpy(values.reshape(tuple(parameter.shape))))

        images = np.stack([image(n) for n in range(IMAGES)])
        x = torch.from_numpy(images).permute(0, 3, 1, 2).float().div(255).sub(0.5).div(0.5).contiguous()
        activations = []
        for i, layer in enumerate(net):
            x = layer(x)
            flat = x.reshape(IMAGES, -1).double()
            activations.append({
                "layer": f"layers.{i}",
                "shape": list(x.shape[1:]),
                # Of each image: the mean, the root of the mean square, and 8 values spread over the activation.
                "mean": flat.mean(1).tolist(),
                "rms": flat.square().mean(1).sqrt().tolist(),
                "values": flat[:, :: flat.shape[1] // 8][:, :8].tolist(),
            })
    with open("seed_parity.json", "w") as f:
        json.dump({
            "made_by": f"make_seed_parity.py with PyTorch {torch.__version__.split('+')[0]}",
            "images": IMAGES,
            "pixels": images.reshape(IMAGES, -1)[:, :12].tolist(),  # the first bytes of each image
            "activations": activations,
            "embeddings": x.double().tolist(),
        }, f, indent=1)
        f.write("\n")


if __name__ == "__main__":
    main()
