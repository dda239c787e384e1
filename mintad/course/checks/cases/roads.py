"""Drawn cases of notebook 13."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from mintad.course.checks.cases import compared, normal, torch_seed, whole


@compared("roads.coupling", withheld=["mintad.baselines.cflow.Coupling.forward", "mintad.course.checks.roads._coupled"])
def coupling(rng: np.random.Generator) -> tuple[Any, ...]:
    """Rows of other sizes, another network, either way."""
    torch_seed(rng)
    half = whole(rng, 2, 4)
    network = nn.Sequential(nn.Linear(half, 6), nn.Tanh(), nn.Linear(6, 2 * half))
    return normal(rng, whole(rng, 2, 7), 2 * half), network, bool(rng.integers(0, 2))


@compared("roads.simplenet_loss", withheld=["mintad.baselines.simplenet.truncated_l1"])
def simplenet_loss(rng: np.random.Generator) -> tuple[Any, ...]:
    """Tokens of other sizes, with scores on both sides of the margin."""
    torch_seed(rng)
    tokens, width = whole(rng, 8, 20), whole(rng, 2, 6)
    discriminator = nn.Sequential(nn.Linear(width, 8), nn.Tanh(), nn.Linear(8, 1), nn.Flatten(0))
    with torch.no_grad():
        discriminator[2].weight *= 4  # else no score would be beyond the margin
    noise = normal(rng, tokens, width)
    return (
        normal(rng, tokens, width) * 2,
        noise,
        float(rng.uniform(0.2, 0.7)),
        discriminator,
        float(rng.uniform(0.2, 1)),
    )


@compared("roads.distillation")
def distillation(rng: np.random.Generator) -> tuple[Any, ...]:
    """Teachers whose channels differ in place and spread."""
    shape = whole(rng, 1, 4), whole(rng, 2, 8), whole(rng, 2, 6)
    mean, std = normal(rng, shape[2]) * 3, normal(rng, shape[2]).exp()
    return normal(rng, *shape) * std + mean, normal(rng, *shape), mean, std, float(rng.uniform(0.3, 3))


@compared("roads.look_up")
def look_up(rng: np.random.Generator) -> tuple[Any, ...]:
    """Codes of different lengths, of which some have no token near them."""
    width, codes = whole(rng, 2, 6), whole(rng, 4, 12)
    return normal(rng, whole(rng, 6, 30), width) * 2, normal(rng, codes, width) * normal(rng, codes, 1).exp()
