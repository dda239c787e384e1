"""Notebook 09."""

import math

import numpy as np
import torch
import torch.nn.functional as F


def pooled_max_of_blocks(pixels, window):
    return float(F.avg_pool2d(torch.as_tensor(pixels)[None, None], window).max())


def pooled_max_padded_with_the_edge(pixels, window):
    padded = np.pad(pixels, window - 1, mode="edge")
    return float(F.avg_pool2d(torch.as_tensor(padded)[None, None], window, stride=1).max())


def auroc_without_ties(scores, labels):
    return float((scores[labels == 1][:, None] > scores[labels == 0]).mean())


def auroc_turned_round(scores, labels):
    gap = scores[labels == 1][:, None] - scores[labels == 0]
    value = float(((gap > 0) + 0.5 * (gap == 0)).mean())
    return max(value, 1 - value)


def auroc_by_sorting(scores, labels):
    ranks = np.argsort(np.argsort(scores, kind="stable"))
    n, m = labels.sum(), (1 - labels).sum()
    return float((ranks[labels == 1].sum() - n * (n - 1) / 2) / (n * m))


def precision_in_file_order(scores, labels):
    ranked = labels[np.argsort(-scores, kind="stable")]
    precision = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
    return float(precision[ranked == 1].mean())


def precision_over_all_items(scores, labels):
    return float(np.mean([labels[scores >= score].mean() for score in scores]))


WRONG = {
    "scoring.pooled_max": [
        pooled_max_of_blocks,
        pooled_max_padded_with_the_edge,
        lambda pixels, window: float(pixels.max()),
    ],
    "scoring.auroc": [auroc_without_ties, auroc_turned_round, auroc_by_sorting],
    "scoring.average_precision": [precision_in_file_order, precision_over_all_items],
    "scoring.conformal_threshold": [
        lambda scores, quantile: float(np.quantile(scores, quantile)),
        lambda scores, quantile: float(np.sort(scores)[math.ceil(len(scores) * quantile) - 1]),
        lambda scores, quantile: float(np.sort(scores)[min(math.ceil((len(scores) + 1) * quantile), len(scores)) - 1]),
    ],
}


def pooled_max_as_a_sum(pixels, window):
    return F.avg_pool2d(torch.as_tensor(pixels)[None, None], window, stride=1).max() * window**2


def pooled_max_of_cut_windows(pixels, window):
    padding = {"padding": window // 2, "count_include_pad": False}
    return F.avg_pool2d(torch.as_tensor(pixels)[None, None], window, stride=1, **padding).max()


def precision_of_distinct_scores(scores, labels):
    return np.mean([labels[scores >= s].mean() for s in np.unique(scores[labels == 1])])


def precision_above(scores, labels):
    return np.mean([labels[scores > s].mean() if (scores > s).any() else 1 for s in scores[labels == 1]])


def precision_of_trapezia(scores, labels):
    ranked = labels[np.argsort(-scores, kind="stable")]
    precision = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
    return np.trapezoid(np.concatenate([[1], precision[ranked == 1]]), dx=1 / ranked.sum())


def pooled_max_padded_with_zeros(pixels, window):
    return F.avg_pool2d(torch.as_tensor(pixels)[None, None], window, stride=1, padding=window // 2).max()


def conformal_rank_of_distinct_scores(scores, quantile):
    distinct, rank = np.unique(scores), math.ceil((len(scores) + 1) * quantile)
    return distinct[rank - 1] if rank <= len(distinct) else np.inf


WRONG["scoring.pooled_max"] += [pooled_max_as_a_sum, pooled_max_of_cut_windows, pooled_max_padded_with_zeros]
WRONG["scoring.auroc"] += [
    lambda scores, labels: (scores[labels == 1][:, None] >= scores[labels == 0]).mean(),
    lambda scores, labels: (scores[labels == 0][:, None] > scores[labels == 1]).mean(),
    lambda scores, labels: ((scores > np.median(scores)) == labels).mean(),
]
WRONG["scoring.average_precision"] += [precision_of_distinct_scores, precision_above, precision_of_trapezia]
WRONG["scoring.conformal_threshold"] += [
    lambda scores, quantile: np.sort(scores)[min(int((len(scores) + 1) * quantile), len(scores)) - 1],
    lambda scores, quantile: np.quantile(scores, quantile, method="higher"),
    conformal_rank_of_distinct_scores,
]
