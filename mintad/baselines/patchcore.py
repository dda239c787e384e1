"""PatchCore: distance to the nearest remembered normal patch (Roth et al., 2022, arXiv:2106.08265)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mintad.baselines.base import Baseline, baseline
from mintad.errors import DataError
from mintad.features.table import FeatureTable

CHUNK = 64
MATRIX_ENTRIES = 1 << 23
"""Distances computed at a time: 32 MB."""


@baseline("patchcore")
class PatchCore(Baseline):
    """Distance of every token to a coreset of normal tokens from all positions, averaged over their 3 x 3 neighbours.

    The coreset is the greedy one, chosen on a random projection: each step adds the candidate farthest from all chosen
    so far. Candidates are a random sample of all normal tokens, which bounds time and memory: 50,000 of 272 channels
    take 54 MB. The published image score is weighted by the neighbourhood in the memory; here every method's image
    score comes from its map alone.

    Args:
        grid: (H, W) of the features.
        share, limit: the share of all normal tokens to remember (0.1 as published), and how many at most.
        candidates: tokens to choose from, at most.
        projection: width of the random projection; 0 for none.
        neighbourhood: side of the square that tokens are averaged over, odd; 1 for none.
        seed: of candidates, projection and first choice.
    """

    title = "PatchCore"

    def __init__(
        self,
        grid: tuple[int, int],
        *,
        share: float = 0.1,
        limit: int = 5_000,
        candidates: int = 50_000,
        projection: int = 64,
        neighbourhood: int = 3,
        seed: int = 0,
    ) -> None:
        if neighbourhood % 2 == 0:
            raise ValueError(f"neighbourhood must be odd, not {neighbourhood}")
        super().__init__(grid)
        self.share, self.limit, self.candidates = share, limit, candidates
        self.projection, self.neighbourhood, self.seed = projection, neighbourhood, seed

    def fit(self, features: FeatureTable, rows: np.ndarray) -> PatchCore:
        """Remember a coreset of the tokens of the normal images in `rows` of `features`.

        Raises:
            DataError: no rows.
        """
        if len(rows) == 0:
            raise DataError("PatchCore needs at least one normal training image")
        generator = torch.Generator().manual_seed(self.seed)
        tokens = len(rows) * features.tokens
        sample = torch.randperm(tokens, generator=generator)[: self.candidates].sort().values
        patches_NF = self._sample(features, rows, sample)
        size = min(max(1, round(self.share * tokens)), self.limit, len(patches_NF))
        points_NP = patches_NF
        if 0 < self.projection < features.channels:
            matrix_FP = torch.randn(features.channels, self.projection, generator=generator)
            points_NP = patches_NF @ matrix_FP.to(patches_NF.device) / self.projection**0.5
        first = int(torch.randint(len(patches_NF), (), generator=generator))
        self.memory_MF = patches_NF[greedy_coreset(points_NP, size, first)]
        return self

    def anomaly_map(self, feat_BLF: Tensor, labels: Any = None) -> Tensor:
        """Return the distances (B, H, W) of features (B, L, F) to their nearest remembered tokens."""
        patches_NF = self._smooth(feat_BLF.to(self.memory_MF.device)).flatten(0, 1)
        chunk = max(1, MATRIX_ENTRIES // len(self.memory_MF))
        distances = [torch.cdist(part, self.memory_MF).amin(1) for part in patches_NF.split(chunk)]
        return torch.cat(distances).view(len(feat_BLF), *self.grid)

    def _sample(self, features: FeatureTable, rows: np.ndarray, sample: Tensor) -> Tensor:
        """Return the smoothed tokens with these sorted numbers, counted image after image."""
        chosen = []
        for first in range(0, len(rows), CHUNK):
            start, end = first * features.tokens, (first + CHUNK) * features.tokens
            inside = sample[(sample >= start) & (sample < end)] - start
            if len(inside):
                patches_NF = self._smooth(features.gather(rows[first : first + CHUNK])).flatten(0, 1)
                chosen.append(patches_NF[inside.to(patches_NF.device)])
        return torch.cat(chosen)

    def _smooth(self, feat_BLF: Tensor) -> Tensor:
        """Average over the neighbourhood; at the border over the part of it that exists."""
        maps_BFHW, side = feat_BLF.transpose(1, 2).unflatten(2, self.grid), self.neighbourhood
        maps_BFHW = F.avg_pool2d(maps_BFHW, side, stride=1, padding=side // 2, count_include_pad=False)
        return maps_BFHW.flatten(2).transpose(1, 2)


def greedy_coreset(points_NP: Tensor, size: int, first: int) -> Tensor:
    """Choose `size` of N points, each the farthest from those before it: the greedy 2-approximation of k-centre.

    Returns the numbers (size,) of the chosen points, in order; they begin with `first`.
    """
    norms_N = points_NP.square().sum(1)
    nearest_N = torch.full_like(norms_N, torch.inf)
    chosen = torch.empty(size, dtype=torch.long)
    for n in range(size):
        chosen[n] = first
        # |x - c|^2 = |x|^2 - 2 x.c + |c|^2 reads the points once and makes no copy of them.
        distance_N = torch.addmv(norms_N, points_NP, points_NP[first], alpha=-2).add_(norms_N[first])
        nearest_N = torch.minimum(nearest_N, distance_N, out=nearest_N)
        nearest_N[first] = -torch.inf  # never twice, whatever rounding says
        first = int(nearest_N.argmax())
    return chosen
