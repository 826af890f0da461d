#!/usr/bin/env python3
"""Writes parity.json: what PyTorch computes in training three tiny nets, in float64 from float32 weights and inputs.

For each net: the architecture as the Go code reads it, the first weights, one batch [rows * groups, 3, S, S] (all
anchors, then all positives, then, for triplets, all negatives), the gradients of the first step, the losses of ten steps
of SGD on that batch, and the weights and running statistics after them.

The losses are written out here by their formulas; the triplet margin loss is PyTorch's own, with eps 0 (PyTorch's
default adds 1e-6 to each difference before it takes the distance, which the Go code does not), and the losses with the
default eps are listed too.

Needs Python 3 and torch. Run in this folder: python3 make_parity.py
"""

import json

import torch
from torch import nn
from torch.nn import functional as F

STEPS = 10


class Normalize(nn.Module):
    def forward(self, x):
        return F.normalize(x)


def other_view(groups):
    return torch.arange(2 * groups).roll(groups)


def nt_xent(e, groups, temperature):
    e = F.normalize(e)
    logits = (e @ e.T / temperature).fill_diagonal_(float("-inf"))
    return F.cross_entropy(logits, other_view(groups))


def smooth_triplet(e, groups, temperature):
    n = 2 * groups
    total = 0
    for a in range(n):
        p = (a + groups) % n
        negatives = [i for i in range(n) if i not in (a, p)]
        differences = (e[a] - e[p]).norm() - torch.stack([(e[a] - e[i]).norm() for i in negatives])
        total = total + F.softplus(torch.logsumexp(differences / temperature, 0))
    return total / n


def triplet(e, groups, margin, eps=0.0):
    a, p, n = e.split(groups)
    return F.triplet_margin_loss(a, p, n, margin=margin, eps=eps)


def conv(out, dilation=1, stride=1, pad=0, bias=False):
    layer = {"kind": "conv", "out": out, "kernel": 3, "stride": stride, "pad": pad, "dilation": dilation, "bias": bias}
    return {k: v for k, v in layer.items() if v}


def linear(out):
    return {"kind": "linear", "out": out, "bias": True}


BN, RELU, MEAN, FLAT, L2 = ({"kind": k} for k in ("batchnorm", "relu", "globalmean", "flatten", "l2norm"))


class Residual(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        return x + self.body(x)


def build(layers, channels, size):
    """Returns the modules and the channels or values that they leave."""
    modules = []
    for l in layers:
        kind = l["kind"]
        if kind == "conv":
            pad, stride, dilation = l.get("pad", 0), l.get("stride", 1), l.get("dilation", 1)
            modules.append(nn.Conv2d(channels, l["out"], 3, stride, pad, dilation, bias=l.get("bias", False)))
            channels = l["out"]
            size = (size + 2 * pad - 2 * dilation - 1) // stride + 1
        elif kind == "linear":
            modules.append(nn.Linear(channels, l["out"]))
            channels = l["out"]
        elif kind == "batchnorm":
            modules.append(nn.BatchNorm2d(channels) if size else nn.BatchNorm1d(channels))
        elif kind == "relu":
            modules.append(nn.ReLU())
        elif kind == "globalmean":
            modules.append(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
            size = 0
        elif kind == "flatten":
            modules.append(nn.Flatten())
            channels, size = channels * size * size, 0
        elif kind == "l2norm":
            modules.append(Normalize())
        elif kind == "residual":
            body, _, _ = build(l["body"], channels, size)
            modules.append(Residual(body))
    return nn.Sequential(*modules), channels, size


def rounded(values):
    return [float(f"{v:.12g}") for v in values.detach().double().flatten().tolist()]


def short(values):
    """Enough digits for a float32."""
    return [float(f"{v:.9g}") for v in values.flatten().tolist()]


def case(name, size, layers, groups, rows, loss, options, rate, momentum, weight_decay=0.0, nesterov=False):
    torch.manual_seed(len(name))
    net, _, _ = build(layers, 3, size)
    net = net.float()
    with torch.no_grad():
        for key, p in net.named_parameters():
            if p.ndim == 1 and key.endswith("weight"):  # batch normalisation
                p.uniform_(0.5, 1.5)
            elif p.ndim == 1:
                p.normal_(0, 0.1)
            else:
                p.mul_(2)
    images = torch.randn(rows * groups, 3, size, size)
    images[groups : 2 * groups] = 0.7 * images[:groups] + 0.5 * images[groups : 2 * groups]
    images = images.float()
    state = {k: v.clone() for k, v in net.state_dict().items() if "num_batches" not in k}
    out = {
        "name": name,
        "architecture": {"input_size": size, "mean": [0, 0, 0], "std": [1, 1, 1], "layers": layers},
        "groups": groups, "rows": rows, "loss": options,
        "rate": rate, "momentum": momentum, "weight_decay": weight_decay, "nesterov": nesterov,
        "input": short(images),
        "weights": {"layers." + k: {"shape": list(v.shape), "data": short(v)} for k, v in state.items()},
    }

    def train(loss):
        net.float()
        net.load_state_dict({**net.state_dict(), **state})
        net.double().train()
        decays = [p for p in net.parameters() if p.ndim > 1]
        others = [p for p in net.parameters() if p.ndim == 1]
        solver = torch.optim.SGD(
            [{"params": decays, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}],
            lr=rate, momentum=momentum, nesterov=nesterov)
        losses, gradients = [], None
        for _ in range(STEPS):
            solver.zero_grad()
            value = loss(net(images.double()), groups)
            value.backward()
            if gradients is None:
                gradients = {"layers." + k: rounded(p.grad) for k, p in net.named_parameters()}
            losses.append(value.item())
            solver.step()
        return losses, gradients

    out["losses"], out["gradients"] = train(loss)
    out["after"] = {"layers." + k: rounded(v) for k, v in net.state_dict().items() if "num_batches" not in k}
    if options["loss"] == "triplet":
        out["losses_default_eps"], _ = train(lambda e, g: triplet(e, g, options["margin"], eps=1e-6))
    return out


def main():
    torch.set_num_threads(1)
    conv_bn = [conv(6, pad=1), BN, RELU, conv(8, stride=2, pad=1), BN, RELU,
               {"kind": "residual", "body": [conv(8, pad=1), BN, RELU]}, MEAN, linear(5)]
    cases = [
        case("nt-xent", 6, conv_bn, 4, 2, lambda e, g: nt_xent(e, g, 0.5), {"loss": "nt-xent", "temperature": 0.5},
             0.1, 0.9, weight_decay=5e-4, nesterov=True),
        case("smooth-triplet", 6, conv_bn + [L2], 4, 2, lambda e, g: smooth_triplet(e, g, 0.1),
             {"loss": "smooth-triplet", "temperature": 0.1}, 0.001, 0.9, weight_decay=1e-2),
        case("seed", 11, [conv(3, bias=True), RELU, conv(4, dilation=2, bias=True), RELU, conv(3, dilation=2, bias=True),
                          RELU, FLAT, linear(6), RELU, linear(4)],
             3, 3, lambda e, g: triplet(e, g, 0.5), {"loss": "triplet", "miner": "random", "margin": 0.5}, 0.004, 0.9),
    ]
    with open("parity.json", "w") as f:
        json.dump({"made_by": f"make_parity.py with PyTorch {torch.__version__.split('+')[0]}", "cases": cases}, f)
        f.write("\n")
    for c in cases:
        print(c["name"], c["losses"])


if __name__ == "__main__":
    main()
