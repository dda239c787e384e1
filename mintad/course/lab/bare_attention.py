"""The smallest network with attention: adapter, one attention layer, output (notebook 04).

It isolates three things that the layers of `mintad.model.transformer` combine: what the query is (the token itself or a
learned vector), what the mask hides, and what a residual path lets through.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mintad.model.transformer import Attention, PositionEmbedding, neighbour_mask


class BareAttention(nn.Module):
    """Reconstruction of tokens (B, L, F) on a grid (H, W) by one attention layer.

    The query is the token, or a learned vector for each position; the neighbour mask has a side of `mask_size` tokens,
    0 for none; with `residual` the token is added to the output of attention.
    """

    def __init__(
        self,
        channels: int,
        grid: tuple[int, int],
        *,
        learned_query: bool = False,
        mask_size: int = 0,
        residual: bool = False,
        width: int = 128,
        heads: int = 4,
    ) -> None:
        super().__init__()
        self.adapter, self.output = nn.Linear(channels, width), nn.Linear(width, channels)
        self.attention = Attention(width, heads, dropout=0.0)
        self.position = PositionEmbedding(grid, width)
        self.query = nn.Parameter(torch.randn(grid[0] * grid[1], width)) if learned_query else None
        self.mask_LL = neighbour_mask(grid, mask_size) if mask_size else None
        self.residual = residual

    def forward(self, feat_BLF: Tensor) -> Tensor:
        """Return the reconstruction (B, L, F) of tokens (B, L, F)."""
        x_BLD = self.adapter(feat_BLF)
        position_LD = self.position()
        query_BLD = x_BLD if self.query is None else self.query.expand_as(x_BLD)
        attended_BLD = self.attention(query_BLD + position_LD, x_BLD + position_LD, x_BLD, self.mask_LL)
        return self.output(attended_BLD + x_BLD if self.residual else attended_BLD)
