"""Tokens averaged over squares of a grid."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def pool_squares(feat_BLF: Tensor, grid: tuple[int, int], side: int) -> Tensor:
    """Average tokens (B, L, F) over squares of `side` tokens; those at the edges may overlap."""
    if side == 1:
        return feat_BLF
    maps_BFHW = feat_BLF.transpose(1, 2).unflatten(2, grid)
    return F.adaptive_avg_pool2d(maps_BFHW, tuple(-(-cells // side) for cells in grid)).flatten(2).transpose(1, 2)
