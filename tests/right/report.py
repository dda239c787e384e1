"""Notebook 12."""

import statistics
from decimal import Decimal

import numpy as np
import torch


def rounded_by_decimal(values):
    std = Decimal(statistics.stdev(values))
    std = round(std, -std.adjusted())
    return f"{statistics.fmean(values):.{-std.adjusted()}f} ± {float(std):.{-std.adjusted()}f}"


def rounded_by_format(values):
    values = torch.tensor(values, dtype=torch.float64)
    text = np.format_float_positional(values.std().item(), precision=1, fractional=False)
    return f"{values.mean().item():.{len(text.split('.')[1])}f} ± {text}"


def ranks_by_sorting(differences):
    kept = sorted((d for d in differences.tolist() if d), key=abs)
    up = down = 0.0
    for d in kept:
        same = [n + 1 for n, other in enumerate(kept) if abs(other) == abs(d)]
        rank = sum(same) / len(same)
        up, down = (up + rank, down) if d > 0 else (up, down + rank)
    return up, down


def ranks_by_pairs(differences):
    d = differences[differences != 0]
    ranks = 0.5 + (np.sign(np.abs(d)[:, None] - np.abs(d)) / 2 + 0.5).sum(1)
    return np.array([ranks[d > 0].sum(), ranks[d < 0].sum()])


def bootstrap_by_choice(a, b, draws, rng):
    return rng.choice(a - b, size=(draws, len(a)), replace=True).mean(axis=1)


def bootstrap_by_loop(a, b, draws, rng):
    total = np.zeros(draws)
    for _ in a:
        rows = rng.integers(0, len(a), draws)
        total += a[rows] - b[rows]
    return list(total / len(a))


def holm_by_loop(p_values):
    adjusted, largest = [0.0] * len(p_values), 0.0
    for k, n in enumerate(np.argsort(p_values)):
        largest = max(largest, (len(p_values) - k) * p_values[n])
        adjusted[n] = min(1, largest)
    return adjusted


def holm_by_definition(p_values):
    p = torch.as_tensor(p_values)
    corrected = (p[None] >= p[:, None]).sum(1) * p
    return torch.stack([corrected[p <= own].max().clamp(max=1) for own in p])


RIGHT = {
    "report.mean_std": [rounded_by_decimal, rounded_by_format],
    "report.signed_ranks": [ranks_by_sorting, ranks_by_pairs],
    "report.paired_bootstrap": [bootstrap_by_choice, bootstrap_by_loop],
    "report.holm": [holm_by_loop, holm_by_definition],
}
