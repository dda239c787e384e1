"""A memory of normal tokens: drawing them, and the distance to the nearest one."""

from __future__ import annotations

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


def nearest_distance(feat_BLF: Tensor, memory_MF: Tensor) -> Tensor:
    """Return the distances (B, L) of features (B, L, F) to their nearest tokens of a memory (M, F)."""
    centre_F = memory_MF.mean(0)  # |x - m|^2 = |x|^2 - 2 x.m + |m|^2 loses fewer digits near the origin
    tokens_NF, memory_MF = (feat_BLF.to(centre_F.device) - centre_F).flatten(0, 1), memory_MF - centre_F
    norms_M, chunk = memory_MF.square().sum(1), max(1, MATRIX_ENTRIES // len(memory_MF))
    nearest = [torch.addmm(norms_M, part, memory_MF.T, alpha=-2).amin(1) for part in tokens_NF.split(chunk)]
    squared_N = torch.cat(nearest) + tokens_NF.square().sum(1)
    return squared_N.clamp(min=0).sqrt().view(feat_BLF.shape[:2])
