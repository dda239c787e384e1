"""Drawn cases of notebook 08."""

from __future__ import annotations

from typing import Any

import numpy as np

from mintad.course.checks.cases import compared, normal, whole


@compared("prior.gaussian_nll", withheld=["mintad.model.prior.gaussian_nll"])
def gaussian_nll(rng: np.random.Generator) -> tuple[Any, ...]:
    """Other shapes."""
    shape = [whole(rng, 1, 5) for _ in range(whole(rng, 1, 3))]
    return tuple(normal(rng, *shape) for _ in range(3))


@compared("prior.best_log_variance", tolerance=1e-3)
def best_log_variance(rng: np.random.Generator) -> tuple[Any, ...]:
    """Values that spread differently, and means beside theirs."""
    positions, channels = whole(rng, 1, 5), whole(rng, 1, 5)
    scale = 10 ** (normal(rng, positions, channels) / 2)
    return normal(rng, whole(rng, 5, 60), positions, channels) * scale, normal(rng, positions, channels)


@compared("prior.reduce", withheld=["mintad.model.losses.reduce"])
def reduce(rng: np.random.Generator) -> tuple[Any, ...]:
    """Other sizes; each reduction may come."""
    return normal(rng, whole(rng, 1, 5), whole(rng, 2, 6), whole(rng, 2, 6)), str(
        rng.choice(["element", "token", "sum"])
    )


@compared("prior.variance_lost", tolerance=1e-3)
def variance_lost(rng: np.random.Generator) -> tuple[Any, ...]:
    """Channels that shrink or grow differently, and are moved."""
    images, positions, channels = whole(rng, 5, 30), whole(rng, 1, 5), whole(rng, 1, 5)
    before = normal(rng, images, positions, channels) * 10 ** normal(rng, channels).clamp(-1, 1)
    return before, before * normal(rng, positions, channels).exp() / 2 + normal(rng, channels)
