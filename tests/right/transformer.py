"""Notebook 04."""

import torch
import torch.nn.functional as F


def copied_share_of_vectors(spoiled, clean, from_spoiled, from_clean):
    change, repeated = (spoiled - clean).flatten(), (from_spoiled - from_clean).flatten()
    return torch.dot(change, repeated) / torch.dot(change, change)


def copied_share_by_regression(spoiled, clean, from_spoiled, from_clean):
    change, repeated = (spoiled - clean).reshape(-1, 1).double(), (from_spoiled - from_clean).reshape(-1, 1).double()
    return torch.linalg.lstsq(change, repeated).solution.item()


def jitter_by_normalising(tokens, noise, alpha):
    norms = tokens.square().sum(-1).sqrt()
    return tokens + noise * (alpha / tokens.size(-1) * norms).unsqueeze(-1)


def jitter_by_loop(tokens, noise, alpha):
    images = []
    for image, drawn in zip(tokens, noise, strict=True):
        images.append(torch.stack([t + e * t.norm() * alpha / len(t) for t, e in zip(image, drawn, strict=True)]))
    return torch.stack(images)


def mask_by_loop(rows, columns, size):
    places = [(row, column) for row in range(rows) for column in range(columns)]
    return torch.tensor([[max(abs(r - y), abs(c - x)) > size // 2 for y, x in places] for r, c in places])


def mask_by_grid(rows, columns, size):
    row, column = (x.flatten() for x in torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij"))
    far = lambda x: (x[:, None] - x[None]).abs() > size // 2  # noqa: E731
    return far(row) | far(column)


def attention_by_row(query, key, value, allowed):
    rows = []
    for q, mask in zip(query, allowed, strict=True):
        weights = torch.softmax((key[mask] @ q) / key.shape[1] ** 0.5, dim=0)
        rows.append(weights @ value[mask])
    return torch.stack(rows)


def attention_by_exponentials(query, key, value, allowed):
    scores = torch.einsum("qe,ke->qk", query, key) / query.size(-1) ** 0.5
    weights = torch.exp(scores - scores.max(dim=1, keepdim=True).values) * allowed
    return weights / weights.sum(dim=1, keepdim=True) @ value


def layer_by_parts(query, memory, previous, layer):
    first = layer.norm1(layer.memory_attention(query, memory, memory) + query)
    second = layer.norm2(layer.previous_attention(first, previous, previous) + first)
    return layer.norm3(layer.ffn(second) + second)


def layer_by_functions(query, memory, previous, layer):
    steps = [
        (lambda x: layer.memory_attention(x, memory, memory), layer.norm1),
        (lambda x: layer.previous_attention(x, previous, previous), layer.norm2),
        (layer.ffn, layer.norm3),
    ]
    for step, norm in steps:
        query = F.layer_norm(query + step(query), norm.normalized_shape, norm.weight, norm.bias, norm.eps)
    return query


RIGHT = {
    "transformer.copied_share": [copied_share_of_vectors, copied_share_by_regression],
    "transformer.feature_jitter": [jitter_by_normalising, jitter_by_loop],
    "transformer.neighbour_mask": [mask_by_loop, mask_by_grid],
    "transformer.masked_attention": [attention_by_row, attention_by_exponentials],
    "transformer.decoder_layer": [layer_by_parts, layer_by_functions],
}
