#!/usr/bin/env python3
"""Writes adamw.json: what torch.optim.AdamW makes of two parameters, one of them without weight decay, in float64 from
float32 values: first values, the gradients of eight steps, their learning rates, and the values after each step.

Needs Python 3 and torch. Run in this folder: python3 make_adamw.py
"""

import json

import torch

STEPS = 8


def short(values):
    """Enough digits for a float32."""
    return [float(f"{v:.9g}") for v in values.flatten().tolist()]


def exact(values):
    return [float(f"{v:.15g}") for v in values.flatten().tolist()]


def case(beta1, beta2, epsilon, decay):
    torch.manual_seed(7)
    weight, bias = torch.randn(3, 5), torch.randn(4)
    parameters = [torch.nn.Parameter(p.double()) for p in (weight, bias)]
    solver = torch.optim.AdamW(
        [{"params": parameters[:1], "weight_decay": decay}, {"params": parameters[1:], "weight_decay": 0.0}],
        betas=(beta1, beta2), eps=epsilon)
    out = {"beta1": beta1, "beta2": beta2, "epsilon": epsilon, "weight_decay": decay,
           "first": [short(weight), short(bias)], "steps": []}
    for step in range(STEPS):
        rate = 0.1 / (step + 1)
        gradients = [torch.randn_like(weight) * 10.0 ** (step % 3 - 2), torch.randn_like(bias)]
        for group in solver.param_groups:
            group["lr"] = rate
        for p, g in zip(parameters, gradients):
            p.grad = g.double()
        solver.step()
        out["steps"].append({"rate": rate, "gradients": [short(g) for g in gradients],
                             "after": [exact(p.detach()) for p in parameters]})
    return out


def main():
    torch.set_num_threads(1)
    cases = [case(0.9, 0.999, 1e-8, 0.05), case(0.8, 0.95, 1e-3, 0.0)]
    with open("adamw.json", "w") as f:
        json.dump({"made_by": f"make_adamw.py with PyTorch {torch.__version__.split('+')[0]}", "cases": cases}, f)
        f.write("\n")


if __name__ == "__main__":
    main()
