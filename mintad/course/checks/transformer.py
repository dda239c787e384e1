"""Checks of notebook 04: copying, jitter, neighbour mask, attention and the decoder's layer (§3.2, Table 15)."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from mintad.course.checks.grading import call, number, passed, require, same
from mintad.model.transformer import DecoderLayer


def reference_copied_share(spoiled: Tensor, clean: Tensor, from_spoiled: Tensor, from_clean: Tensor) -> float:
    """Return the share of the defect's change that the reconstructions repeat."""
    change = spoiled - clean
    return float(((from_spoiled - from_clean) * change).sum() / (change * change).sum())


def check_copied_share(fn: Callable[..., float]) -> None:
    """Check for the share of a defect's change (N, F) that the reconstructions repeat: 0 nothing, 1 all of it."""
    takes = "spoiled, clean, from_spoiled, from_clean"
    generator = torch.Generator().manual_seed(0)
    spoiled, clean, other = (torch.randn(6, 4, generator=generator) for _ in range(3))
    copy = number(call(fn, spoiled, clean, spoiled, clean, takes=takes))
    require(abs(copy - 1) < 1e-5, f"a network that returns its input copies everything, so 1, not {copy:.3f}")
    projection = number(call(fn, spoiled, clean, other, other, takes=takes))
    require(abs(projection) < 1e-5, f"equal reconstructions of both repeat nothing, so 0, not {projection:.3f}")
    opposite = number(call(fn, spoiled, clean, clean, spoiled, takes=takes))
    require(
        abs(opposite + 1) < 1e-5, "the opposite change must give -1: use inner products, not norms or absolute values"
    )
    spoiled, clean = torch.tensor([[10.0, 0], [1, 0]]), torch.zeros(2, 2)
    mixed = number(call(fn, spoiled, clean, torch.tensor([[10.0, 7], [0, 0]]), clean, takes=takes))
    hint = f"sum over all tokens first, then divide: here 100 / 101, not {mixed:.4f}"
    require(abs(mixed - 100 / 101) < 1e-5, hint)
    passed(fn, "copied_share: 1 for a copy, 0 for a projection, -1 for the opposite")


def reference_feature_jitter(tokens: Tensor, noise: Tensor, alpha: float) -> Tensor:
    """Add noise in proportion to each token's norm."""
    return tokens + noise * tokens.norm(dim=-1, keepdim=True) * alpha / tokens.shape[-1]


def check_feature_jitter(fn: Callable[..., Tensor]) -> None:
    """Check for ``token + noise * |token| * alpha / C``, with tokens and noise (B, L, C)."""
    takes = "tokens, noise, alpha"
    generator = torch.Generator().manual_seed(0)
    tokens, noise = (torch.randn(2, 3, 5, generator=generator) for _ in range(2))
    tokens[0, 0] *= 10
    clean = tokens.clone()
    result = call(fn, tokens, noise, 20.0, takes=takes)
    require(torch.equal(tokens, clean), "the input tokens were changed, but the loss needs them clean: do not use +=")
    hint = "scale the noise by |token| * alpha / C: norm over the last axis with keepdim=True, C its length"
    same(result, clean + noise * clean.norm(dim=-1, keepdim=True) * 4, hint)
    same(call(fn, tokens, noise, 0.0, takes=takes), clean, "alpha = 0 must leave the tokens unchanged")
    passed(fn, "feature_jitter: a token with ten times the norm gets ten times the noise")


def reference_neighbour_mask(rows: int, columns: int, size: int) -> Tensor:
    """Return where attention is allowed."""
    row, column = torch.arange(rows * columns) // columns, torch.arange(rows * columns) % columns
    far_row = (row[:, None] - row).abs() > size // 2
    far_column = (column[:, None] - column).abs() > size // 2
    return far_row | far_column


def check_neighbour_mask(fn: Callable[..., Tensor]) -> None:
    """Check for a boolean mask (L, L), True where attention is allowed: outside the square around the token."""
    takes = "rows, columns, size"
    rows, columns, size = 4, 5, 3
    result = call(fn, rows, columns, size, takes=takes)
    require(isinstance(result, Tensor) and result.dtype == torch.bool, "return a boolean tensor")
    require(result.shape == (20, 20), f"for 4 x 5 tokens the shape is (20, 20), not {tuple(result.shape)}")
    require(
        not result.diagonal().any(),
        "your mask lets a token attend to itself; True means *allowed*, so the diagonal must be False",
    )
    expected = torch.ones(rows, columns, rows, columns, dtype=torch.bool)
    for r in range(rows):
        for c in range(columns):
            expected[r, c, max(0, r - 1) : r + 2, max(0, c - 1) : c + 2] = False
    hint = (
        "token 4 ends the first row and token 5 begins the second: their columns are far apart, so attention is allowed"
    )
    require(bool(result[4, 5]), hint)
    hint = "attention is allowed outside the square: where the row OR the column differs by more than size // 2"
    same(result.float(), expected.flatten(2).flatten(0, 1).float(), hint)
    passed(fn, "neighbour_mask: a token attends to nothing in the square around it, itself included")


def reference_masked_attention(query: Tensor, key: Tensor, value: Tensor, allowed: Tensor) -> Tensor:
    """Return attention of one head with a mask."""
    scores = query @ key.T / key.shape[-1] ** 0.5
    return torch.softmax(scores.masked_fill(~allowed, float("-inf")), dim=-1) @ value


def check_masked_attention(fn: Callable[..., Tensor]) -> None:
    """Check for the attention of one head, (L, E) each, with a mask (L, L) that is True where it is allowed."""
    takes = "query, key, value, allowed"
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(5, 8, generator=generator) for _ in range(3))
    everything = torch.ones(5, 5, dtype=torch.bool)
    expected = F.scaled_dot_product_attention(query, key, value)
    hint = "if all is allowed it is softmax(q k^T / sqrt(E)) v: softmax over the keys (dim=-1), E = length of a key"
    same(call(fn, query, key, value, everything, takes=takes), expected, hint)
    allowed = ~torch.eye(5, dtype=torch.bool)
    result = call(fn, query, key, value, allowed, takes=takes)
    expected = F.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
    hint = "set scores that are not allowed to -inf *before* the softmax, so that the other weights add up to 1"
    same(result, expected, hint)
    passed(fn, "masked_attention: equal to scaled_dot_product_attention, with and without a mask")


def reference_decoder_layer(query: Tensor, memory: Tensor, previous: Tensor, layer: DecoderLayer) -> Tensor:
    """Return the output of a decoder layer without positions."""
    x = layer.norm1(query + layer.memory_attention(query, memory, memory))
    x = layer.norm2(x + layer.previous_attention(x, previous, previous))
    return layer.norm3(x + layer.ffn(x))


def check_decoder_layer(fn: Callable[..., Tensor]) -> None:
    """Check for a decoder layer without positions: memory, previous, ffn, each with addition and norm."""
    takes = "query, memory, previous, layer"
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        layer = DecoderLayer(8, 2, 16, 0.0, 0.0).eval()
        query, memory, previous = (torch.randn(1, 6, 8) for _ in range(3))
        result = call(fn, query, memory, previous, layer, takes=takes)
        require(
            isinstance(result, Tensor) and result.shape == query.shape,
            "return a tensor with the shape of the query, (B, L, D)",
        )
        expected = layer(query, memory, previous, torch.zeros(6, 8))
        x = layer.norm1(query + layer.previous_attention(query, previous, previous))
        x = layer.norm2(x + layer.memory_attention(x, memory, memory))
        swapped = layer.norm3(x + layer.ffn(x))
        hint = "the order is wrong: attend to the memory first, then to the previous layer's output"
        require(not torch.allclose(result, swapped, atol=1e-5), hint)
        x = layer.norm1(memory + layer.memory_attention(query, memory, memory))
        x = layer.norm2(x + layer.previous_attention(x, previous, previous))
        leaky = layer.norm3(x + layer.ffn(x))
        hint = "add the query to the attention's output, not the memory, because that would open a path to copy tokens"
        require(not torch.allclose(result, leaky, atol=1e-5), hint)
        hint = "post-norm: norm1(query + attention to memory), norm2(x + attention to previous), norm3(x + ffn(x))"
        same(result, expected, hint)
    passed(fn, "decoder_layer: memory, previous, feed-forward; each is added to the query's path and normalised")
