"""The field's evaluation traps as functions: each does on purpose what must not be done, so that its worth can be
measured. Nothing in the package computes a result with them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike

from mintad.data.images import resize_mask

SHRINK = ("nearest", "bilinear > 0", "bilinear > 0.5", "any pixel")
"""Ways in which published code makes a mask smaller."""


def flipped(value: ArrayLike) -> np.ndarray:
    """AUROC turned round where it is below one half: a detector that is worse than chance becomes better than it."""
    return np.maximum(value, 1 - np.asarray(value))


def coarse(scores: ArrayLike, levels: int) -> np.ndarray:
    """Scores on `levels` equal steps between their smallest and largest, as a picture file with few grey values keeps
    them. Makes ties."""
    scores = np.asarray(scores, dtype=float)
    span = max(float(np.ptp(scores)), 1e-12)
    return np.minimum(((scores - scores.min()) / span * levels).astype(int), levels - 1)


def ties_either_way(scores: ArrayLike, labels: ArrayLike) -> tuple[float, float, float]:
    """AUROC if every tie of an anomalous and a normal item is lost, counts half (the definition), is won.

    The outer two are what code gives that sorts scores and forgets ties; which of them depends on the order of the
    items in the file.
    """
    scores, labels = np.asarray(scores), np.asarray(labels).astype(bool)
    gap = scores[labels][:, None] - scores[~labels]
    lost, won = float((gap > 0).mean()), float((gap >= 0).mean())
    return lost, (lost + won) / 2, won


def shrink_masks(masks_nHW: np.ndarray, side: int, how: str) -> np.ndarray:
    """Boolean masks (n, side, side) from (n, H, W), in one of the ways of `SHRINK`.

    Raises:
        ValueError: unknown way.
    """
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
    """Share of all places in a picture of `native` pixels at which a defect of `width` x `width` pixels leaves no
    pixel in a mask that is resized to `side` by nearest neighbour."""
    places = np.arange(native - width + 1)
    rows = np.arange(native)
    one_axis = resize_mask((rows >= places[:, None]) & (rows < places[:, None] + width), (len(places), side))
    return float(1 - one_axis.any(axis=1).mean() ** 2)


@dataclass(frozen=True)
class Choice:
    """Mean AUROC over categories, one value for each split of the test set into halves."""

    chosen: np.ndarray
    """Of the model that looks best on the first half, on that half: what is published."""
    honest: np.ndarray
    """Of the same model on the second half, which had no say."""
    last: np.ndarray
    """Of the last model on the second half: what one gets without choosing."""


def choose_on_test(
    scores_Kn: np.ndarray,
    labels: ArrayLike,
    categories: ArrayLike,
    *,
    each_category: bool = False,
    splits: int = 200,
    seed: int = 0,
) -> Choice:
    """Choose the best of K models on one half of the test images, and look at the other half.

    Args:
        scores_Kn: (K, n) image scores of the K models, the last model last.
        labels: (n,) 1 for anomalous.
        categories: (n,) names.
        each_category: choose a model for each category instead of one for all.
        splits: random halves; normal and anomalous images of every category are halved each.
        seed: of the halves.
    """
    labels, categories = np.asarray(labels), np.asarray(categories)
    rng = np.random.default_rng(seed)
    tables = []
    for name in np.unique(categories):
        normal, anomalous = (np.flatnonzero((categories == name) & (labels == label)) for label in (0, 1))
        gap = scores_Kn[:, anomalous, None] - scores_Kn[:, None, normal]
        wins = (gap > 0) + 0.5 * (gap == 0)  # (K, anomalous, normal)
        halves = []
        for _ in range(splits):
            first_a, first_n = _half(len(anomalous), rng), _half(len(normal), rng)
            halves.append([wins[:, a][:, :, n].mean((1, 2)) for a, n in ((first_a, first_n), (~first_a, ~first_n))])
        tables.append(halves)
    first, second = np.moveaxis(np.array(tables), 2, 0)  # (categories, splits, K) each
    best = first.argmax(-1) if each_category else np.broadcast_to(first.mean(0).argmax(-1), first.shape[:2])
    picked, kept = (np.take_along_axis(half, best[..., None], -1)[..., 0].mean(0) for half in (first, second))
    return Choice(chosen=picked, honest=kept, last=second[..., -1].mean(0))


def _half(n: int, rng: np.random.Generator) -> np.ndarray:
    return rng.permutation(n) < n // 2
