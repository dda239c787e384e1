"""Intervals over test images: how far an AUROC would move with other images of the same kinds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from mintad.scoring.ranking import MetricError


def resampled_aurocs(
    scores: Mapping[str, ArrayLike], labels_n: ArrayLike, groups_n: ArrayLike, *, draws: int = 1000, seed: int = 0
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Return the mean of the groups' AUROCs of several detectors, and its bootstrap over the test images.

    Images are drawn with replacement within every group and label, the same for all detectors, so that draws may be
    subtracted from each other. The bootstrap says nothing about another training: that takes other seeds.

    Args:
        scores: detector -> scores (n,) of the same images; labels are 0 or 1, groups the categories, say.

    Returns:
        Detector -> value, and detector -> values of the draws (draws,).

    Raises:
        MetricError: a group without both kinds of images.
    """
    labels, groups = np.asarray(labels_n), np.asarray(groups_n)
    rng = np.random.default_rng(seed)
    value, drawn = dict.fromkeys(scores, 0.0), {name: np.zeros(draws) for name in scores}
    names = np.unique(groups)
    for group in names:
        normal, anomalous = (np.flatnonzero((groups == group) & (labels == kind)) for kind in (0, 1))
        if not (len(normal) and len(anomalous)):
            raise MetricError(f"{group}: AUROC needs normal and anomalous images, here {len(normal)}, {len(anomalous)}")
        rows = rng.integers(len(normal), size=(draws, len(normal)))
        columns = rng.integers(len(anomalous), size=(draws, len(anomalous)))
        for name, all_scores in scores.items():
            wins = _wins(np.asarray(all_scores)[normal], np.asarray(all_scores)[anomalous])
            value[name] += float(wins.mean()) / len(names)
            drawn[name] += wins[rows[:, :, None], columns[:, None, :]].mean(axis=(1, 2)) / len(names)
    return value, drawn


def mean_over_seeds(draws: Sequence[np.ndarray], *, seed: int = 1) -> np.ndarray:
    """Return draws (draws,) of a mean over seeds: of each seed's draws, the seeds drawn with replacement, too.

    With two or three seeds, the part of the spread that comes from seeds is too small, by about sqrt(1/2) or sqrt(2/3).
    """
    draws_sd = np.stack(draws)
    chosen_sd = np.random.default_rng(seed).integers(len(draws_sd), size=draws_sd.shape)
    return np.take_along_axis(draws_sd, chosen_sd, axis=0).mean(axis=0)


def interval(draws: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Return the percentile interval of bootstrap draws."""
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _wins(normal: np.ndarray, anomalous: np.ndarray) -> np.ndarray:
    """Return 1 where the anomalous image scores higher, 1/2 where both are equal; their mean is AUROC."""
    return (anomalous > normal[:, None]) + 0.5 * (anomalous == normal[:, None])
