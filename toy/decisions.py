"""From raw scores to decisions: thresholds at a true positive rate on held-out normals, one score for every point.

A detector gives raw scores (S, P, V), larger = stranger: S seeds, P points, V views. A detector that is not told the
class has one view. One that is told has a view per class, "if this point were of class k". A test point of the plane
carries no label, so a told detector accepts it if *any* class would: that is the kindest reading of being told, and
for the inter-class region the one that says most. Each view has its own threshold, from that class's normals.
"""

from __future__ import annotations

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

    def view_scores(self, points_P2: np.ndarray) -> np.ndarray:
        """Scores (S, P, V) under every view; 1 or less is accepted."""
        raw = self.detector.raw(points_P2)
        return (raw - self.zero_SV[:, None]) / (self.threshold_SV - self.zero_SV)[:, None]

    def scores(self, points_P2: np.ndarray) -> np.ndarray:
        """Scores (S, P): the smallest over the views."""
        return self.view_scores(points_P2).min(axis=2)

    def accepts(self, points_P2: np.ndarray) -> np.ndarray:
        """Whether each point is called normal, (S, P)."""
        return self.scores(points_P2) <= 1


def decide(detector: Detector, held_out: Sequence[np.ndarray], tpr: float) -> Decisions:
    """Fit the thresholds.

    Args:
        detector: to be thresholded.
        held_out: normal points (n, 2) of every class, seen by no training.
        tpr: share of held-out normals that must be accepted, in (0, 1).

    Raises:
        ToyError: `tpr` out of range.
    """
    check_tpr(tpr)
    raw = [detector.raw(points) for points in held_out]
    if detector.told:
        views = [scores[:, :, k] for k, scores in enumerate(raw)]
    else:
        views = [np.concatenate([scores[:, :, 0] for scores in raw], axis=1)]
    threshold = np.stack([np.quantile(view, tpr, axis=1, method="higher") for view in views], axis=1)
    zero = np.zeros_like(threshold)
    if detector.reconstruct is None:
        zero = np.stack([np.median(view, axis=1) for view in views], axis=1)
    return Decisions(detector, zero, np.maximum(threshold, zero + 1e-9))


def check_tpr(tpr: float) -> None:
    """Raises ToyError unless 0 < tpr < 1."""
    if not 0 < tpr < 1:
        raise ToyError(f"tpr must lie between 0 and 1, both excluded, not {tpr}; 0.95 is usual")
