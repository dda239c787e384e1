"""Pitfalls of evaluation as functions (notebook 09).

Each function does on purpose what an evaluation must not do, so that its effect can be measured. Nothing in the package
computes a result with them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike

from mintad.data.images import resize_mask

SHRINK = ("nearest", "bilinear > 0", "bilinear > 0.5", "any pixel")
"""Ways in which published code resizes a mask to fewer pixels."""


def flipped(value: ArrayLike) -> np.ndarray:
    """Replace an AUROC below one half by 1 - AUROC: a detector worse than chance then looks better than chance."""
    return np.maximum(value, 1 - np.asarray(value))


def coarse(scores: ArrayLike, levels: int) -> np.ndarray:
    """Quantise scores to `levels` equal steps between their smallest and largest, which makes ties.

    Scores that were stored in a picture file with few grey values look like this.
    """
    scores = np.asarray(scores, dtype=float)
    span = max(float(np.ptp(scores)), 1e-12)
    return np.minimum(((scores - scores.min()) / span * levels).astype(int), levels - 1)


def ties_either_way(scores: ArrayLike, labels: ArrayLike) -> tuple[float, float, float]:
    """Compute the AUROC three times: every tie of an anomalous and a normal item lost, counted half, won.

    Counting half is the definition. Code that sorts scores and forgets ties gives one of the other two, depending on
    the order of the items in the file.
    """
    scores, labels = np.asarray(scores), np.asarray(labels).astype(bool)
    gap = scores[labels][:, None] - scores[~labels]
    lost, won = float((gap > 0).mean()), float((gap >= 0).mean())
    return lost, (lost + won) / 2, won


def shrink_masks(masks_nHW: np.ndarray, side: int, how: str) -> np.ndarray:
    """Resize boolean masks (n, H, W) to (n, side, side) in a way of `SHRINK`; raise `ValueError` for another."""
    if how not in SHRINK:
        raise ValueError(f"how must be one of {', '.join(SHRINK)}, not {how!r}")
    size = (side, side)
    if how == "nearest":
        return np.stack([resize_mask(mask, size) for mask in masks_nHW])
    values_BCHW = torch.from_numpy(np.asarray(masks_nHW, dtype=np.float32))[:, None]
    if how == "any pixel":
        return F.adaptive_max_pool2d(values_BCHW, size)[:, 0].numpy() > 0
    values_BHW = F.interpolate(values_BCHW, size=size, mode="bilinear", align_corners=False)[:, 0].numpy()
    return values_BHW > (0.5 if how.endswith("0.5") else 0)


def vanished_share(width: int, native: int, side: int) -> float:
    """Return the share of places at which a square defect vanishes from a mask resized by nearest neighbour.

    The defect is `width` pixels wide, the picture `native`, the resized mask `side`.
    """
    first = np.arange(native - width + 1)[:, None]
    rows = np.arange(native)
    intervals = (rows >= first) & (rows < first + width)  # along one axis, for every place
    resized = resize_mask(intervals, (len(first), side))
    return float(1 - resized.any(axis=1).mean() ** 2)


@dataclass(frozen=True)
class Choice:
    """Mean AUROC over categories, one value for each split of the test set into halves."""

    chosen: np.ndarray
    """The model that looks best on the first half, measured on that half: what would be published."""
    honest: np.ndarray
    """The same model on the second half, which took no part in the choice."""
    last: np.ndarray
    """The last model on the second half: the result without any choice."""


def choose_on_test(
    scores_Kn: np.ndarray,
    labels: ArrayLike,
    categories: ArrayLike,
    *,
    each_category: bool = False,
    splits: int = 200,
    seed: int = 0,
) -> Choice:
    """Choose the best of K models (the last one last) on one half of the test images, and measure it on both halves.

    With `each_category` a model is chosen for each category instead of one for all. Every split halves the normal and
    the anomalous images of each category separately.
    """
    labels, categories = np.asarray(labels), np.asarray(categories)
    rng = np.random.default_rng(seed)
    masks = [categories == name for name in np.unique(categories)]
    aurocs = np.stack([_half_aurocs(scores_Kn[:, mask], labels[mask], splits, rng) for mask in masks])
    first, second = np.moveaxis(aurocs, 2, 0)  # (categories, splits, K) each
    best = first.argmax(-1) if each_category else np.broadcast_to(first.mean(0).argmax(-1), first.shape[:2])
    chosen, honest = (np.take_along_axis(half, best[..., None], -1)[..., 0].mean(0) for half in (first, second))
    return Choice(chosen=chosen, honest=honest, last=second[..., -1].mean(0))


def _half_aurocs(scores_Kn: np.ndarray, labels: np.ndarray, splits: int, rng: np.random.Generator) -> np.ndarray:
    """Return the AUROC of each model on both halves of one category's images, (splits, 2, K)."""
    normal, anomalous = (np.flatnonzero(labels == label) for label in (0, 1))
    gap = scores_Kn[:, anomalous, None] - scores_Kn[:, None, normal]
    wins = (gap > 0) + 0.5 * (gap == 0)  # (K, anomalous, normal)
    aurocs = []
    for _ in range(splits):
        rows, columns = (rng.permutation(len(kind)) < len(kind) // 2 for kind in (anomalous, normal))
        aurocs.append([wins[:, r][:, :, c].mean((1, 2)) for r, c in ((rows, columns), (~rows, ~columns))])
    return np.array(aurocs)
