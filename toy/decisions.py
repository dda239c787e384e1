"""From raw scores to decisions: thresholds at a true positive rate on held-out normals, one score for every point.

A detector gives raw scores (S, P, V), larger = stranger: S seeds, P points, V views. A detector that is not told the
class has one view. One that is told has a view per class, "if this point were of class k". A test point of the plane
carries no label, so a told detector accepts it if *any* class would: that is the kindest reading of being told, and
for the inter-class region the one that says most. Each view has its own threshold, from that class's normals.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from toy.settings import ToyError


@dataclass(frozen=True)
class Detector:
    """Raw scores, and reconstructions where there are any."""

    name: str
    raw: Callable[[np.ndarray], np.ndarray]
    """points (P, 2) -> raw scores (S, P, V)."""
    told: bool
    reconstruct: Callable[[np.ndarray], np.ndarray] | None = None
    """points (P, 2) -> reconstructions (S, P, V, 2)."""


@dataclass(frozen=True)
class Decisions:
    """A detector with its thresholds; `scores` is 1 on the boundary."""

    detector: Detector
    zero_SV: np.ndarray
    """Raw score that counts as 0: 0 for distances, the normals' median for scikit-learn's scores."""
    threshold_SV: np.ndarray
    of_classes: tuple[Decisions, ...] = ()
    """The decisions for one class alone: its view if the detector is told, its threshold in any case."""

    def scores_of(self, raw_SPV: np.ndarray) -> np.ndarray:
        """Scores (S, P) for the detector's raw ones: the smallest over the views."""
        return self._standardised(raw_SPV).min(axis=2)

    def view_scores(self, points_P2: np.ndarray) -> np.ndarray:
        """Scores (S, P, V) under every view; 1 or less is accepted."""
        return self._standardised(self.detector.raw(points_P2))

    def scores(self, points_P2: np.ndarray) -> np.ndarray:
        """Scores (S, P): the smallest over the views."""
        return self.view_scores(points_P2).min(axis=2)

    def accepts(self, points_P2: np.ndarray) -> np.ndarray:
        """Whether each point is called normal, (S, P)."""
        return self.scores(points_P2) <= 1

    def of_class(self, k: int | None) -> Decisions:
        """The decisions for class k: a threshold that its own held-out normals fix; None for all classes together.

        Raises:
            ToyError: no such class.
        """
        if k is None:
            return self
        if k not in range(len(self.of_classes)):
            raise ToyError(f"no class {k}. Allowed: 0 to {len(self.of_classes) - 1}, or None for all.")
        return self.of_classes[k]

    def _standardised(self, raw_SPV: np.ndarray) -> np.ndarray:
        return (raw_SPV - self.zero_SV[:, None]) / (self.threshold_SV - self.zero_SV)[:, None]


def decide(detector: Detector, held_out: Sequence[np.ndarray], tpr: float) -> Decisions:
    """Fit the thresholds, for all classes together and for each alone.

    Args:
        detector: to be thresholded.
        held_out: normal points (n, 2) of every class, seen by no training.
        tpr: share of held-out normals that must be accepted, in (0, 1).

    Raises:
        ToyError: `tpr` out of range.
    """
    check_tpr(tpr)
    raw = [detector.raw(points) for points in held_out]
    own = [scores[:, :, [k if detector.told else 0]] for k, scores in enumerate(raw)]
    alone = tuple(_fit(_view(detector, k), [scores], tpr) for k, scores in enumerate(own))
    together = _fit(detector, own if detector.told else [np.concatenate(own, axis=1)], tpr)
    return dataclasses.replace(together, of_classes=alone)


def _fit(detector: Detector, views: Sequence[np.ndarray], tpr: float) -> Decisions:
    """Thresholds from the raw scores (S, n, 1) of the normals that each view answers for."""
    threshold = np.concatenate([np.quantile(view, tpr, axis=1, method="higher") for view in views], axis=1)
    zero = np.zeros_like(threshold)
    if detector.reconstruct is None:
        zero = np.concatenate([np.median(view, axis=1) for view in views], axis=1)
    return Decisions(detector, zero, np.maximum(threshold, zero + 1e-9))


def _view(detector: Detector, k: int) -> Detector:
    """The detector seen as class k alone."""
    if not detector.told:
        return detector
    reconstruct = detector.reconstruct
    return dataclasses.replace(
        detector,
        raw=lambda points: detector.raw(points)[:, :, [k]],
        reconstruct=None if reconstruct is None else lambda points: reconstruct(points)[:, :, [k]],
    )


def check_tpr(tpr: float) -> None:
    """Raises ToyError unless 0 < tpr < 1."""
    if not 0 < tpr < 1:
        raise ToyError(f"tpr must lie between 0 and 1, both excluded, not {tpr}; 0.95 is usual")
