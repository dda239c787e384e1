"""Notebook 09."""

import math

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from scipy.stats import rankdata


def pooled_max_of_views(pixels, window):
    return sliding_window_view(pixels, (window, window)).mean(axis=(2, 3)).max()


def pooled_max_by_loop(pixels, window):
    rows, columns = pixels.shape
    places = [(y, x) for y in range(rows - window + 1) for x in range(columns - window + 1)]
    return max(float(pixels[y : y + window, x : x + window].mean(dtype=float)) for y, x in places)


def auroc_of_ranks(scores, labels):
    ranks, n = rankdata(scores), (labels == 1).sum()
    return (ranks[labels == 1].sum() - n * (n + 1) / 2) / (n * (len(labels) - n))


def auroc_by_loop(scores, labels):
    wins, pairs = 0.0, 0
    for anomalous in scores[labels == 1]:
        for normal in scores[labels == 0]:
            wins += 1 if anomalous > normal else 0.5 if anomalous == normal else 0
            pairs += 1
    return torch.tensor(wins / pairs)


def precision_by_levels(scores, labels):
    total = 0.0
    for level in np.unique(scores):
        total += labels[scores >= level].mean() * labels[scores == level].sum()
    return total / labels.sum()


def precision_of_matrix(scores, labels):
    flagged = torch.as_tensor(scores)[None] >= torch.as_tensor(scores)[:, None]
    right = torch.as_tensor(labels, dtype=torch.float64)
    precision = (flagged * right).sum(1) / flagged.sum(1)
    return precision[right == 1].mean()


def threshold_by_partition(scores, quantile):
    rank = math.ceil((len(scores) + 1) * quantile)
    return np.partition(scores, rank - 1)[rank - 1] if rank <= len(scores) else np.inf


def threshold_with_infinity(scores, quantile):
    ordered = [*sorted(scores.tolist()), float("inf")]
    return ordered[math.ceil(len(ordered) * quantile) - 1]


RIGHT = {
    "scoring.pooled_max": [pooled_max_of_views, pooled_max_by_loop],
    "scoring.auroc": [auroc_of_ranks, auroc_by_loop],
    "scoring.average_precision": [precision_by_levels, precision_of_matrix],
    "scoring.conformal_threshold": [threshold_by_partition, threshold_with_infinity],
}
