"""Metrics of a ranking: how well scores put anomalous items above normal ones (§4.1: I-AUROC and P-AUPR)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike

from mintad.errors import MintadError

BLOCK = 1 << 22
"""Normal scores that are gathered before they are sorted (16 MB in float32)."""


class MetricError(MintadError, ValueError):
    """Scores or labels for which the metric is not defined."""


class UndefinedMetricError(MetricError):
    """Normal or anomalous items are missing, so that the metric has no value."""


class StreamingRanking:
    """Ranking metrics over scores that arrive in pieces, such as the pixels of one image at a time.

    Exact, whatever the pieces. Every metric here changes only at scores of anomalous items, so the normal ones are
    merely counted between these, in sorted blocks; all scores together are never sorted.
    """

    def __init__(self) -> None:
        self._anomalous: list[np.ndarray] = []
        self._blocks: list[np.ndarray] = []  # normal scores, each sorted
        self._recent: list[np.ndarray] = []  # normal scores that are not yet in a block
        self._counts: Counts | None = None

    def update(self, scores: ArrayLike, labels: ArrayLike) -> StreamingRanking:
        """Add scores and their labels (1 or True = anomalous), of any equal shape; return the ranking.

        Raises:
            MetricError: shapes differ, scores are not finite numbers, labels are not 0 and 1.
        """
        scores, labels = np.asarray(scores), np.asarray(labels)
        if scores.shape != labels.shape:
            raise MetricError(f"scores {scores.shape} and labels {labels.shape} must have the same shape")
        anomalous = _as_bool(labels).ravel()
        scores = _as_float(scores).ravel()
        self._anomalous.append(scores[anomalous])
        self._recent.append(scores[~anomalous])
        if sum(map(len, self._recent)) >= BLOCK:
            self._sort_recent()
        self._counts = None
        return self

    @classmethod
    def merged(cls, rankings: Iterable[StreamingRanking]) -> StreamingRanking:
        """Return one ranking of all the items of several; the scores are shared, not copied."""
        whole = cls()
        for ranking in rankings:
            whole._absorb(ranking)
        return whole

    def auroc(self) -> float:
        """Return the probability that an anomalous item scores above a normal one, ties counting half.

        Raises `UndefinedMetricError`, as all metrics here do, where one of the two kinds is missing.
        """
        counts = self.counts("AUROC")
        wins = counts.anomalous @ (counts.normal_below + counts.normal_up_to) / 2
        return float(wins / (counts.anomalous.sum() * counts.normals))

    def tpr_at(self, fpr: float) -> float:
        """Return the largest true positive rate with a false positive rate of at most `fpr`, in [0, 1].

        Of n normal items, floor(n * fpr) may be called anomalous. Like `f1_max` it is an upper bound, because the
        threshold is taken on the same items. With n below 1 / fpr that is none, and on new items the rate may be up to
        1 / (n + 1): compare methods by it, but trust no interval of it (with n = 30 and 1 %, half of them fail).
        """
        counts = self.counts("TPR at a fixed FPR")
        allowed = counts.false_positives <= np.floor(counts.normals * fpr + 1e-9)
        return float(counts.true_positives[allowed].max(initial=0) / counts.anomalous.sum())

    def average_precision(self) -> float:
        """Return the area under the precision-recall curve as a step function, as scikit-learn does."""
        counts = self.counts("average precision")
        hits, alarms = counts.true_positives, counts.false_positives
        return float(counts.anomalous @ (hits / (hits + alarms)) / counts.anomalous.sum())

    def f1_max(self) -> tuple[float, float]:
        """Return the largest F1 over all thresholds, and the threshold (items at or above it are called anomalous).

        The threshold is chosen on the scores it is reported for, so the F1 is an upper bound.
        """
        counts = self.counts("F1-max")
        hits, alarms = counts.true_positives, counts.false_positives
        f1 = 2 * hits / (counts.anomalous.sum() + hits + alarms)
        best = int(np.argmax(f1))
        return float(f1[best]), float(counts.thresholds[best])

    def counts(self, metric: str) -> Counts:
        """Return what lies below and above every distinct anomalous score; `metric` is named in the error."""
        if self._counts is None:
            self._sort_recent()
            numbers = {"anomalous": sum(map(len, self._anomalous)), "normal": sum(map(len, self._blocks))}
            missing = [kind for kind, number in numbers.items() if number == 0]
            if missing:
                raise UndefinedMetricError(f"{metric} is not defined without {missing[0]} items ({numbers})")
            self._counts = Counts(np.concatenate(self._anomalous), self._blocks)
        return self._counts

    def _sort_recent(self) -> None:
        if self._recent:
            self._blocks.append(np.sort(np.concatenate(self._recent)))
            self._recent = []

    def _absorb(self, other: StreamingRanking) -> None:
        other._sort_recent()
        self._anomalous += other._anomalous
        self._blocks += other._blocks


class Counts:
    """Numbers of items at every distinct score of an anomalous item, in rising order: (T,) each."""

    def __init__(self, anomalous: np.ndarray, normal_blocks: list[np.ndarray]) -> None:
        self.thresholds, self.anomalous = np.unique(anomalous, return_counts=True)
        self.normals = sum(map(len, normal_blocks))
        self.normal_below = sum(np.searchsorted(block, self.thresholds, side="left") for block in normal_blocks)
        self.normal_up_to = sum(np.searchsorted(block, self.thresholds, side="right") for block in normal_blocks)

        self.true_positives = np.cumsum(self.anomalous[::-1])[::-1]  # anomalous items at or above each threshold
        self.false_positives = self.normals - self.normal_below


def auroc(scores: ArrayLike, labels: ArrayLike) -> float:
    """Return the area under the ROC curve, see `StreamingRanking.auroc`; never flipped."""
    return StreamingRanking().update(scores, labels).auroc()


def tpr_at(fpr: float, scores: ArrayLike, labels: ArrayLike) -> float:
    """Return the true positive rate at a false positive rate, see `StreamingRanking.tpr_at`."""
    return StreamingRanking().update(scores, labels).tpr_at(fpr)


def average_precision(scores: ArrayLike, labels: ArrayLike) -> float:
    """Return the average precision, the paper's AUPR, see `StreamingRanking.average_precision`."""
    return StreamingRanking().update(scores, labels).average_precision()


def f1_max(scores: ArrayLike, labels: ArrayLike) -> tuple[float, float]:
    """Return the largest F1 and its threshold, see `StreamingRanking.f1_max`."""
    return StreamingRanking().update(scores, labels).f1_max()


def _as_float(scores: np.ndarray) -> np.ndarray:
    if scores.dtype.kind not in "biuf" and scores.size:
        raise MetricError(f"scores must be numbers, not {scores.dtype}")
    scores = scores if scores.dtype.kind == "f" else scores.astype(np.float64)
    if not np.isfinite(scores).all():
        raise MetricError(f"{np.count_nonzero(~np.isfinite(scores))} of {scores.size} scores are not finite")
    return scores


def _as_bool(labels: np.ndarray) -> np.ndarray:
    if labels.dtype == bool:
        return labels
    if labels.dtype.kind not in "iuf" or not np.isin(labels, (0, 1)).all():
        raise MetricError(f"labels must be 0 or 1, not {np.unique(labels.astype(str))[:5].tolist()}")
    return labels.astype(bool)
