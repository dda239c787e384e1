"""Checks of notebook 04: copying, jitter, neighbour mask, attention and the decoder's layer (§3.2, Table 15)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mintad.course.checks.grading import Call, differs, exercise, is_tensor, randn, require, same
from mintad.model.transformer import DecoderLayer, neighbour_mask


def reference_copied_share(spoiled: Tensor, clean: Tensor, from_spoiled: Tensor, from_clean: Tensor) -> float:
    """Return the share of the defect's change that the reconstructions repeat."""
    change = spoiled - clean
    return float(((from_spoiled - from_clean) * change).sum() / (change * change).sum())


@exercise(reference_copied_share, "1 for a copy, 0 for a projection, -1 for the opposite")
def check_copied_share(call: Call) -> None:
    """Check for the share of a defect's change (N, F) that the reconstructions repeat: 0 nothing, 1 all of it."""
    spoiled, clean, other = randn((6, 4), (6, 4), (6, 4))
    hint = "a network that returns its input copies everything, so 1, not {:.3f}"
    same(call(spoiled, clean, spoiled, clean), 1, hint)
    same(call(spoiled, clean, other, other), 0, "equal reconstructions of both repeat nothing, so 0, not {:.3f}")
    hint = "the opposite change must give -1: use inner products, not norms or absolute values"
    same(call(spoiled, clean, clean, spoiled), -1, hint)
    spoiled, clean, copied = torch.tensor([[[10.0, 0], [1, 0]], [[0, 0], [0, 0]], [[10, 7], [0, 0]]])
    hint = "sum over all tokens first, then divide: here 100 / 101, not {:.4f}"
    same(call(spoiled, clean, copied, clean), 100 / 101, hint)


def reference_feature_jitter(tokens: Tensor, noise: Tensor, alpha: float) -> Tensor:
    """Add noise in proportion to each token's norm."""
    return tokens + noise * tokens.norm(dim=-1, keepdim=True) * alpha / tokens.shape[-1]


@exercise(reference_feature_jitter, "a token with ten times the norm gets ten times the noise")
def check_feature_jitter(call: Call) -> None:
    """Check for ``token + noise * |token| * alpha / C``, with tokens and noise (B, L, C)."""
    tokens, noise = randn((2, 3, 5), (2, 3, 5))
    tokens[0, 0] *= 10
    clean = tokens.clone()
    result = call(tokens, noise, 20.0)
    require(torch.equal(tokens, clean), "the input tokens were changed, but the loss needs them clean: do not use +=")
    hint = "scale the noise by |token| * alpha / C: norm over the last axis with keepdim=True, C its length"
    same(result, clean + noise * clean.norm(dim=-1, keepdim=True) * 4, hint)
    same(call(tokens, noise, 0.0), clean, "alpha = 0 must leave the tokens unchanged")


def reference_neighbour_mask(rows: int, columns: int, size: int) -> Tensor:
    """Return where attention is allowed."""
    return neighbour_mask((rows, columns), size)


@exercise(reference_neighbour_mask, "a token attends to nothing in the square around it, itself included")
def check_neighbour_mask(call: Call) -> None:
    """Check for a boolean mask (L, L), True where attention is allowed: outside the square around the token."""
    result = call(4, 5, 3)
    require(isinstance(result, Tensor) and result.dtype == torch.bool, "return a boolean tensor")
    is_tensor(result, (20, 20), f"for 4 x 5 tokens the shape is (20, 20), not {tuple(result.shape)}")
    hint = "your mask lets a token attend to itself; True means *allowed*, so the diagonal must be False"
    require(not result.diagonal().any(), hint)
    hint = (
        "token 4 ends the first row and token 5 begins the second: their columns are far apart, so attention is allowed"
    )
    require(bool(result[4, 5]), hint)
    hint = "attention is allowed outside the square: where the row OR the column differs by more than size // 2"
    places = torch.cartesian_prod(torch.arange(4.0), torch.arange(5.0))
    same(result.float(), (torch.cdist(places, places, p=math.inf) > 1.5).float(), hint)


def reference_masked_attention(query: Tensor, key: Tensor, value: Tensor, allowed: Tensor) -> Tensor:
    """Return attention of one head with a mask."""
    scores = query @ key.T / key.shape[-1] ** 0.5
    return torch.softmax(scores.masked_fill(~allowed, float("-inf")), dim=-1) @ value


@exercise(reference_masked_attention, "equal to scaled_dot_product_attention, with and without a mask")
def check_masked_attention(call: Call) -> None:
    """Check for the attention of one head, (L, E) each, with a mask (L, L) that is True where it is allowed."""
    inputs = randn((5, 8), (5, 8), (5, 8))
    hint = "if all is allowed it is softmax(q k^T / sqrt(E)) v: softmax over the keys (dim=-1), E = length of a key"
    same(call(*inputs, torch.ones(5, 5, dtype=torch.bool)), F.scaled_dot_product_attention(*inputs), hint)
    allowed = ~torch.eye(5, dtype=torch.bool)
    hint = "set scores that are not allowed to -inf *before* the softmax, so that the other weights add up to 1"
    same(call(*inputs, allowed), F.scaled_dot_product_attention(*inputs, attn_mask=allowed), hint)


def reference_decoder_layer(query: Tensor, memory: Tensor, previous: Tensor, layer: DecoderLayer) -> Tensor:
    """Return the output of a decoder layer without positions."""
    x = layer.norm1(query + layer.memory_attention(query, memory, memory))
    x = layer.norm2(x + layer.previous_attention(x, previous, previous))
    return layer.norm3(x + layer.ffn(x))


@exercise(reference_decoder_layer, "memory, previous, feed-forward; each is added to the query's path and normalised")
def check_decoder_layer(call: Call) -> None:
    """Check for a decoder layer without positions: memory, previous, ffn, each with addition and norm."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        layer = DecoderLayer(8, 2, 16, 0.0, 0.0).eval()
        query, memory, previous = (torch.randn(1, 6, 8) for _ in range(3))
        result = call(query, memory, previous, layer)
        is_tensor(result, query.shape, "return a tensor with the shape of the query, (B, L, D)")
        x = layer.norm1(query + layer.previous_attention(query, previous, previous))
        x = layer.norm2(x + layer.memory_attention(x, memory, memory))
        swapped = layer.norm3(x + layer.ffn(x))
        differs(result, swapped, "the order is wrong: attend to the memory first, then to the previous layer's output")
        x = layer.norm1(memory + layer.memory_attention(query, memory, memory))
        x = layer.norm2(x + layer.previous_attention(x, previous, previous))
        leaky = layer.norm3(x + layer.ffn(x))
        hint = "add the query to the attention's output, not the memory, because that would open a path to copy tokens"
        differs(result, leaky, hint)
        hint = "post-norm: norm1(query + attention to memory), norm2(x + attention to previous), norm3(x + ffn(x))"
        same(result, layer(query, memory, previous, torch.zeros(6, 8)), hint)
