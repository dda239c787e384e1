"""One baseline per category: the *separate* setting of Table 1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mintad.baselines.base import Baseline
from mintad.errors import DataError, nearest
from mintad.features.table import FeatureTable


class PerCategory(Baseline):
    """Fits one baseline per category and scores each image with that of its label.

    With the true categories for labels this **knows more than a unified method at test time**: compare it as an upper
    reference, not as a rival.

    Args:
        factory: makes an unfitted baseline, such as ``lambda: PaDiM(grid)``.
        categories: of all rows of the feature table, for example ``records["category"]``.
    """

    title = "one per category"

    def __init__(self, factory: Callable[[], Baseline], categories: Sequence[str]) -> None:
        self.factory = factory
        self.categories = np.asarray(categories, dtype=object)
        self.fitted: dict[str, Baseline] = {}

    def fit(self, features: FeatureTable, rows: np.ndarray) -> PerCategory:
        """Fit the baseline of every category that has a row in `rows`."""
        names = self.categories[rows]
        self.fitted = {name: self.factory().fit(features, rows[names == name]) for name in sorted(set(names))}
        return self

    def anomaly_map(self, feat_BLF: Tensor, labels: Any = None) -> Tensor:
        """Return maps (B, H, W) of features (B, L, F) of images of the categories `labels`.

        Raises:
            DataError: a category without training rows, or no labels.
        """
        if labels is None:
            raise DataError("one baseline per category needs the category of every image; give `labels`")
        names, order, maps = np.asarray(labels, dtype=object), [], []
        for name in dict.fromkeys(names):
            if name not in self.fitted:
                raise DataError(f"no baseline was fitted for category '{name}'." + nearest(name, self.fitted))
            order.append(np.flatnonzero(names == name))
            maps.append(self.fitted[name].anomaly_map(feat_BLF[order[-1]]))
        return torch.cat(maps)[np.argsort(np.concatenate(order))]
