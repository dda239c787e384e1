"""Drawn cases of notebook 10."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from mintad.course.checks.cases import both_labels, compared, normal, torch_seed, whole
from mintad.course.lab.assembly import small_net
from mintad.course.stand_ins import STAND_INS


@compared("training.epochs")
def epochs(rng: np.random.Generator) -> tuple[Any, ...]:
    """Runs that end within an epoch, and batches larger than the set."""
    return whole(rng, 1, 2000), whole(rng, 1, 64), whole(rng, 10, 500)


@compared("training.wrong_pairs")
def wrong_pairs(rng: np.random.Generator) -> tuple[Any, ...]:
    """Mixed images, some of them tied."""
    labels = both_labels(rng, whole(rng, 4, 30))
    return np.round(rng.normal(size=len(labels)) + labels, 1), labels


@compared("training.paired")
def paired(rng: np.random.Generator) -> tuple[Any, ...]:
    """Categories that differ more than the variants do."""
    n = whole(rng, 3, 15)
    levels = rng.uniform(0.5, 1, n)
    return levels + rng.normal(0, 0.01, n), levels + rng.normal(0, 0.01, n)


@compared("training.nearest_mean")
def nearest_mean(rng: np.random.Generator) -> tuple[Any, ...]:
    """Channels of different scales, classes of different sizes."""
    classes, channels = whole(rng, 2, 5), whole(rng, 2, 4)
    scale = 10.0 ** rng.integers(-2, 3, channels)
    labels = rng.permutation(np.concatenate([np.arange(classes), rng.integers(0, classes, 20)]))
    centres = rng.normal(size=(classes, channels)) * 2
    train = (centres[labels] + rng.normal(size=(len(labels), channels))) * scale
    return train, labels, rng.normal(size=(whole(rng, 3, 20), channels)) * 2 * scale


@compared("training.whole_model", tolerance=1e-3)
def whole_model(rng: np.random.Generator) -> tuple[Any, ...]:
    """Nets of other sizes, depths and weights."""
    torch_seed(rng)
    grid, channels, images = (whole(rng, 2, 3), whole(rng, 2, 4)), whole(rng, 3, 9), whole(rng, 2, 4)
    net = small_net(grid=grid, channels=channels, classes=whole(rng, 2, 5), layers=whole(rng, 2, 3))
    shape = images, grid[0] * grid[1], channels
    return normal(rng, *shape), normal(rng, *shape), net, STAND_INS


@compared("training.whole_loss")
def whole_loss(rng: np.random.Generator) -> tuple[Any, ...]:
    """Outputs of other sizes."""
    images, tokens, channels, width, classes = (whole(rng, 2, 6) for _ in range(5))
    labels = torch.from_numpy(rng.integers(0, classes, images))
    target, reconstruction = normal(rng, images, tokens, channels), normal(rng, images, tokens, channels)
    adapted, mean, log_variance = (normal(rng, images, tokens, width) for _ in range(3))
    return labels, target, reconstruction, adapted, normal(rng, images, classes), mean, log_variance, STAND_INS
