"""Checks of notebook 09: image score, AUROC with ties, average precision, threshold from held-out normals (§4.1)."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F

from mintad.course.checks.exercise import exercise
from mintad.course.checks.grading import Call, number, require, same

Array = np.ndarray


def reference_pooled_max(pixels: Array, window: int) -> float:
    """Return the largest mean of a window inside the map."""
    return float(F.avg_pool2d(torch.as_tensor(pixels)[None, None], window, stride=1).max())


@exercise(
    reference_pooled_max,
    "the largest window mean at any place, no padding",
    mistakes={
        "this is the largest pixel; average over windows first": lambda pixels, window: pixels.max(),
        "this is the largest *sum* of a window; divide by window * window": lambda pixels, window: (
            reference_pooled_max(pixels, window) * window**2
        ),
        "the windows do not overlap here; move them pixel by pixel (stride=1)": lambda pixels, window: F.avg_pool2d(
            torch.as_tensor(pixels)[None, None], window
        ).max(),
        "this is the mean of the window means; take the largest": lambda pixels, window: F.avg_pool2d(
            torch.as_tensor(pixels)[None, None], window, stride=1
        ).mean(),
    },
)
def check_pooled_max(call: Call, rng: np.random.Generator) -> None:
    """Check for the largest mean of a window x window square inside the map (H, W), at any place."""
    pixels = rng.random((9, 11)).astype(np.float32)
    spike, blob, corner = (np.zeros((side, side), np.float32) for side in (12, 12, 6))
    spike[6, 6], blob[5:8, 5:8], corner[0, 0] = 5.0, 1.0, 1.0
    same(call(pixels, 1), pixels.max(), "with a window of one pixel the result is the maximum of the map")
    same(call(spike, 3), 5 / 9, "one pixel of 5 among zeros has a largest 3 x 3 mean of 5 / 9")
    hint = "a blob of 3 x 3 ones must give 1 wherever it lies: move the window pixel by pixel (stride=1)"
    same(call(blob, 3), 1, hint)
    hint = "a single 1 in the corner gives 1 / 4, not {:.3g}: keep the windows inside the map, without padding"
    same(call(corner, 2), 0.25, hint)
    hint = "a map of -1 everywhere gives -1, not {:.3g}: zeros beside the map belong to no window, so do not pad"
    same(call(np.full((6, 6), -1, np.float32), 3), -1, hint)


def reference_auroc(scores: Array, labels: Array) -> float:
    """Return the share of pairs in order, ties counting half."""
    gap = scores[labels == 1][:, None] - scores[labels == 0]
    return float(((gap > 0) + 0.5 * (gap == 0)).mean())


@exercise(
    reference_auroc, "share of pairs in order, ties count half, below one half if the detector is worse than chance"
)
def check_auroc(call: Call, rng: np.random.Generator) -> None:
    """Check for the share of (anomalous, normal) pairs in which the anomalous item scores higher; a tie counts half."""
    hint = "scores .1 .4 .35 .8, labels 0 0 1 1: three of four pairs are in order, so 0.75, not {:.3g}"
    same(call(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1])), 0.75, hint)
    hint = "if no pair is in order the AUROC is 0, not {:.3g}; do not replace it by 1 - AUROC"
    same(call(np.array([3.0, 2.0, 1.0]), np.array([0, 0, 1])), 0, hint)
    hint = "if all scores are equal, every pair is a tie and counts half, so 0.5, not {:.3g}"
    same(call(np.ones(6), np.array([0, 1, 0, 1, 1, 1])), 0.5, hint)
    scores, labels = rng.integers(0, 5, 60).astype(float), rng.permutation(np.arange(60) % 3 // 2)
    expected = reference_auroc(scores, labels)
    same(call(scores, labels), expected, f"60 scores with many ties give {expected:.4f}, not {{:.4f}}")


def reference_average_precision(scores: Array, labels: Array) -> float:
    """Return the mean precision at the anomalous items."""
    return float(np.mean([labels[scores >= score].mean() for score in scores[labels == 1]]))


@exercise(reference_average_precision, "mean precision at the anomalous items, ties flagged together")
def check_average_precision(call: Call, rng: np.random.Generator) -> None:
    """Check for the mean precision at the scores of the anomalous items; ties are flagged together."""
    hint = "labels 1 0 1 0 by falling score: precisions 1/1 and 2/3, mean 5/6, not {:.4g}"
    same(call(np.array([4.0, 3.0, 2.0, 1.0]), np.array([1, 0, 1, 0])), 5 / 6, hint)
    hint = (
        "scores 3, 3, 2, 1, labels 1 1 0 1: precisions 1, 1 and 3/4, mean 11/12, not {:.4g}; "
        "each anomalous item counts, also if another one has its score"
    )
    same(call(np.array([3.0, 3.0, 2.0, 1.0]), np.array([1, 1, 0, 1])), 11 / 12, hint)
    scores, labels = rng.random(50), rng.permutation(np.arange(50) % 3 // 2)
    expected = reference_average_precision(scores, labels)
    hint = "average the precision over the anomalous items, no trapezia"
    same(call(scores, labels), expected, f"50 scores give {expected:.4f}, not {{:.4f}}; {hint}")
    hint = "four equal scores, two anomalous: every threshold flags all of them, precision 0.5, not {:.3g}"
    for labels in (np.array([1, 1, 0, 0]), np.array([0, 0, 1, 1])):
        same(call(np.ones(4), labels), 0.5, hint + "; the order of the items must not matter")


def reference_conformal_threshold(scores: Array, quantile: float) -> float:
    """Return the score of rank ceil((n + 1) * quantile)."""
    rank = math.ceil((len(scores) + 1) * quantile)
    return float(np.sort(scores)[rank - 1]) if rank <= len(scores) else math.inf


@exercise(reference_conformal_threshold, "rank ceil((n + 1) q), infinite if there are too few scores")
def check_conformal_threshold(call: Call, rng: np.random.Generator) -> None:
    """Check for the k-th smallest of n scores, k = ceil((n + 1) * quantile), and infinity if k is larger than n."""
    scores = rng.permutation(np.arange(1.0, 40.0))  # 1..39
    value = number(call(scores, 0.9))
    hint = "39 scores, quantile 0.9: the rank is ceil(40 * 0.9) = 36; use n + 1, because the new image counts too"
    require(value != 35, hint)
    same(value, 36, "scores 1 to 39 in any order, quantile 0.9: the 36th smallest is 36, not {:.4g}")
    hint = "quantile 0.51: 40 * 0.51 = 20.4, rounded up to rank 21, so 21, not {:.4g}; do not interpolate"
    same(call(scores, 0.51), 21, hint)
    hint = "10 scores, quantile 0.95: there is no score of rank 11, so the threshold is infinite"
    same(call(np.arange(1.0, 11.0), 0.95), math.inf, hint + " (math.inf), not {:.4g}")
    hint = "scores 1 1 1 2 3, quantile 0.5: the third smallest is 1, not {:.4g}; equal scores have a rank each"
    same(call(np.array([1.0, 1.0, 1.0, 2.0, 3.0]), 0.5), 1, hint)
