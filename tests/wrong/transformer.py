"""Notebook 04."""

import torch


def jitter_in_place(tokens, noise, alpha):
    tokens += noise * tokens.norm(dim=-1, keepdim=True) * alpha / tokens.shape[-1]
    return tokens


def mask_by_number(rows, columns, size):
    number = torch.arange(rows * columns)
    return (number[:, None] - number).abs() > size // 2


def mask_with_and(rows, columns, size):
    row, column = torch.arange(rows * columns) // columns, torch.arange(rows * columns) % columns
    return ((row[:, None] - row).abs() > size // 2) & ((column[:, None] - column).abs() > size // 2)


def mask_of_forbidden(rows, columns, size):
    row, column = torch.arange(rows * columns) // columns, torch.arange(rows * columns) % columns
    return ((row[:, None] - row).abs() <= size // 2) & ((column[:, None] - column).abs() <= size // 2)


def masked_after_the_softmax(query, key, value, allowed):
    return (torch.softmax(query @ key.T / key.shape[-1] ** 0.5, dim=-1) * allowed) @ value


def softmax_over_queries(query, key, value, allowed):
    scores = (query @ key.T / key.shape[-1] ** 0.5).masked_fill(~allowed, float("-inf"))
    return torch.softmax(scores, dim=0) @ value


def unscaled(query, key, value, allowed):
    return torch.softmax((query @ key.T).masked_fill(~allowed, float("-inf")), dim=-1) @ value


def previous_first(query, memory, previous, layer):
    x = layer.norm1(query + layer.previous_attention(query, previous, previous))
    x = layer.norm2(x + layer.memory_attention(x, memory, memory))
    return layer.norm3(x + layer.ffn(x))


def residual_from_the_tokens(query, memory, previous, layer):
    x = layer.norm1(memory + layer.memory_attention(query, memory, memory))
    x = layer.norm2(x + layer.previous_attention(x, previous, previous))
    return layer.norm3(x + layer.ffn(x))


def pre_norm(query, memory, previous, layer):
    x = query + layer.memory_attention(layer.norm1(query), memory, memory)
    x = x + layer.previous_attention(layer.norm2(x), previous, previous)
    return x + layer.ffn(layer.norm3(x))


WRONG = {
    "transformer.copied_share": [
        lambda spoiled, clean, a, b: float((a - b).norm() / (spoiled - clean).norm()),
        lambda spoiled, clean, a, b: float(1 - (spoiled - a).norm() / (spoiled - clean).norm()),
        lambda spoiled, clean, a, b: float(
            (((a - b) * (spoiled - clean)).sum(1) / (spoiled - clean).square().sum(1)).mean()
        ),
    ],
    "transformer.feature_jitter": [
        jitter_in_place,
        lambda tokens, noise, alpha: tokens + noise * alpha / tokens.shape[-1],
        lambda tokens, noise, alpha: (
            tokens + torch.randn_like(tokens) * tokens.norm(dim=-1, keepdim=True) * alpha / tokens.shape[-1]
        ),
        lambda tokens, noise, alpha: tokens + noise * tokens.norm() * alpha / tokens.shape[-1],
        lambda tokens, noise, alpha: tokens + noise * tokens.norm(dim=-1, keepdim=True) * alpha,
    ],
    "transformer.neighbour_mask": [mask_by_number, mask_with_and, mask_of_forbidden],
    "transformer.masked_attention": [masked_after_the_softmax, softmax_over_queries, unscaled],
    "transformer.decoder_layer": [previous_first, residual_from_the_tokens, pre_norm],
}


def layer_without(*, query=1, x=1, norm=True):
    def layer_of(asking, memory, previous, layer):
        norms = [layer.norm1, layer.norm2, layer.norm3] if norm else [lambda value: value] * 3
        y = norms[0](query * asking + layer.memory_attention(asking, memory, memory))
        y = norms[1](query * y + layer.previous_attention(y, previous, previous))
        return norms[2](x * y + layer.ffn(y))

    return layer_of


WRONG["transformer.copied_share"] += [
    lambda spoiled, clean, a, b: ((a - b) * (spoiled - clean)).sum() / (a - b).square().sum().clamp(min=1e-9),
    lambda spoiled, clean, a, b: ((a - b) * (spoiled - clean)).mean() / (spoiled - clean).square().sum(),
    lambda spoiled, clean, a, b: ((a - b) / (spoiled - clean)).mean(),
]
WRONG["transformer.feature_jitter"] += [
    lambda tokens, noise, alpha: tokens + noise * tokens.square().sum(-1, keepdim=True) * alpha / tokens.shape[-1],
    lambda tokens, noise, alpha: tokens + noise * tokens.norm(dim=-1, keepdim=True) * alpha / tokens.shape[1],
    lambda tokens, noise, alpha: (
        tokens + noise * tokens.norm(dim=-1, keepdim=True) * alpha / tokens.shape[-1]
    ).detach(),
]
WRONG["transformer.neighbour_mask"] += [
    lambda rows, columns, size: ~torch.eye(rows * columns, dtype=torch.bool),
    lambda rows, columns, size: ~mask_of_forbidden(columns, rows, size),
    lambda rows, columns, size: ~mask_of_forbidden(rows, columns, size + 2),
    lambda rows, columns, size: (~mask_of_forbidden(rows, columns, size)).float(),
]
WRONG["transformer.masked_attention"] += [
    lambda query, key, value, allowed: (
        torch.softmax((query @ key.T / key.shape[-1]).masked_fill(~allowed, float("-inf")), dim=-1) @ value
    ),
    lambda query, key, value, allowed: (
        torch.softmax((query @ key.T / key.shape[-1] ** 0.5).masked_fill(allowed, -1e9), dim=-1) @ value
    ),
    lambda query, key, value, allowed: torch.softmax(query @ key.T / key.shape[-1] ** 0.5 * allowed, dim=-1) @ value,
]
WRONG["transformer.decoder_layer"] += [
    layer_without(query=0, x=0),
    layer_without(query=0),
    layer_without(x=0),
    layer_without(norm=False),
]
