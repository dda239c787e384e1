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

    The label of a test image may be its true category, or one that a classifier predicts (App. A.1). With the true
    ones this **knows more than a unified method at test time**: compare it as an upper reference, not as a rival.

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
        return self._by_category(labels, lambda fitted, rows, names: fitted.anomaly_map(feat_BLF[rows], names))

    def image_score(self, feat_BLF: Tensor, map_BHW: Tensor, labels: Any = None) -> Tensor | None:
        """Return the baselines' own image scores (B,), if they have any; see `anomaly_map`."""
        return self._by_category(
            labels, lambda fitted, rows, names: fitted.image_score(feat_BLF[rows], map_BHW[rows], names)
        )

    def _by_category(
        self, labels: Any, compute: Callable[[Baseline, np.ndarray, np.ndarray], Tensor | None]
    ) -> Tensor | None:
        """Compute something for the images of each category with its baseline, and bring it into their order."""
        if labels is None:
            raise DataError("one baseline per category needs the category of every image; give `labels`")
        names, order, parts = np.asarray(labels, dtype=object), [], []
        for name in dict.fromkeys(names):
            if name not in self.fitted:
                raise DataError(f"no baseline was fitted for category '{name}'." + nearest(name, self.fitted))
            order.append(np.flatnonzero(names == name))
            parts.append(compute(self.fitted[name], order[-1], names[order[-1]]))
        return None if any(part is None for part in parts) else torch.cat(parts)[np.argsort(np.concatenate(order))]
