"""One baseline per category: the *separate* setting of Table 1, which knows the category of every test image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from mintad.errors import DataError, nearest
from mintad.features.table import FeatureTable
from mintad.scoring.maps import Detector, Told


class Baseline(Detector, Protocol):
    """A detector that is fitted to features."""

    def fit(self, features: FeatureTable, rows: np.ndarray) -> Baseline: ...


class PerCategory:
    """Fits one baseline per category and scores each image with its own category's.

    Unlike every unified method, this one is **told the true category at test time**: compare it as an upper
    reference, not as a rival.

    Args:
        factory: makes an unfitted baseline, for example ``lambda: PaDiM(grid)``.
        categories: of all rows of the feature table, for example ``records["category"]``.
    """

    squared = False  # maps of distances, see `mintad.scoring.maps.Detector`

    def __init__(self, factory: Callable[[], Baseline], categories: Sequence[str]) -> None:
        self.factory = factory
        self.categories = np.asarray(categories, dtype=object)
        self.baselines: dict[str, Baseline] = {}

    def fit(self, features: FeatureTable, rows: np.ndarray) -> PerCategory:
        """Fit the baseline of every category that has a row in `rows`."""
        names = self.categories[rows]
        self.baselines = {name: self.factory().fit(features, rows[names == name]) for name in sorted(set(names))}
        return self

    def anomaly_map(self, feat_BLF: Tensor, categories: Sequence[str]) -> Tensor:
        """Maps (B, H, W) of features (B, L, F) whose categories are given.

        Raises:
            DataError: a category without training rows.
        """
        names = np.asarray(categories, dtype=object)
        maps: dict[int, Tensor] = {}
        for name in dict.fromkeys(names):
            if name not in self.baselines:
                raise DataError(f"no baseline was fitted for category '{name}'." + nearest(name, self.baselines))
            inside = np.flatnonzero(names == name)
            maps.update(zip(inside.tolist(), self.baselines[name].anomaly_map(feat_BLF[inside]), strict=True))
        return torch.stack([maps[n] for n in range(len(names))])

    def told(self, rows: np.ndarray) -> Detector:
        """A detector for exactly these rows of the table, which must be handed to it in this order, in any batches.

        It is what `mintad.scoring.evaluate.evaluate` needs, which passes features without categories.
        """
        return Told(self, self.categories[rows])
