"""Notebook 05."""

import math

import torch
import torch.nn.functional as F


def token_first_by_padding(tokens_BLD, token_BD, transform):
    padded = F.pad(tokens_BLD, (0, 0, 1, 0))
    first = torch.zeros_like(padded)
    first[:, 0] = token_BD
    return transform(padded + first)[:, -tokens_BLD.shape[1] :]


def token_first_by_splitting(tokens_BLD, token_BD, transform):
    together = transform(torch.hstack([token_BD.unsqueeze(1), tokens_BLD]))
    return together.split([1, tokens_BLD.shape[1]], dim=1)[1]


def pull_of_vectors(given, true, mean_given, mean_true):
    way, moved = (mean_given - mean_true).flatten(), (given - true).flatten()
    return way.dot(moved) / way.dot(way)


def pull_of_directions(given, true, mean_given, mean_true):
    way = mean_given - mean_true
    length = torch.linalg.vector_norm(way)
    return ((given - true).mul(way / length).sum() / length).item()


RIGHT = {
    "queries.pick_query": [
        lambda pool, labels: torch.index_select(pool, 0, labels),
        lambda pool, labels: torch.einsum("bn,nld->bld", F.one_hot(labels, len(pool)).to(pool), pool),
    ],
    "queries.with_class_token": [token_first_by_padding, token_first_by_splitting],
    "queries.pool_parameters": [
        lambda *sizes: math.prod(sizes),
        lambda classes, layers, tokens, width: sum(
            torch.empty(classes, tokens, width, device="meta").numel() for _ in range(layers)
        ),
    ],
    "queries.pull": [pull_of_vectors, pull_of_directions],
}
