"""Nearest neighbour: distance to the nearest normal token, the simplest memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from mintad.baselines.base import Baseline, baseline
from mintad.baselines.memory import draw_tokens, nearest_distance
from mintad.errors import DataError
from mintad.features.table import FeatureTable


@baseline("nearest")
class NearestNeighbour(Baseline):
    """Distance of every token to the nearest normal token of any position, on the run's own features.

    PatchCore without its features, its coreset and its weight: the reference that any cleverer memory must beat. SPADE
    (Cohen and Hoshen, arXiv:2005.02357) measures the same distance, but only to tokens of the most similar images.

    Args:
        grid: (H, W) of the features.
        limit: tokens to remember, at most; a random choice where there are more. 100,000 of 192 channels take 77 MB.
        seed: of that choice.
    """

    title = "nearest neighbour"

    def __init__(self, grid: tuple[int, int], *, limit: int = 100_000, seed: int = 0) -> None:
        super().__init__(grid, seed=seed)
        self.limit = limit

    def fit(self, features: FeatureTable, rows: np.ndarray) -> NearestNeighbour:
        """Remember the tokens of the normal images in `rows` of `features`.

        Raises:
            DataError: no rows.
        """
        if len(rows) == 0:
            raise DataError("a nearest neighbour needs at least one normal training image")
        self.memory_MF = draw_tokens(features, rows, self.limit, torch.Generator().manual_seed(self.seed))
        return self

    def anomaly_map(self, feat_BLF: Tensor, labels: Any = None) -> Tensor:
        """Return the distances (B, H, W) of features (B, L, F) to their nearest remembered tokens."""
        return nearest_distance(feat_BLF, self.memory_MF).unflatten(1, self.grid)
