"""How long a run is and how fast it learns (§4.1): pure functions, so that resuming needs no state of a scheduler."""

from __future__ import annotations

import math

from mintad.config import TrainConfig


def batch_shape(images: int, config: TrainConfig) -> tuple[int, int]:
    """Return images per step and steps per epoch; the incomplete last batch of an epoch is left out."""
    batch = min(config.batch_size, images)
    return batch, max(1, images // batch)


def total_steps(images: int, config: TrainConfig) -> int:
    """Return the optimiser steps of a run over `images` training images."""
    if config.steps is not None:
        return config.steps
    return max(1, round(config.epochs * batch_shape(images, config)[1]))


def learning_rate(step: int, steps: int, config: TrainConfig) -> float:
    """Return the learning rate of step 0..steps-1."""
    if config.schedule == "step":
        return config.lr * (0.1 if step >= 0.8 * steps else 1.0)
    warm_up = max(1, steps // 10)
    if step < warm_up:
        return config.lr * (step + 1) / warm_up
    return config.lr * 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))
