"""Checks of notebook 04: copying, jitter, neighbour mask, attention and the decoder's layer (§3.2, Table 15)."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mintad.course.checks.exercise import exercise
from mintad.course.checks.grading import Call, differs, is_tensor, randn, require, same
from mintad.model.transformer import DecoderLayer, neighbour_mask


def reference_copied_share(spoiled: Tensor, clean: Tensor, from_spoiled: Tensor, from_clean: Tensor) -> float:
    """Return the share of the defect's change that the reconstructions repeat."""
    change = spoiled - clean
    return float(((from_spoiled - from_clean) * change).sum() / (change * change).sum())


@exercise(
    reference_copied_share,
    "1 for a copy, 0 for a projection, -1 for the opposite",
    mistakes={
        "divide by the squared length of the defect's change, not by that of the reconstructions' change": (
            lambda s, c, a, b: ((a - b) * (s - c)).sum() / (a - b).square().sum()
        ),
        "this is a cosine; divide by the squared length of the defect's change": lambda s, c, a, b: (
            ((a - b) * (s - c)).sum() / (a - b).norm() / (s - c).norm()
        ),
        "sum over all tokens first, then divide; this takes the mean of the tokens' ratios": lambda s, c, a, b: (
            ((a - b) * (s - c)).sum(1) / (s - c).square().sum(1)
        ).mean(),
    },
)
def check_copied_share(call: Call, rng: np.random.Generator) -> None:
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


@exercise(
    reference_feature_jitter,
    "a token with ten times the norm gets ten times the noise",
    trains=True,
    mistakes={
        "this uses the *squared* norm of a token": lambda x, e, alpha: (
            x + e * x.square().sum(-1, keepdim=True) * alpha / x.shape[-1]
        ),
        "this scales by the norm of the noise; the noise is scaled by the norm of the *token*": lambda x, e, alpha: (
            x + e * e.norm(dim=-1, keepdim=True) * alpha / x.shape[-1]
        ),
        "the division by C, the number of channels, is missing": lambda x, e, alpha: (
            x + e * x.norm(dim=-1, keepdim=True) * alpha
        ),
        "C is the number of channels, the last axis, not the number of tokens": lambda x, e, alpha: (
            x + e * x.norm(dim=-1, keepdim=True) * alpha / x.shape[1]
        ),
        "this is one norm for everything; take each token's own: norm(dim=-1, keepdim=True)": lambda x, e, alpha: (
            x + e * x.norm() * alpha / x.shape[-1]
        ),
        "the norms are missing: the noise must grow with the token": lambda x, e, alpha: x + e * alpha / x.shape[-1],
        "this is the noise alone; add it to the tokens": lambda x, e, alpha: (
            e * x.norm(dim=-1, keepdim=True) * alpha / x.shape[-1]
        ),
    },
)
def check_feature_jitter(call: Call, rng: np.random.Generator) -> None:
    """Check for ``token + noise * |token| * alpha / C``, with tokens and noise (B, L, C)."""
    tokens, noise = randn((2, 3, 5), (2, 3, 5))
    tokens[0, 0] *= 10
    clean = tokens.clone()
    result = call(tokens, noise, 20.0)
    require(torch.equal(tokens, clean), "the input tokens were changed, but the loss needs them clean: do not use +=")
    hint = "the same tokens and noise gave another result: use the noise that is given, and draw none yourself"
    same(call(tokens, noise, 20.0), result, hint)
    hint = "scale the noise by |token| * alpha / C: norm over the last axis with keepdim=True, C its length"
    same(result, clean + noise * clean.norm(dim=-1, keepdim=True) * 4, hint)
    same(call(tokens, noise, 0.0), clean, "alpha = 0 must leave the tokens unchanged")


def reference_neighbour_mask(rows: int, columns: int, size: int) -> Tensor:
    """Return where attention is allowed."""
    return neighbour_mask((rows, columns), size)


@exercise(reference_neighbour_mask, "a token attends to nothing in the square around it, itself included")
def check_neighbour_mask(call: Call, rng: np.random.Generator) -> None:
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


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    allowed: Tensor,
    *,
    scale: float = 0.5,
    axis: int = -1,
    hidden: float = -math.inf,
) -> Tensor:
    scores = query @ key.T / key.shape[-1] ** scale
    return torch.softmax(scores.masked_fill(~allowed, hidden), dim=axis) @ value


@exercise(
    reference_masked_attention,
    "equal to scaled_dot_product_attention, with and without a mask",
    trains=True,
    mistakes={
        "the scores are not divided by sqrt(E), the root of a key's length": lambda *a: _attention(*a, scale=0),
        "the scores are divided by E; divide by its square root": lambda *a: _attention(*a, scale=1),
        "the softmax is over the queries; each *row* of weights must add up to 1 (dim=-1)": lambda *a: _attention(
            *a, axis=0
        ),
        "the mask is turned round: True means allowed": lambda q, k, v, allowed: _attention(
            q, k, v, ~allowed, hidden=-1e9
        ),
        "the mask comes after the softmax, so the weights no longer add up to 1; set the scores to -inf before it": (
            lambda q, k, v, allowed: (torch.softmax(q @ k.T / k.shape[-1] ** 0.5, dim=-1) * allowed) @ v
        ),
        "a score of 0 is no mask, exp(0) is 1; set the scores that are not allowed to -inf": lambda q, k, v, allowed: (
            torch.softmax(q @ k.T / k.shape[-1] ** 0.5 * allowed, dim=-1) @ v
        ),
    },
)
def check_masked_attention(call: Call, rng: np.random.Generator) -> None:
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


def _pre_norm(query: Tensor, memory: Tensor, previous: Tensor, layer: DecoderLayer) -> Tensor:
    x = query + layer.memory_attention(layer.norm1(query), memory, memory)
    x = x + layer.previous_attention(layer.norm2(x), previous, previous)
    return x + layer.ffn(layer.norm3(x))


def _decoded(
    query: Tensor, memory: Tensor, previous: Tensor, layer: DecoderLayer, *, first=1, last=1, norm=True, again=False
) -> Tensor:
    """Return a decoder layer's output with one of its parts left out or exchanged, for the hints."""
    norms = [layer.norm1, layer.norm2, layer.norm3] if norm else [lambda x: x] * 3
    x = norms[0](first * query + layer.memory_attention(query, memory, memory))
    x = norms[1](first * x + layer.previous_attention(query if again else x, previous, previous))
    return norms[2](last * x + layer.ffn(x))


def _reads_itself(query: Tensor, memory: Tensor, previous: Tensor, layer: DecoderLayer) -> Tensor:
    return _decoded(query, memory, layer.norm1(query + layer.memory_attention(query, memory, memory)), layer)


def _norm_inside(query: Tensor, memory: Tensor, previous: Tensor, layer: DecoderLayer) -> Tensor:
    x = query + layer.norm1(layer.memory_attention(query, memory, memory))
    x = x + layer.norm2(layer.previous_attention(x, previous, previous))
    return x + layer.norm3(layer.ffn(x))


def _query_again(query: Tensor, memory: Tensor, previous: Tensor, layer: DecoderLayer) -> Tensor:
    x = layer.norm1(query + layer.memory_attention(query, memory, memory))
    x = layer.norm2(query + layer.previous_attention(x, previous, previous))
    return layer.norm3(x + layer.ffn(x))


@exercise(
    reference_decoder_layer,
    "memory, previous, feed-forward; each is added to the query's path and normalised",
    trains=True,
    mistakes={
        "this normalises before each attention (pre-norm); here the norm comes after the addition": _pre_norm,
        "the residual paths are missing: add the query to the first attention's output, x to the others": lambda *a: (
            _decoded(*a, first=0, last=0)
        ),
        "the query is not added to the attentions' outputs": lambda *a: _decoded(*a, first=0),
        "x is not added to the feed-forward network's output": lambda *a: _decoded(*a, last=0),
        "the norms are missing": lambda *a: _decoded(*a, norm=False),
        "the second attention asks with the query; ask with x, the first one's result": lambda *a: _decoded(
            *a, again=True
        ),
        "the second attention reads x itself; its keys and values are `previous`": _reads_itself,
        "the norm comes after the addition: norm(x + part), not x + norm(part)": _norm_inside,
        "the second attention's output is added to x, the first one's result, not to the query again": _query_again,
    },
)
def check_decoder_layer(call: Call, rng: np.random.Generator) -> None:
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
