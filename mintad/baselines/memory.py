"""A memory of normal tokens: drawing them, and the distance to the nearest one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from mintad.features.table import FeatureTable

CHUNK = 64
MATRIX_ENTRIES = 1 << 23
"""Distances computed at a time: 32 MB."""


def draw_tokens(features: FeatureTable, rows: np.ndarray, limit: int, generator: torch.Generator) -> Tensor:
    """Draw at most `limit` tokens (N, F) of the images in `rows` at random, without repeats, in their order."""
    sample = torch.randperm(len(rows) * features.tokens, generator=generator)[:limit].sort().values
    chosen = []
    for first in range(0, len(rows), CHUNK):
        start, end = first * features.tokens, (first + CHUNK) * features.tokens
        inside = sample[(sample >= start) & (sample < end)] - start
        if len(inside):
            tokens_NF = features.gather(rows[first : first + CHUNK]).flatten(0, 1)
            chosen.append(tokens_NF[inside.to(tokens_NF.device)])
    return torch.cat(chosen)


def relative_distances(tokens_NF: Tensor, memory_MF: Tensor) -> Iterator[Tensor]:
    """Yield, some tokens at a time, |m|^2 - 2 x.m (n, M): squared distances to a memory, less |x|^2 of each token.

    Which of the memory is nearest is told with more digits this way, and the most where the origin is near.
    """
    norms_M, chunk = memory_MF.square().sum(1), max(1, MATRIX_ENTRIES // len(memory_MF))
    for part_nF in tokens_NF.split(chunk):
        yield torch.addmm(norms_M, part_nF, memory_MF.T, alpha=-2)


def nearest_distance(feat_BLF: Tensor, memory_MF: Tensor) -> Tensor:
    """Return the distances (B, L) of features (B, L, F) to their nearest tokens of a memory (M, F)."""
    centre_F = memory_MF.mean(0)  # brings the origin near, see `relative_distances`
    tokens_NF, memory_MF = (feat_BLF.to(centre_F.device) - centre_F).flatten(0, 1), memory_MF - centre_F
    nearest = [distance_nM.amin(1) for distance_nM in relative_distances(tokens_NF, memory_MF)]
    squared_N = torch.cat(nearest) + tokens_NF.square().sum(1)
    return squared_N.clamp(min=0).sqrt().view(feat_BLF.shape[:2])
