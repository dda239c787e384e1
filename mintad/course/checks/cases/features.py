"""Drawn cases of notebook 03."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from mintad.course.checks.cases import both_labels, compared, normal, whole


@compared("features.fuse")
def fuse(rng: np.random.Generator) -> tuple[Any, ...]:
    """Stages of other sizes, on another grid."""
    images, grid = whole(rng, 1, 4), whole(rng, 2, 5)
    stages = [normal(rng, images, whole(rng, 1, 6), grid * times, grid * times) for times in rng.permutation([2, 4])]
    return *stages, grid


@compared("features.nearest_score", tolerance=1e-3)
def nearest_score(rng: np.random.Generator) -> tuple[Any, ...]:
    """Tokens and memories of other sizes."""
    width = whole(rng, 1, 9)
    return normal(rng, whole(rng, 1, 40), width) * 3, normal(rng, whole(rng, 1, 60), width)


@compared("features.mahalanobis", tolerance=2e-3)
def mahalanobis(rng: np.random.Generator) -> tuple[Any, ...]:
    """Full covariances, another for each position."""
    images, positions, width = whole(rng, 1, 5), whole(rng, 2, 6), whole(rng, 2, 5)
    root = normal(rng, positions, width, width)
    covariance = root @ root.mT + torch.eye(width)
    return normal(rng, images, positions, width) * 2, normal(rng, positions, width), covariance


@compared("features.mean_and_pooled")
def mean_and_pooled(rng: np.random.Generator) -> tuple[Any, ...]:
    """Categories of different sizes, scales and order."""
    parts = []
    for name in rng.permutation(["bolt", "gear", "leather", "wood"])[: whole(rng, 2, 4)]:
        n = whole(rng, 4, 30)
        labels = both_labels(rng, n)
        scores = np.round(rng.normal(size=n) + labels * rng.uniform(0, 2), 1) + whole(rng, 0, 5)
        parts += list(zip(scores, labels, [str(name)] * n, strict=True))
    scores, labels, names = zip(*[parts[n] for n in rng.permutation(len(parts))], strict=True)
    return np.array(scores), np.array(labels), np.array(names)
