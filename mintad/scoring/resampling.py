"""Intervals over test images: how far an AUROC or a TPR would move with other images of the same kinds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

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
    value, drawn = dict.fromkeys(scores, 0.0), {name: np.zeros(draws) for name in scores}
    count = len(np.unique(groups_n))
    for normal, anomalous, rows, columns in _draws_of_groups(labels_n, groups_n, draws, seed):
        for name, all_scores in scores.items():
            wins = _wins(np.asarray(all_scores)[normal], np.asarray(all_scores)[anomalous])
            value[name] += float(wins.mean()) / count
            drawn[name] += wins[rows[:, :, None], columns[:, None, :]].mean(axis=(1, 2)) / count
    return value, drawn


def resampled_tprs(
    scores: ArrayLike, labels_n: ArrayLike, groups_n: ArrayLike, fpr: float, *, draws: int = 1000, seed: int = 0
) -> np.ndarray:
    """Return the bootstrap (draws,) of the mean of the groups' TPR at a false positive rate, see `resampled_aurocs`.

    The threshold is taken anew in every draw. For the value itself see `StreamingRanking.tpr_at`.
    """
    scores_n, drawn, count = np.asarray(scores), np.zeros(draws), len(np.unique(groups_n))
    for normal, anomalous, rows, columns in _draws_of_groups(labels_n, groups_n, draws, seed):
        above = int(np.floor(len(normal) * fpr + 1e-9))  # normal images that may be called anomalous
        normal_dn, anomalous_dm = np.sort(scores_n[normal][rows], axis=1), scores_n[anomalous][columns]
        limit_d1 = normal_dn[:, [-1 - above]] if above < len(normal) else np.full((draws, 1), -np.inf)
        drawn += (anomalous_dm > limit_d1).mean(axis=1) / count
    return drawn


def _draws_of_groups(
    labels_n: ArrayLike, groups_n: ArrayLike, draws: int, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Yield of every group the indices of normal (n,) and anomalous (m,) images, and draws (draws, n or m) of them."""
    labels, groups, rng = np.asarray(labels_n), np.asarray(groups_n), np.random.default_rng(seed)
    for group in np.unique(groups):
        normal, anomalous = (np.flatnonzero((groups == group) & (labels == kind)) for kind in (0, 1))
        if not (len(normal) and len(anomalous)):
            problem = f"needs normal and anomalous images, here {len(normal)}, {len(anomalous)}"
            raise MetricError(f"{group}: the bootstrap {problem}")
        rows = rng.integers(len(normal), size=(draws, len(normal)))
        yield normal, anomalous, rows, rng.integers(len(anomalous), size=(draws, len(anomalous)))


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
