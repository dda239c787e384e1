"""Scikit-learn's detectors on the same points, for context: on all classes together and one per class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.ensemble import IsolationForest
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity, LocalOutlierFactor
from sklearn.svm import OneClassSVM

from toy.decisions import Detector

CONTEXT: dict[str, Callable[[int], Any]] = {
    "ocsvm": lambda seed: OneClassSVM(gamma=20, nu=0.05),
    "lof": lambda seed: LocalOutlierFactor(n_neighbors=20, novelty=True),
    "iforest": lambda seed: IsolationForest(random_state=seed),
    "kde": lambda seed: KernelDensity(bandwidth=0.06),
    "gmm": lambda seed: GaussianMixture(n_components=10, random_state=seed, reg_covar=1e-4),
}
"""Name -> detector from a seed. Bandwidths are the same for all shapes: about half the thickness of their strokes."""


def context_detector(
    name: str, data: Sequence[tuple[np.ndarray, np.ndarray]], classes: int, *, separate: bool
) -> Detector:
    """Fit a detector for every seed.

    Args:
        name: one of `CONTEXT`.
        data: training points (n, 2) and labels (n,) of every seed.
        classes: K.
        separate: fit one per class, which then needs the label (see `toy.decisions`); else one on all points.
    """
    fitted = []
    for seed, (points, labels) in enumerate(data):
        parts = [points[labels == k] for k in range(classes)] if separate else [points]
        fitted.append([CONTEXT[name](seed).fit(part) for part in parts])

    def raw(points_P2: np.ndarray) -> np.ndarray:
        return np.stack(
            [np.stack([-estimator.score_samples(points_P2) for estimator in views], axis=1) for views in fitted]
        )

    return Detector(f"{name}_separate" if separate else name, raw, needs_label=separate)
