"""PyTorch's side of the comparison: reads requests from standard input, answers on standard output.

Both are lines of JSON; bench/protocol.go describes them. Started by the harness, once for each number of threads and
each instruction set: torch_peer.py THREADS
"""

import json
import math
import os
import sys
import time
import traceback

import numpy as np
import torch
from torch._inductor import config as inductor_config

from losses import make_loss
from net import Embedder, Net, read_tensors


def split_variant(variant):
    """Splits "channels_last+compile/256" into {"channels_last", "compile"} and 256."""
    parts, _, batch = variant.partition("/")
    return set(parts.split("+")), int(batch or 0)


class Train:
    """Steps of training on one batch, as training.Run takes them: forward, loss, backward, SGD."""

    def __init__(self, work, variant):
        self.parts, _ = split_variant(variant)
        tensors = read_tensors(work["tensors"])
        self.input = tensors.pop("input")
        self.net = Net(work["architecture"], work.get("head"))
        self.net.load(tensors)
        self.net.train()
        if "channels_last" in self.parts:
            self.net = self.net.to(memory_format=torch.channels_last)
            self.input = self.input.to(memory_format=torch.channels_last)
        self.loss = make_loss(work["loss"], work["groups"])
        decayed, others = [], []
        for name, p in self.net.named_parameters():
            if p.requires_grad:
                # Batch normalisation's scales and all biases are vectors.
                (decayed if p.dim() > 1 else others).append(p)
        self.optimizer = torch.optim.SGD(
            [
                {"params": decayed, "weight_decay": work["weight_decay"]},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=work["rate"], momentum=work["momentum"], nesterov=work["nesterov"], fused=True,
        )
        self.rate = work["rate"]
        self.forward = self.whole
        if "compile" in self.parts:
            inductor_config.freezing = False
            self.forward = torch.compile(self.whole, dynamic=False)

    def whole(self, x):
        return self.loss(self.net(x))

    def step(self):
        if "bf16" in self.parts:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                e = self.net(self.input)
            loss = self.loss(e.float())
        else:
            loss = self.forward(self.input)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss

    def set_rate(self, rate):
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def run(self, count):
        for _ in range(count):
            loss = self.step()
        return float(loss.detach())

    def losses(self, count, rate):
        self.set_rate(rate)
        out = [float(self.step().detach()) for _ in range(count)]
        self.set_rate(self.rate)
        return out


class Embed:
    """Embeddings of images, batch by batch, from bytes in memory."""

    def __init__(self, work, variant):
        parts, self.batch = split_variant(variant)
        self.one_by_one = work.get("one_by_one", False)
        a = work["architecture"]
        size = a["input_size"]
        self.pixels = torch.from_numpy(np.fromfile(work["pixels"], np.uint8).reshape(-1, size, size, 3))
        net = Net(a)
        net.load(read_tensors(work["tensors"]))
        net.eval()
        last = "channels_last" in parts
        if last:
            net = net.to(memory_format=torch.channels_last)
        m = Embedder(net, a, last).eval()
        example = self.pixels[: self.batch]
        if "jit" in parts:
            with torch.inference_mode():
                m = torch.jit.freeze(torch.jit.trace(m, example))
                m = torch.jit.optimize_for_inference(m)
        if "compile" in parts:
            inductor_config.freezing = True  # weights become constants, batch normalisation is folded
            m = torch.compile(m, dynamic=False)
        self.module = m

    def embed(self, images):
        # A last batch that is not full is filled up: some code was made for one size of batch.
        with torch.inference_mode():
            out = []
            for i in range(0, len(images), self.batch):
                part = images[i : i + self.batch]
                n = len(part)
                if n < self.batch:
                    part = torch.cat([part, self.pixels[: self.batch - n]])
                out.append(self.module(part)[:n])
            return torch.cat(out) if len(out) > 1 else out[0]

    def run(self, count):
        if self.one_by_one:
            for i in range(count):
                out = self.embed(self.pixels[i : i + 1])
        else:
            out = self.embed(self.pixels[:count])
        return float(out[0, 0])

    def embeddings(self, count):
        return self.embed(self.pixels[:count]).float().flatten().tolist()


def about():
    return {
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": str(torch.get_num_threads()),
        "config": torch.__config__.show(),
    }


def finite(values):
    if not all(map(math.isfinite, values)):
        raise ValueError(f"the results are not finite: {values[:8]}")
    return values


class Server:
    def __init__(self):
        self.jobs = {}

    def answer(self, request):
        do, name = request["do"], request.get("job", "")
        if do == "about":
            return {"about": about()}
        if do == "prepare":
            torch.manual_seed(1)
            work = request["work"]
            kind = {"train": Train, "embed": Embed}[work["kind"]]
            self.jobs[name] = kind(work, request["variant"])
            return {}
        if do == "forget":
            self.jobs.pop(name, None)
            return {}
        job = self.jobs[name]
        if do == "run":
            spent, begun = time.process_time(), time.perf_counter()
            value = job.run(request["count"])
            seconds, spent = time.perf_counter() - begun, time.process_time() - spent
            if not math.isfinite(value):
                raise ValueError(f"the result is {value}")
            return {"seconds": seconds, "processor": spent, "value": value}
        if do == "losses":
            return {"values": finite(job.losses(request["count"], request["rate"]))}
        if do == "embeddings":
            return {"values": finite(job.embeddings(request["count"]))}
        raise ValueError(f"request {do!r}")


def main():
    threads = int(sys.argv[1])
    torch.set_num_threads(threads)
    # Whatever a library prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    server = Server()
    idle = None
    for line in sys.stdin:
        spent = time.process_time()
        try:
            reply = server.answer(json.loads(line))
        except Exception as e:  # the harness says what cannot be measured, and goes on
            traceback.print_exc()
            reply = {"error": f"{type(e).__name__}: {e}"}
        if idle is not None:
            reply["idle_seconds"] = spent - idle  # of the processor, since the answer before
        answers.write(json.dumps(reply) + "\n")
        answers.flush()
        idle = time.process_time()


if __name__ == "__main__":
    main()
