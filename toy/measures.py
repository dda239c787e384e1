"""The measures, each with its definition.

All points off the support come from one lattice over the window, so nothing here is drawn at random. The spread is that
of the seeds: their data, weights, batches and jitter.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import stats
from sklearn.metrics import roc_auc_score

from toy.decisions import Decisions, Detector
from toy.geometry import lattice
from toy.shapes import Shape

MARGIN = 0.1
"""Least distance of an anomaly from every support: two thirds of the default jitter."""
MEASURES = {
    "projection_index": "mean of |x̂ − x| over the distance to the support: 0 copies, 1 projects onto the support",
    "interclass_accepted": "accepted share of the region between classes, 0 is best",
    "area_ratio": "accepted area over the supports' area, 1 is best",
    "auroc_uniform": "AUROC, test normals against points all over the window",
    "auroc_interclass": "AUROC, test normals against points between the classes",
}
"""Name -> definition in one line, in the order of the reports."""
PRICES = {
    "raggedness": "perimeter² over 4π area of what is accepted; K separate discs give K",
    "disagreement": "area on which two seeds decide differently, over the supports' area, mean over the other seeds",
}
"""Further measures, in which a larger network pays for what it gains."""


@dataclass(frozen=True)
class Plane:
    """A shape on a lattice over the window; made once and used for every detector."""

    grid: int
    """Lattice points along each axis."""
    points_P2: np.ndarray
    distance_PK: np.ndarray
    """Distance to the support of every class."""
    off_P: np.ndarray
    """Whether a point is farther than MARGIN from every support."""
    between_P: np.ndarray
    """Whether a point is off every support and between classes (`Shape.between`)."""

    @classmethod
    def of(cls, shape: Shape, grid: int) -> Plane:
        """Return the plane of a shape, with `grid` points along each axis."""
        points = lattice(grid)
        distance = shape.distances(points)
        off = distance.min(axis=1) > MARGIN
        return cls(grid, points, distance, off, shape.between(points) & off)


def projection_index(plane: Plane, detector: Detector) -> np.ndarray:
    """Return the mean of ‖x̂ − x‖ / d(x) over the points with d(x) > MARGIN, one value per seed (S,).

    d is the distance to the nearest support. A model that needs the label is asked once for every class k: x̂ is its
    reconstruction given k, d the distance to the support of k, and the mean is also over the classes.
    A network that copies has 0, one that projects onto the support 1, one that overshoots more. No threshold enters.
    The index measures lengths only: 1 does not show that x̂ lies on the support.
    """
    return _index(plane, detector.raw(plane.points_P2), detector.needs_label)


def _index(plane: Plane, moved_SPV: np.ndarray, by_class: bool) -> np.ndarray:
    distance_PV = plane.distance_PK if by_class else plane.distance_PK.min(axis=1, keepdims=True)
    off = distance_PV > MARGIN
    ratio = np.where(off, moved_SPV / np.where(off, distance_PV, 1), 0)
    return (ratio.sum(axis=1) / off.sum(axis=0)).mean(axis=1)


def measure(
    plane: Plane, decisions: Decisions, normals_P2: np.ndarray, *, prices: bool = True
) -> dict[str, np.ndarray]:
    """Compute all measures, one value per seed (S,); NaN where a shape or detector does not have the measure.

    * `interclass_accepted`: accepted share of the lattice points in `Shape.between` farther than MARGIN from every
      support; NaN with one class, or where no such point exists (overlapping supports).
    * `area_ratio`: accepted lattice points over lattice points on a support. Area outside the window does not count.
    * `auroc_uniform`, `auroc_interclass`: AUROC of the scores, test normals against all lattice points farther
      than MARGIN from every support, and against those of them between the classes.

    Args:
        plane: the shape on a lattice.
        decisions: of one detector, for S seeds.
        normals_P2: test normals, used neither in training nor for thresholds.
        prices: also compute `raggedness` and `disagreement`.
    """
    raw = decisions.detector.raw(plane.points_P2)
    scores, normal = decisions.scores_of(raw), decisions.scores(normals_P2)
    support = (plane.distance_PK.min(axis=1) == 0).sum()
    accepted, between = scores <= 1, plane.between_P
    nothing = np.full(len(scores), np.nan)
    reconstructs = decisions.detector.reconstruct is not None  # then the raw score is the length of x̂ − x
    values = {
        "projection_index": _index(plane, raw, decisions.detector.needs_label) if reconstructs else nothing,
        "interclass_accepted": accepted[:, between].mean(axis=1) if between.any() else nothing,
        "area_ratio": accepted.sum(axis=1) / support,
        "auroc_uniform": _auroc(normal, scores[:, plane.off_P]),
        "auroc_interclass": _auroc(normal, scores[:, between]) if between.any() else nothing,
    }
    if prices:
        fields = accepted.reshape(-1, plane.grid, plane.grid)
        values["raggedness"] = np.array([raggedness(field) for field in fields])
        values["disagreement"] = disagreement(accepted) / support
    return values


def raggedness(accepted_GG: np.ndarray) -> float:
    """Return perimeter² / (4π · area) of a set on a lattice: 1 for a disc, K for K equal discs apart, NaN if empty.

    The perimeter comes from Crofton's formula: the changes along the lattice's rows, columns and two diagonals are
    counted and weighted so that all directions count alike, within 3 % for smooth sets of more than 20 points across.
    """
    field = np.pad(np.asarray(accepted_GG, dtype=bool), 1)
    area = field.sum()
    if area == 0:
        return float("nan")
    straight = (field[1:] != field[:-1]).sum() + (field[:, 1:] != field[:, :-1]).sum()
    diagonal = (field[1:, 1:] != field[:-1, :-1]).sum() + (field[1:, :-1] != field[:-1, 1:]).sum()
    perimeter = np.pi / 8 * (straight + diagonal / np.sqrt(2))
    return float(perimeter**2 / (4 * np.pi * area))


def disagreement(accepted_SP: np.ndarray) -> np.ndarray:
    """Count the points on which a seed decides unlike another; mean over the other seeds (S,), NaN for one seed."""
    if len(accepted_SP) < 2:
        return np.full(len(accepted_SP), np.nan)
    differ = (accepted_SP[:, None] != accepted_SP[None]).sum(axis=2)
    return differ.sum(axis=1) / (len(accepted_SP) - 1)


def interval(values: Iterable[float], level: float = 0.95) -> dict[str, float | None]:
    """Return ``{"mean", "low", "high"}``: Student's t-interval of the mean over seeds; None where it is undefined."""
    finite = np.asarray([value for value in values if np.isfinite(value)], dtype=float)
    if not len(finite):
        return {"mean": None, "low": None, "high": None}
    mean = float(finite.mean())
    if len(finite) == 1:
        return {"mean": mean, "low": None, "high": None}
    half = float(stats.t.ppf((1 + level) / 2, len(finite) - 1) * finite.std(ddof=1) / np.sqrt(len(finite)))
    return {"mean": mean, "low": mean - half, "high": mean + half}


def _auroc(normal_SP: np.ndarray, anomalous_SP: np.ndarray) -> np.ndarray:
    labels = np.repeat([0, 1], [normal_SP.shape[1], anomalous_SP.shape[1]])
    joined = np.concatenate([normal_SP, anomalous_SP], axis=1)
    return np.array([roc_auc_score(labels, scores) for scores in joined])
