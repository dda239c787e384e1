"""Drawn cases of notebook 07."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from mintad.course.checks.cases import compared, normal, torch_seed, whole


@compared("inr.sine_layer", tolerance=1e-3)
def sine_layer(rng: np.random.Generator) -> tuple[Any, ...]:
    """Other sizes and frequencies."""
    inputs, outputs = whole(rng, 1, 6), whole(rng, 1, 7)
    return normal(rng, whole(rng, 1, 9), inputs), normal(rng, outputs, inputs), normal(rng, outputs), rng.uniform(1, 20)


@compared("inr.modulated", withheld=["mintad.course.checks.inr._modulated"])
def modulated(rng: np.random.Generator) -> tuple[Any, ...]:
    """Other depths and widths."""
    torch_seed(rng)
    position, token, layers = whole(rng, 2, 4), whole(rng, 2, 6), whole(rng, 1, 4)
    widths = [whole(rng, 3, 8) for _ in range(layers)]
    sines = [nn.Linear(a, b) for a, b in zip([position, *widths], widths, strict=False)]
    modulators = [nn.Linear(a, b) for a, b in zip([position + token, *widths], widths, strict=False)]
    return normal(rng, whole(rng, 2, 9), position), normal(rng, token), sines, modulators


@compared("inr.inr_parameters")
def inr_parameters(rng: np.random.Generator) -> tuple[Any, ...]:
    """Other sizes."""
    return whole(rng, 1, 300), whole(rng, 1, 6), whole(rng, 1, 64), whole(rng, 1, 300)
