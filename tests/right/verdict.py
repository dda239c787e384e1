"""Notebook 14."""

import math

import numpy as np
import torch
from scipy import stats


def judge_by_table(low, high, smallest):
    verdicts = {
        "too small": max(abs(low), abs(high)) < smallest,
        "supported": low > 0,
        "against": high < 0,
        "open": True,
    }
    return next(name for name, holds in verdicts.items() if holds)


def judge_by_signs(low, high, smallest):
    if abs(low) < smallest and abs(high) < smallest:
        return "too small"
    return {2.0: "supported", -2.0: "against"}.get(math.copysign(1, low) + math.copysign(1, high), "open")


def apart_by_means(values):
    rows, columns = np.mean(values, axis=1), np.mean(values, axis=0)
    return rows[1] - rows[0], columns[1] - columns[0], np.trace(values) - np.trace(np.fliplr(values))


def apart_by_contrasts(values):
    contrasts = torch.tensor([[-0.5, -0.5, 0.5, 0.5], [-0.5, 0.5, -0.5, 0.5], [1, -1, -1, 1]], dtype=torch.float64)
    return contrasts @ torch.as_tensor(values, dtype=torch.float64).flatten()


def repetitions_by_array(std, smallest):
    n = np.arange(2, 2_000)
    return n[stats.t.ppf(0.975, n - 1) * std / np.sqrt(n) <= smallest][0]


def repetitions_by_interval(std, smallest):
    n = 2
    while stats.t.interval(0.95, n - 1, scale=std / n**0.5)[1] > smallest:
        n += 1
    return torch.tensor(n)


RIGHT = {
    "verdict.judge": [judge_by_table, judge_by_signs],
    "verdict.apart": [apart_by_means, apart_by_contrasts],
    "verdict.repetitions": [repetitions_by_array, repetitions_by_interval],
}
