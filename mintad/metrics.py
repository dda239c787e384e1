"""Detection and localisation metrics (§4.1): exact, ties handled, and never a value where there is none.

Image AUROC and pixel AP (the paper's P-AUPR) are taken per category and then averaged; the pooled value ranks all
categories on one scale, which is what one threshold for all products would meet.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import ndimage

from mintad.errors import MintadError

log = logging.getLogger(__name__)


class MetricError(MintadError, ValueError):
    """Scores or labels for which the metric is not defined."""


class StreamingRanking:
    """Ranking metrics over scores that arrive in pieces, such as the pixels of one image at a time.

    Every metric here changes only at scores of anomalous items, so these are sorted and the normal ones merely
    counted between them, piece by piece: no sort of all scores, and beside the scores themselves (4 bytes a pixel in
    float32) no more memory than one piece needs.
    """

    def __init__(self) -> None:
        self._anomalous: list[np.ndarray] = []
        self._normal: list[np.ndarray] = []

    def update(self, scores: ArrayLike, labels: ArrayLike) -> None:
        """Add scores and their labels (1 or True = anomalous), of any equal shape.

        Raises:
            MetricError: shapes differ, scores are not finite, labels are not 0 and 1.
        """
        scores, labels = np.asarray(scores), np.asarray(labels)
        if scores.shape != labels.shape:
            raise MetricError(f"scores {scores.shape} and labels {labels.shape} must have the same shape")
        scores = scores.ravel() if scores.dtype.kind == "f" else scores.ravel().astype(np.float64)
        if not np.isfinite(scores).all():
            raise MetricError(f"{np.count_nonzero(~np.isfinite(scores))} of {scores.size} scores are not finite")
        labels = labels.ravel()
        anomalous = labels.astype(bool)
        if labels.dtype != bool and not np.array_equal(anomalous, labels):
            raise MetricError(f"labels must be 0 or 1, not {np.unique(labels)[:5].tolist()}")
        self._anomalous.append(scores[anomalous])
        self._normal.append(scores[~anomalous])

    def auroc(self) -> float:
        """Probability that an anomalous item scores above a normal one, ties counting half.

        Raises:
            MetricError: one of the two kinds is missing.
        """
        counts = self._count("AUROC")
        above = counts.true_positive[0] - np.concatenate(
            [[0], np.cumsum(counts.anomalous)]
        )  # anomalous > a normal item
        wins = above @ counts.normal_right
        ties = counts.anomalous @ counts.normal_equal
        return float((wins + 0.5 * ties) / (counts.true_positive[0] * counts.normals))

    def average_precision(self) -> float:
        """Area under the precision-recall curve as a step function, scikit-learn's `average_precision_score`.

        Raises:
            MetricError: one of the two kinds is missing.
        """
        counts = self._count("average precision")
        precision = counts.true_positive / (counts.true_positive + counts.false_positive)
        return float(counts.anomalous @ precision / counts.true_positive[0])

    def f1_max(self) -> tuple[float, float]:
        """Largest F1 over all thresholds, and the threshold (items at or above it are called anomalous).

        Chosen on the scores it is reported for, so it is an upper bound, not what a fitted threshold gives.

        Raises:
            MetricError: one of the two kinds is missing.
        """
        counts = self._count("F1-max")
        f1 = 2 * counts.true_positive / (counts.true_positive[0] + counts.true_positive + counts.false_positive)
        best = int(np.argmax(f1))
        return float(f1[best]), float(counts.thresholds[best])

    def _count(self, metric: str) -> _Counts:
        anomalous = np.concatenate(self._anomalous) if self._anomalous else np.empty(0)
        normals = sum(map(len, self._normal))
        if len(anomalous) == 0 or normals == 0:
            missing = "anomalous" if len(anomalous) == 0 else "normal"
            raise MetricError(
                f"{metric} is not defined without {missing} items ({len(anomalous)} anomalous, {normals} normal)"
            )
        return _Counts(anomalous, self._normal, normals)


class _Counts:
    """Counts at every distinct score of an anomalous item, in rising order (n of them)."""

    def __init__(self, anomalous: np.ndarray, normal_pieces: list[np.ndarray], normals: int) -> None:
        self.thresholds, self.anomalous = np.unique(anomalous, return_counts=True)
        n = len(self.thresholds)
        self.normals = normals
        self.normal_right = np.zeros(n + 1, dtype=np.int64)  # normal items with exactly k thresholds at or below them
        left = np.zeros(n + 1, dtype=np.int64)  # ... with exactly k thresholds strictly below them
        for piece in normal_pieces:
            self.normal_right += np.bincount(np.searchsorted(self.thresholds, piece, side="right"), minlength=n + 1)
            left += np.bincount(np.searchsorted(self.thresholds, piece, side="left"), minlength=n + 1)
        self.normal_equal = (np.cumsum(left) - np.cumsum(self.normal_right))[:n]
        self.true_positive = np.cumsum(self.anomalous[::-1])[::-1]  # anomalous items at or above
        self.false_positive = normals - np.cumsum(self.normal_right)[:n]  # normal items at or above


def _ranking(scores: ArrayLike, labels: ArrayLike) -> StreamingRanking:
    ranking = StreamingRanking()
    ranking.update(scores, labels)
    return ranking


def auroc(scores: ArrayLike, labels: ArrayLike) -> float:
    """Area under the ROC curve; see `StreamingRanking.auroc`. Never flipped: below 0.5 means worse than chance."""
    return _ranking(scores, labels).auroc()


def average_precision(scores: ArrayLike, labels: ArrayLike) -> float:
    """Average precision, the paper's AUPR; see `StreamingRanking.average_precision`."""
    return _ranking(scores, labels).average_precision()


def f1_max(scores: ArrayLike, labels: ArrayLike) -> tuple[float, float]:
    """Largest F1 and its threshold; see `StreamingRanking.f1_max`."""
    return _ranking(scores, labels).f1_max()


def aupro(maps: Iterable[np.ndarray], masks: Iterable[np.ndarray], fpr_limit: float = 0.3) -> float:
    """Area under the per-region overlap curve up to a false positive rate, divided by that rate.

    The overlap at a threshold is the share of a connected region (8 neighbours) that is at or above it, averaged
    over all regions of all images; the false positive rate is that of all normal pixels. Exact: every distinct score
    is a threshold, the last segment is interpolated. One sort over all pixels, about 40 bytes each.

    Args:
        maps: anomaly maps (H, W).
        masks: boolean masks (H, W), some of them with anomalous pixels.
        fpr_limit: 0.3 in the literature.

    Raises:
        MetricError: no anomalous region, no normal pixel, or a limit outside (0, 1].
    """
    if not 0 < fpr_limit <= 1:
        raise MetricError(f"fpr_limit must be in (0, 1], not {fpr_limit}")
    scores, overlaps, normals, regions = [], [], [], 0
    for anomaly_map, mask in zip(maps, masks, strict=True):
        labelled, found = ndimage.label(mask, structure=np.ones((3, 3)))
        sizes = np.bincount(labelled.ravel(), minlength=found + 1).astype(np.float64)
        weight = np.concatenate([[0.0], 1 / sizes[1:]])  # of a pixel in the overlap of its region
        scores.append(np.asarray(anomaly_map).ravel())
        overlaps.append(weight[labelled.ravel()])
        normals.append(labelled.ravel() == 0)
        regions += found
    score, overlap, normal = np.concatenate(scores), np.concatenate(overlaps), np.concatenate(normals)
    if regions == 0 or not normal.any():
        raise MetricError(f"AUPRO is not defined with {regions} anomalous regions and {normal.sum()} normal pixels")
    order = np.argsort(-score, kind="stable")
    last = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)  # last pixel of every distinct score
    pro = np.append(0.0, np.cumsum(overlap[order])[last] / regions)
    fpr = np.append(0.0, np.cumsum(normal[order])[last] / normal.sum())
    inside = fpr <= fpr_limit
    at_limit = np.interp(fpr_limit, fpr, pro)
    return float(np.trapezoid(np.append(pro[inside], at_limit), np.append(fpr[inside], fpr_limit)) / fpr_limit)


def summarise(scores: pd.DataFrame, pixels: Iterable[tuple[str, np.ndarray, np.ndarray]] = ()) -> dict[str, Any]:
    """All metrics of a scored test set.

    Args:
        scores: test rows with columns dataset, category, label, defect, pred_score.
        pixels: (category, map (H, W), mask (H, W)) of every image in categories with masks, the category as
            "dataset/category".

    Returns:
        ``image`` and ``pixel`` (None without masks): for each metric ``mean`` over categories, ``pooled``,
        ``per_category``; ``defects``: image AUROC of every defect type against the normal images of its category. A
        category in which a metric is not defined (only normal images, say) is left out of it, and logged.
    """
    keys = scores["dataset"] + "/" + scores["category"]
    by_image = {key: _ranking(group["pred_score"], group["label"]) for key, group in scores.groupby(keys)}
    image = _table(by_image, _ranking(scores["pred_score"], scores["label"]))
    by_pixel: dict[str, StreamingRanking] = {}
    regions: dict[str, tuple[list[np.ndarray], list[np.ndarray]]] = {}
    pooled = StreamingRanking()
    for key, anomaly_map, mask in pixels:
        by_pixel.setdefault(key, StreamingRanking()).update(anomaly_map, mask)
        pooled.update(anomaly_map, mask)
        maps, masks = regions.setdefault(key, ([], []))
        maps.append(anomaly_map)
        masks.append(mask)
    pixel = None
    if by_pixel:
        pixel = _table(by_pixel, pooled)
        per_category = _defined({key: lambda pair=pair: aupro(*pair) for key, pair in regions.items()}, "AUPRO")
        pixel["aupro"] = {"mean": _mean(per_category), "per_category": per_category}
    return {"image": image, "pixel": pixel, "defects": _by_defect(scores, keys)}


def class_accuracy(scores: pd.DataFrame) -> dict[str, Any] | None:
    """Share of test images whose predicted class is right, overall (``mean``) and ``per_class``; None without
    predictions.

    Images of classes that were never trained on (an empty prompt_class) are left out.
    """
    known = scores[(scores["prompt_class"] != "") & (scores["pred_class"] != "")]
    if known.empty:
        return None
    right = known["pred_class"] == known["prompt_class"]
    return {
        "mean": float(right.mean()),
        "per_class": right.groupby(known["prompt_class"]).mean().to_dict(),
        "n": len(known),
    }


def _table(rankings: dict[str, StreamingRanking], pooled: StreamingRanking) -> dict[str, Any]:
    metrics: dict[str, Callable[[StreamingRanking], float]] = {
        "auroc": StreamingRanking.auroc,
        "average_precision": StreamingRanking.average_precision,
        "f1_max": lambda ranking: ranking.f1_max()[0],
    }
    table = {}
    for name, metric in metrics.items():
        per_category = _defined({key: lambda r=r, m=metric: m(r) for key, r in rankings.items()}, name)
        table[name] = {"mean": _mean(per_category), "pooled": metric(pooled), "per_category": per_category}
    return table


def _defined(values: dict[str, Callable[[], float]], metric: str) -> dict[str, float]:
    found = {}
    for key, value in values.items():
        try:
            found[key] = value()
        except MetricError as error:
            log.warning("%s: no %s (%s)", key, metric, error)
    return found


def _mean(per_category: dict[str, float]) -> float | None:
    return float(np.mean(list(per_category.values()))) if per_category else None


def _by_defect(scores: pd.DataFrame, keys: pd.Series) -> dict[str, dict[str, dict[str, float | int]]]:
    table: dict[str, dict[str, dict[str, float | int]]] = {}
    for key, group in scores.groupby(keys):
        normal = group[group["label"] == 0]
        for defect, images in group[group["label"] == 1].groupby("defect"):
            if len(normal):
                both = pd.concat([normal, images])
                entry = {"auroc": auroc(both["pred_score"], both["label"]), "n": len(images)}
                table.setdefault(key, {})[defect] = entry
    return table
