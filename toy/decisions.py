"""Decisions from raw scores: thresholds at a true positive rate on held-out normals, and one score for every point.

A detector gives raw scores (S, P, V): S seeds, P points, V views; a larger score is more anomalous. A detector that
works without labels has one view. A detector that needs the label has one view per class, "if this point were of class
k". A test point of the plane has no label, so such a detector accepts a point if *any* class would. This is the reading
that favours it most, and it is the strictest test of what it accepts between classes. Each view has its own threshold,
fitted to the normals of its class.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from toy.settings import ToyError


@dataclass(frozen=True)
class Detector:
    """A detector's raw scores, and its reconstructions where it has any."""

    name: str
    raw: Callable[[np.ndarray], np.ndarray]
    """points (P, 2) -> raw scores (S, P, V)."""
    needs_label: bool
    """Whether it must be given the class of a point."""
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
    """The decisions for each class alone: its view if the detector needs the label, its threshold in any case."""

    def scores_of(self, raw_SPV: np.ndarray) -> np.ndarray:
        """Return scores (S, P) from raw ones (S, P, V): the smallest over the views."""
        return self._standardised(raw_SPV).min(axis=2)

    def view_scores(self, points_P2: np.ndarray) -> np.ndarray:
        """Return the scores (S, P, V) under every view; 1 or less is accepted."""
        return self._standardised(self.detector.raw(points_P2))

    def scores(self, points_P2: np.ndarray) -> np.ndarray:
        """Return the scores (S, P): the smallest over the views."""
        return self.view_scores(points_P2).min(axis=2)

    def accepts(self, points_P2: np.ndarray) -> np.ndarray:
        """Return whether each point is called normal, (S, P)."""
        return self.scores(points_P2) <= 1

    def of_class(self, k: int | None) -> Decisions:
        """Return the decisions for class k, with a threshold from its own held-out normals; for all classes if None.

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
    """Fit a detector's thresholds, for all classes together and for each alone.

    Args:
        detector: gives the raw scores.
        held_out: normal points (n, 2) of every class that no training has seen.
        tpr: share of held-out normals that must be accepted, in (0, 1).

    Raises:
        ToyError: `tpr` out of range.
    """
    check_tpr(tpr)
    raw = [detector.raw(points) for points in held_out]
    by_class = [scores[:, :, [k if detector.needs_label else 0]] for k, scores in enumerate(raw)]
    alone = tuple(_fit(_view(detector, k), [scores], tpr) for k, scores in enumerate(by_class))
    together = _fit(detector, by_class if detector.needs_label else [np.concatenate(by_class, axis=1)], tpr)
    return dataclasses.replace(together, of_classes=alone)


def _fit(detector: Detector, views: Sequence[np.ndarray], tpr: float) -> Decisions:
    """Fit one threshold per view to the raw scores (S, n, 1) of the normals that the view is responsible for."""
    threshold = np.concatenate([np.quantile(view, tpr, axis=1, method="higher") for view in views], axis=1)
    zero = np.zeros_like(threshold)
    if detector.reconstruct is None:
        zero = np.concatenate([np.median(view, axis=1) for view in views], axis=1)
    return Decisions(detector, zero, np.maximum(threshold, zero + 1e-9))


def _view(detector: Detector, k: int) -> Detector:
    """Return the detector restricted to its view of class k."""
    if not detector.needs_label:
        return detector
    reconstruct = detector.reconstruct
    return dataclasses.replace(
        detector,
        raw=lambda points: detector.raw(points)[:, :, [k]],
        reconstruct=None if reconstruct is None else lambda points: reconstruct(points)[:, :, [k]],
    )


def check_tpr(tpr: float) -> None:
    """Raise ToyError unless 0 < tpr < 1."""
    if not 0 < tpr < 1:
        raise ToyError(f"tpr must lie between 0 and 1, both excluded, not {tpr}; 0.95 is usual")
