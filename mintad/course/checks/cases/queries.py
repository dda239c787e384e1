"""Drawn cases of notebook 05."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from mintad.course.checks.cases import compared, normal, whole


@compared("queries.pick_query")
def pick_query(rng: np.random.Generator) -> tuple[Any, ...]:
    """Other pools and labels."""
    classes = whole(rng, 2, 9)
    labels = torch.from_numpy(rng.integers(0, classes, whole(rng, 1, 12)))
    return normal(rng, classes, whole(rng, 1, 6), whole(rng, 1, 6)), labels


@compared("queries.with_class_token")
def with_class_token(rng: np.random.Generator) -> tuple[Any, ...]:
    """Other transformers; they mix the tokens."""
    images, tokens, width = whole(rng, 1, 4), whole(rng, 1, 8), whole(rng, 1, 6)
    mixing = normal(rng, 1 + tokens, 1 + tokens)

    def transform(x: Tensor) -> Tensor:
        return mixing @ x

    return normal(rng, images, tokens, width), normal(rng, images, width), transform


@compared("queries.pool_parameters")
def pool_parameters(rng: np.random.Generator) -> tuple[Any, ...]:
    """Other sizes."""
    return whole(rng, 1, 300), whole(rng, 1, 6), whole(rng, 1, 200), whole(rng, 1, 300)


@compared("queries.pull")
def pull(rng: np.random.Generator) -> tuple[Any, ...]:
    """Reconstructions that move along the way and across it."""
    return tuple(normal(rng, 4, whole(rng, 2, 9), whole(rng, 2, 6)))
