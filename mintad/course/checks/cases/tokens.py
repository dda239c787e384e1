"""Drawn cases of notebook 06."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from mintad.course.checks.cases import compared, normal, torch_seed, whole


@compared(
    "tokens.prompt_mapper", withheld=["mintad.model.prompt_mapper.PromptMapper", "mintad.course.checks.tokens._mapped"]
)
def prompt_mapper(rng: np.random.Generator) -> tuple[Any, ...]:
    """Other sizes; weights large enough that each softmax counts."""
    torch_seed(rng)
    images, tokens, width, kinds, token, classes = (whole(rng, 2, 7) for _ in range(6))
    encoder, mixer, head = nn.Linear(tokens, kinds), nn.Linear(width * kinds, token), nn.Linear(token, classes)
    with torch.no_grad():
        for layer in (encoder, mixer):
            layer.weight *= 3
    return normal(rng, images, tokens, width) * 3, encoder, mixer, head


@compared("tokens.cross_entropy")
def cross_entropy(rng: np.random.Generator) -> tuple[Any, ...]:
    """Logits of all sizes."""
    images, classes = whole(rng, 1, 12), whole(rng, 2, 9)
    labels = torch.from_numpy(rng.integers(0, classes, images))
    return normal(rng, images, classes) * float(rng.choice([1, 10, 300])), labels


@compared("tokens.silhouette", withheld=["sklearn.metrics.silhouette_score", "sklearn.metrics.silhouette_samples"])
def silhouette(rng: np.random.Generator) -> tuple[Any, ...]:
    """Classes of different sizes and distances, in any order."""
    classes = whole(rng, 2, 5)
    labels = rng.permutation(np.concatenate([np.arange(classes).repeat(2), rng.integers(0, classes, 15)]))
    centres = rng.normal(size=(classes, 3)) * rng.uniform(0, 3)
    return centres[labels] + rng.normal(size=(len(labels), 3)), np.array(list("vwxyz"))[labels]
