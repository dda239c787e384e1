"""Checks of notebook 09: image score, AUROC with ties, average precision, threshold from held-out normals (§4.1)."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

from mintad.course.checks.grading import call, number, passed, require


def reference_pooled_max(pixels: np.ndarray, window: int) -> float:
    """Return the largest mean of a window inside the map."""
    return float(F.avg_pool2d(torch.as_tensor(pixels)[None, None], window, stride=1).max())


def check_pooled_max(fn: Callable[..., float]) -> None:
    """Check for the largest mean of a window x window square inside the map (H, W), at any place."""
    takes = "pixels, window"
    pixels = np.random.default_rng(0).random((9, 11)).astype(np.float32)
    value = number(call(fn, pixels, 1, takes=takes))
    require(
        math.isclose(value, pixels.max(), rel_tol=1e-5),
        "with a window of one pixel the result is the maximum of the map",
    )
    spike, blob = np.zeros((12, 12), np.float32), np.zeros((12, 12), np.float32)
    spike[6, 6], blob[5:8, 5:8] = 5.0, 1.0
    value = number(call(fn, spike, 3, takes=takes))
    require(math.isclose(value, 5 / 9, rel_tol=1e-5), "one pixel of 5 among zeros has a largest 3 x 3 mean of 5 / 9")
    value = number(call(fn, blob, 3, takes=takes))
    hint = "a blob of 3 x 3 ones must give 1 wherever it lies: move the window pixel by pixel (stride=1)"
    require(math.isclose(value, 1, rel_tol=1e-5), hint)
    corner = np.zeros((6, 6), np.float32)
    corner[0, 0] = 1.0
    value = number(call(fn, corner, 2, takes=takes))
    hint = f"a single 1 in the corner gives 1 / 4, not {value:.3g}: keep the windows inside the map, without padding"
    require(math.isclose(value, 0.25, rel_tol=1e-5), hint)
    passed(fn, "pooled_max: the largest window mean at any place, no padding")


def reference_auroc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of pairs in order, ties counting half."""
    gap = scores[labels == 1][:, None] - scores[labels == 0]
    return float(((gap > 0) + 0.5 * (gap == 0)).mean())


def check_auroc(fn: Callable[..., float]) -> None:
    """Check for the share of (anomalous, normal) pairs in which the anomalous item scores higher; a tie counts half."""
    takes = "scores, labels"
    value = number(call(fn, np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1]), takes=takes))
    hint = f"scores .1 .4 .35 .8, labels 0 0 1 1: three of four pairs are in order, so 0.75, not {value:.3g}"
    require(math.isclose(value, 0.75), hint)
    value = number(call(fn, np.array([3.0, 2.0, 1.0]), np.array([0, 0, 1]), takes=takes))
    require(value == 0, f"if no pair is in order the AUROC is 0, not {value:.3g}; do not replace it by 1 - AUROC")
    value = number(call(fn, np.ones(6), np.array([0, 1, 0, 1, 1, 1]), takes=takes))
    require(
        math.isclose(value, 0.5),
        f"if all scores are equal, every pair is a tie and counts half, so 0.5, not {value:.3g}",
    )
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(0, 5, 60).astype(float), rng.integers(0, 2, 60)
    value, expected = number(call(fn, scores, labels, takes=takes)), reference_auroc(scores, labels)
    require(
        math.isclose(value, expected, rel_tol=1e-9), f"60 scores with many ties give {expected:.4f}, not {value:.4f}"
    )
    passed(fn, "auroc: share of pairs in order, ties count half, below one half if the detector is worse than chance")


def reference_average_precision(scores: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean precision at the anomalous items."""
    total = 0.0
    for threshold in np.unique(scores[labels == 1]):
        flagged = scores >= threshold
        total += labels[flagged].mean() * (scores[labels == 1] == threshold).sum()
    return float(total / labels.sum())


def check_average_precision(fn: Callable[..., float]) -> None:
    """Check for the mean precision at the scores of the anomalous items; ties are flagged together."""
    takes = "scores, labels"
    value = number(call(fn, np.array([4.0, 3.0, 2.0, 1.0]), np.array([1, 0, 1, 0]), takes=takes))
    hint = f"labels 1 0 1 0 by falling score: precisions 1/1 and 2/3, mean 5/6, not {value:.4g}"
    require(math.isclose(value, 5 / 6), hint)
    rng = np.random.default_rng(1)
    scores, labels = rng.random(50), rng.integers(0, 2, 50)
    value, expected = number(call(fn, scores, labels, takes=takes)), reference_average_precision(scores, labels)
    hint = (
        f"50 scores give {expected:.4f}, not {value:.4f}; average the precision over the anomalous items, no trapezia"
    )
    require(math.isclose(value, expected, rel_tol=1e-9), hint)
    for labels in (np.array([1, 1, 0, 0]), np.array([0, 0, 1, 1])):
        value = number(call(fn, np.ones(4), labels, takes=takes))
        hint = f"four equal scores, two anomalous: every threshold flags all of them, precision 0.5, not {value:.3g}"
        require(math.isclose(value, 0.5), hint + "; the order of the items must not matter")
    passed(fn, "average_precision: mean precision at the anomalous items, ties flagged together")


def reference_conformal_threshold(scores: np.ndarray, quantile: float) -> float:
    """Return the score of rank ceil((n + 1) * quantile)."""
    rank = math.ceil((len(scores) + 1) * quantile)
    return float(np.sort(scores)[rank - 1]) if rank <= len(scores) else math.inf


def check_conformal_threshold(fn: Callable[..., float]) -> None:
    """Check for the k-th smallest of n scores, k = ceil((n + 1) * quantile), and infinity if k is larger than n."""
    takes = "scores, quantile"
    scores = np.random.default_rng(0).permutation(np.arange(1.0, 40.0))  # 1..39
    value = number(call(fn, scores, 0.9, takes=takes))
    require(
        value != 35,
        "39 scores, quantile 0.9: the rank is ceil(40 * 0.9) = 36; use n + 1, because the new image counts too",
    )
    require(value == 36, f"scores 1 to 39 in any order, quantile 0.9: the 36th smallest is 36, not {value:.4g}")
    value = number(call(fn, scores, 0.51, takes=takes))
    require(
        value == 21,
        f"quantile 0.51: 40 * 0.51 = 20.4, rounded up to rank 21, so 21, not {value:.4g}; do not interpolate",
    )
    value = number(call(fn, np.arange(1.0, 11.0), 0.95, takes=takes))
    hint = "10 scores, quantile 0.95: there is no score of rank 11, so the threshold is infinite"
    require(value == math.inf, f"{hint} (math.inf), not {value:.4g}")
    passed(fn, "conformal_threshold: rank ceil((n + 1) q), infinite if there are too few scores")
