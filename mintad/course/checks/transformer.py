"""Checks of notebook 04: copying, jitter, neighbour mask, attention and the decoder's layer (§3.2, Table 15)."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from mintad.course.checks.grading import call, number, passed, require, same
from mintad.model.transformer import DecoderLayer


def reference_copied_share(spoiled: Tensor, clean: Tensor, from_spoiled: Tensor, from_clean: Tensor) -> float:
    change = spoiled - clean
    return float(((from_spoiled - from_clean) * change).sum() / (change * change).sum())


def check_copied_share(fn: Callable[..., float]) -> None:
    """How much of a defect's change (N, F) the reconstructions repeat, along that change: 0 nothing, 1 all."""
    takes = "spoiled, clean, from_spoiled, from_clean"
    generator = torch.Generator().manual_seed(0)
    spoiled, clean, other = (torch.randn(6, 4, generator=generator) for _ in range(3))
    copy = number(call(fn, spoiled, clean, spoiled, clean, takes=takes))
    require(abs(copy - 1) < 1e-5, f"a network that returns its input copies everything: 1, not {copy:.3f}")
    projection = number(call(fn, spoiled, clean, other, other, takes=takes))
    require(abs(projection) < 1e-5, f"equal reconstructions of both repeat nothing: 0, not {projection:.3f}")
    opposite = number(call(fn, spoiled, clean, clean, spoiled, takes=takes))
    require(abs(opposite + 1) < 1e-5, "the opposite change is no copy but -1: no norms, no absolute values")
    spoiled, clean = torch.tensor([[10.0, 0], [1, 0]]), torch.zeros(2, 2)
    mixed = number(call(fn, spoiled, clean, torch.tensor([[10.0, 7], [0, 0]]), clean, takes=takes))
    hint = f"sum over all tokens first, then divide: 100 / 101 in this case, not {mixed:.4f}; large changes count more"
    require(abs(mixed - 100 / 101) < 1e-5, hint)
    passed(fn, "copied_share: 1 for a copy, 0 for a projection, -1 for the opposite")


def reference_feature_jitter(tokens: Tensor, noise: Tensor, alpha: float) -> Tensor:
    return tokens + noise * tokens.norm(dim=-1, keepdim=True) * alpha / tokens.shape[-1]


def check_feature_jitter(fn: Callable[..., Tensor]) -> None:
    """``token + noise * |token| * alpha / C`` for tokens and noise (B, L, C); each token has its own deviation."""
    takes = "tokens, noise, alpha"
    generator = torch.Generator().manual_seed(0)
    tokens, noise = (torch.randn(2, 3, 5, generator=generator) for _ in range(2))
    tokens[0, 0] *= 10
    kept = tokens.clone()
    result = call(fn, tokens, noise, 20.0, takes=takes)
    require(torch.equal(tokens, kept), "the tokens themselves have changed: the loss still needs them clean; no +=")
    hint = "the noise of a token has deviation |token| * alpha / C: norm over the last axis, C its length, keepdim=True"
    same(result, kept + noise * kept.norm(dim=-1, keepdim=True) * 4, hint)
    same(call(fn, tokens, noise, 0.0, takes=takes), kept, "alpha = 0 must leave the tokens as they are")
    passed(fn, "feature_jitter: a token with ten times the norm gets ten times the noise")


def reference_neighbour_mask(rows: int, columns: int, size: int) -> Tensor:
    row, column = torch.arange(rows * columns) // columns, torch.arange(rows * columns) % columns
    far_row = (row[:, None] - row).abs() > size // 2
    far_column = (column[:, None] - column).abs() > size // 2
    return far_row | far_column


def check_neighbour_mask(fn: Callable[..., Tensor]) -> None:
    """Boolean (L, L), True where attention is allowed: outside the size x size square around the asking token."""
    takes = "rows, columns, size"
    rows, columns, size = 4, 5, 3
    result = call(fn, rows, columns, size, takes=takes)
    require(isinstance(result, Tensor) and result.dtype == torch.bool, "return a boolean tensor")
    require(result.shape == (20, 20), f"4 x 5 tokens make shape (20, 20), not {tuple(result.shape)}")
    require(not result.diagonal().any(), "a token may look at itself; True means *allowed*, and itself is not")
    wanted = torch.ones(rows, columns, rows, columns, dtype=torch.bool)
    for r in range(rows):
        for c in range(columns):
            wanted[r, c, max(0, r - 1) : r + 2, max(0, c - 1) : c + 2] = False
    hint = "token 4 ends the first row and 5 begins the second: far apart in the picture; use rows and columns"
    require(bool(result[4, 5]), hint)
    hint = "allowed is who lies outside the square: the row OR the column differs by more than size // 2"
    same(result.float(), wanted.flatten(2).flatten(0, 1).float(), hint)
    passed(fn, "neighbour_mask: each token is blind for the square around it, itself included")


def reference_masked_attention(query: Tensor, key: Tensor, value: Tensor, allowed: Tensor) -> Tensor:
    scores = query @ key.T / key.shape[-1] ** 0.5
    return torch.softmax(scores.masked_fill(~allowed, float("-inf")), dim=-1) @ value


def check_masked_attention(fn: Callable[..., Tensor]) -> None:
    """Attention of one head, (L, E) each, with a mask (L, L) that is True where attention is allowed."""
    takes = "query, key, value, allowed"
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(5, 8, generator=generator) for _ in range(3))
    everything = torch.ones(5, 5, dtype=torch.bool)
    wanted = F.scaled_dot_product_attention(query, key, value)
    hint = "without a mask it is softmax(q k^T / sqrt(E)) v: softmax over the keys (dim=-1), E = length of a key"
    same(call(fn, query, key, value, everything, takes=takes), wanted, hint)
    allowed = ~torch.eye(5, dtype=torch.bool)
    result = call(fn, query, key, value, allowed, takes=takes)
    wanted = F.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
    hint = "what is not allowed needs a score of -inf *before* the softmax, so that the remaining weights add up to 1"
    same(result, wanted, hint)
    passed(fn, "masked_attention: equal to scaled_dot_product_attention, with and without a mask")


def reference_decoder_layer(query: Tensor, memory: Tensor, previous: Tensor, layer: DecoderLayer) -> Tensor:
    x = layer.norm1(query + layer.memory_attention(query, memory, memory))
    x = layer.norm2(x + layer.previous_attention(x, previous, previous))
    return layer.norm3(x + layer.ffn(x))


def check_decoder_layer(fn: Callable[..., Tensor]) -> None:
    """A decoder layer without positions, in evaluation mode: memory, previous, ffn, each with addition and norm."""
    takes = "query, memory, previous, layer"
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        layer = DecoderLayer(8, 2, 16, 0.0, 0.0).eval()
        query, memory, previous = (torch.randn(1, 6, 8) for _ in range(3))
        result = call(fn, query, memory, previous, layer, takes=takes)
        require(isinstance(result, Tensor) and result.shape == query.shape, "return (B, L, D), the shape of the query")
        wanted = layer(query, memory, previous, torch.zeros(6, 8))
        x = layer.norm1(query + layer.previous_attention(query, previous, previous))
        x = layer.norm2(x + layer.memory_attention(x, memory, memory))
        swapped = layer.norm3(x + layer.ffn(x))
        hint = "the memory comes first, and only then the previous layer's output"
        require(not torch.allclose(result, swapped, atol=1e-5), hint)
        x = layer.norm1(memory + layer.memory_attention(query, memory, memory))
        x = layer.norm2(x + layer.previous_attention(x, previous, previous))
        leaky = layer.norm3(x + layer.ffn(x))
        hint = "add the query to what attention gives, not the memory: adding tokens would open a path to copy"
        require(not torch.allclose(result, leaky, atol=1e-5), hint)
        hint = "norm1(query + attention to the memory), norm2(x + attention to previous), norm3(x + ffn): post-norm"
        same(result, wanted, hint)
    passed(fn, "decoder_layer: memory, previous, feed-forward; each added to the query's path and normalised")
