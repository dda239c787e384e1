"""The reconstruction transformer (§3.2, Table 15), UniAD's: post-norm layers, decoder layers with two attentions.

Shapes: B images, L tokens, D width, H heads.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

MOST_WEIGHTS = 1 << 28  # attention weights that are held at a time: 1 GiB, and a few tensors of this size


def attend(query_BHLE: Tensor, key_BHLE: Tensor, value_BHLE: Tensor, mask_LL: Tensor | None, dropout: float) -> Tensor:
    """Return attended values (B, H, L, E) of H heads with E channels each.

    With dropout, PyTorch holds all weights (B, H, L, L) on a CPU, for every layer until its gradient: 2.5 GB a layer
    for 16 images of 56 x 56 tokens. Where they are more than `MOST_WEIGHTS`, some queries at a time attend, and their
    weights are computed again for the gradient.
    """
    batch, heads, tokens, _ = query_BHLE.shape
    weights = batch * heads * tokens * key_BHLE.shape[2]
    if not dropout or weights <= MOST_WEIGHTS or query_BHLE.device.type != "cpu":
        return F.scaled_dot_product_attention(query_BHLE, key_BHLE, value_BHLE, attn_mask=mask_LL, dropout_p=dropout)
    step = max(1, tokens * MOST_WEIGHTS // weights)
    parts = []
    for first in range(0, tokens, step):
        some = slice(first, first + step)
        allowed = None if mask_LL is None else mask_LL[some]
        given = (query_BHLE[:, :, some], key_BHLE, value_BHLE, allowed, dropout)
        parts.append(checkpoint(F.scaled_dot_product_attention, *given, use_reentrant=False))
    return torch.cat(parts, dim=2)


class Attention(nn.Module):
    """Multi-head attention through `scaled_dot_product_attention`; 4 * (D * D + D) parameters, as in Table 15."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def _split(self, x_BLD: Tensor) -> Tensor:
        return x_BLD.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, query_BLD: Tensor, key_BLD: Tensor, value_BLD: Tensor, mask_LL: Tensor | None = None) -> Tensor:
        """Return attended values (B, L, D); `mask_LL` is True where attention is allowed."""
        heads = (
            self._split(layer(x_BLD))
            for layer, x_BLD in ((self.query, query_BLD), (self.key, key_BLD), (self.value, value_BLD))
        )
        attended_BHLE = attend(*heads, mask_LL, self.dropout if self.training else 0.0)
        return self.out(attended_BHLE.transpose(1, 2).flatten(2))


class FeedForward(nn.Sequential):
    """Linear, ReLU, dropout, linear."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__(nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, width))


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward, each followed by addition and normalisation (post-norm)."""

    def __init__(self, width: int, heads: int, ffn_dim: int, dropout: float, attention_dropout: float) -> None:
        super().__init__()
        self.attention = Attention(width, heads, attention_dropout)
        self.ffn = FeedForward(width, ffn_dim, dropout)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BLD: Tensor, position_LD: Tensor, mask_LL: Tensor | None = None) -> Tensor:
        """Return the tokens (B, L, D) of the next layer."""
        at_BLD = x_BLD + position_LD
        x_BLD = self.norm1(x_BLD + self.dropout(self.attention(at_BLD, at_BLD, x_BLD, mask_LL)))
        return self.norm2(x_BLD + self.dropout(self.ffn(x_BLD)))


class DecoderLayer(nn.Module):
    """The query looks at the encoder's output, the result looks at the previous decoder layer's output.

    There is no residual path from the tokens to the output: what the layer passes on is mixed from values by
    attention weights that start from the query. That is what a class-aware query steers, and what makes copying harder.
    A layer without a query of its own is given the previous layer's output in its place, see `Transformer.forward`.
    """

    def __init__(self, width: int, heads: int, ffn_dim: int, dropout: float, attention_dropout: float) -> None:
        super().__init__()
        self.memory_attention = Attention(width, heads, attention_dropout)
        self.previous_attention = Attention(width, heads, attention_dropout)
        self.ffn = FeedForward(width, ffn_dim, dropout)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        query_BLD: Tensor,
        memory_BLD: Tensor,
        previous_BLD: Tensor,
        position_LD: Tensor,
        mask_LL: Tensor | None = None,
    ) -> Tensor:
        """Return the tokens (B, L, D) of the next layer."""
        attended_BLD = self.memory_attention(query_BLD + position_LD, memory_BLD + position_LD, memory_BLD, mask_LL)
        x_BLD = self.norm1(query_BLD + self.dropout(attended_BLD))
        attended_BLD = self.previous_attention(x_BLD + position_LD, previous_BLD + position_LD, previous_BLD, mask_LL)
        x_BLD = self.norm2(x_BLD + self.dropout(attended_BLD))
        return self.norm3(x_BLD + self.dropout(self.ffn(x_BLD)))


class PositionEmbedding(nn.Module):
    """Learned row and column embeddings, D/2 channels each, for a grid of H x W tokens."""

    def __init__(self, grid: tuple[int, int], width: int) -> None:
        super().__init__()
        self.column = nn.Parameter(torch.rand(grid[1], width // 2))
        self.row = nn.Parameter(torch.rand(grid[0], width // 2))

    def forward(self) -> Tensor:
        """Return the embedding (L, D), row-major."""
        column_HWD = self.column[None, :, :].expand(len(self.row), -1, -1)
        row_HWD = self.row[:, None, :].expand(-1, len(self.column), -1)
        return torch.cat([column_HWD, row_HWD], dim=-1).flatten(0, 1)


def neighbour_mask(grid: tuple[int, int], size: int) -> Tensor:
    """Return UniAD's neighbour mask (L, L), False for the `size` x `size` square around a token, True elsewhere.

    A mask that would leave a token nothing to attend to raises ValueError.
    """
    row_L, column_L = (axis.flatten() for axis in torch.meshgrid(*map(torch.arange, grid), indexing="ij"))
    near_row = (row_L[:, None] - row_L[None, :]).abs() <= size // 2
    near_column = (column_L[:, None] - column_L[None, :]).abs() <= size // 2
    allowed_LL = ~(near_row & near_column)
    if not allowed_LL.any(dim=1).all():
        raise ValueError(f"a {size}x{size} neighbour mask covers the whole {grid[0]}x{grid[1]} grid for some token")
    return allowed_LL


class Transformer(nn.Module):
    """Encoder over the tokens, decoder driven by a query.

    Args:
        grid: tokens as rows and columns.
        width, heads, ffn_dim: D, H and the feed-forward's hidden width; these and the depths as in Table 15.
        mask_size: side of the neighbour mask, 0 for none.
        extra_tokens: tokens before those of the grid; they have no position, and no mask hides them or anything from
            them.
        attention_init: all weights are Xavier-uniform, biases zero. 'separate' takes the query's, key's and value's
            matrices (D, D) one by one, with a standard deviation of sqrt(1 / D); 'stacked' takes the three as one
            matrix (3D, D), sqrt(1 / (2D)), as `torch.nn.MultiheadAttention` in UniAD's code does. At D = 256 these
            are 0.0625 and 0.0442, so attention starts with logits half as large.
    """

    def __init__(
        self,
        grid: tuple[int, int],
        width: int = 256,
        *,
        heads: int = 8,
        ffn_dim: int = 1024,
        encoder_layers: int = 4,
        decoder_layers: int = 4,
        dropout: float = 0.1,
        attention_dropout: float = 0.1,
        mask_size: int = 0,
        extra_tokens: int = 0,
        attention_init: str = "separate",
    ) -> None:
        super().__init__()
        self.extra_tokens = extra_tokens
        sizes = (width, heads, ffn_dim, dropout, attention_dropout)
        self.position = PositionEmbedding(grid, width)
        self.encoder = nn.ModuleList(EncoderLayer(*sizes) for _ in range(encoder_layers))
        self.decoder = nn.ModuleList(DecoderLayer(*sizes) for _ in range(decoder_layers))
        self.decoder_norm = nn.LayerNorm(width)
        mask_LL = neighbour_mask(grid, mask_size) if mask_size else None
        if mask_LL is not None and extra_tokens:
            mask_LL = F.pad(mask_LL, (extra_tokens, 0, extra_tokens, 0), value=True)
        self.register_buffer("mask_LL", mask_LL, persistent=False)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        if attention_init == "stacked":
            with torch.no_grad():
                for attention in (module for module in self.modules() if isinstance(module, Attention)):
                    for layer in (attention.query, attention.key, attention.value):
                        layer.weight *= 0.5**0.5

    def forward(self, x_BLD: Tensor, queries: Sequence[Tensor | None]) -> Tensor:
        """Return reconstructed tokens (B, L, D) from adapted (in training jittered) tokens.

        `queries` holds one for each decoder layer, (B, L, D) or (L, D). None continues from the output of the layer
        before, as in a plain decoder, whose target is what the last layer gave.
        """
        position_LD = F.pad(self.position(), (0, 0, self.extra_tokens, 0))
        for layer in self.encoder:
            x_BLD = layer(x_BLD, position_LD, self.mask_LL)
        memory_BLD, previous_BLD = x_BLD, x_BLD
        for layer, query in zip(self.decoder, queries, strict=True):
            query_BLD = previous_BLD if query is None else query.expand_as(x_BLD)
            previous_BLD = layer(query_BLD, memory_BLD, previous_BLD, position_LD, self.mask_LL)
        return self.decoder_norm(previous_BLD)
