"""The losses of package training, vectorised."""

import torch


def distances(e):
    """Returns the Euclidean distances between the rows of e by one matrix product."""
    squares = (e * e).sum(1)
    d = squares[:, None] + squares[None, :] - 2 * (e @ e.t())
    return d.clamp_min(1e-12).sqrt()


class SmoothTriplet(torch.nn.Module):
    """Mean over all anchors of log(1 + sum over negatives n of exp((d(a,p) - d(a,n)) / temperature))."""

    def __init__(self, groups, temperature):
        super().__init__()
        n = 2 * groups
        row = torch.arange(n)
        positive = (row + groups) % n
        mask = torch.zeros(n, n)
        mask[row, row] = -torch.inf
        mask[row, positive] = -torch.inf
        self.register_buffer("row", row)
        self.register_buffer("positive", positive)
        self.register_buffer("mask", mask)
        self.temperature = temperature

    def forward(self, e):
        d = distances(e)
        dp = d[self.row, self.positive]
        x = (dp[:, None] - d) / self.temperature + self.mask
        return torch.nn.functional.softplus(torch.logsumexp(x, 1)).mean()


class NTXent(torch.nn.Module):
    """The normalised temperature-scaled cross entropy of SimCLR."""

    def __init__(self, groups, temperature):
        super().__init__()
        n = 2 * groups
        self.register_buffer("positive", (torch.arange(n) + groups) % n)
        self.register_buffer("mask", torch.zeros(n, n).fill_diagonal_(-torch.inf))
        self.temperature = temperature

    def forward(self, e):
        u = torch.nn.functional.normalize(e, dim=1)
        return torch.nn.functional.cross_entropy(u @ u.t() / self.temperature + self.mask, self.positive)


class ExplicitTriplets(torch.nn.Module):
    """Mean of max(d(a,p) - d(a,n) + margin, 0); anchors, positives and negatives are the thirds of the rows."""

    def __init__(self, groups, margin):
        super().__init__()
        self.groups = groups
        self.margin = margin

    def forward(self, e):
        a, p, n = e.split(self.groups)
        dp = (a - p).square().sum(1).clamp_min(1e-24).sqrt()
        dn = (a - n).square().sum(1).clamp_min(1e-24).sqrt()
        return torch.relu(dp - dn + self.margin).mean()


def make_loss(options, groups):
    """Returns the loss that training.LossOptions in JSON describe."""
    kind = options["loss"]
    if kind == "smooth-triplet":
        return SmoothTriplet(groups, options["temperature"])
    if kind == "nt-xent":
        return NTXent(groups, options["temperature"])
    if kind == "triplet" and options["miner"] == "random":
        return ExplicitTriplets(groups, options["margin"])
    raise ValueError(f"loss {options} has no counterpart here")
