"""Settings of an experiment: one set of values for all shapes, never tuned for one of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from mintad.errors import MintadError, nearest

ACTIVATIONS = ("relu", "tanh", "silu")


class ToyError(MintadError):
    """An unknown shape, model or setting, or a value out of range; the message lists what is allowed."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Sizes, noise and training of the small networks, and the grid on which they are measured.

    Raises:
        ToyError: a value is out of range; the message names the setting, the value and what is allowed.
    """

    width: int = 64
    """Units of every hidden layer."""
    depth: int = 3
    """Number of hidden layers; a query enters in the middle."""
    activation: str = "silu"
    """relu, tanh or silu."""
    sigma: float = 0.15
    """Standard deviation of the input jitter of the denoising models, in the plane's units."""
    steps: int = 1000
    """Training steps (Adam; the learning rate falls from `lr` to 0 along a cosine)."""
    lr: float = 3e-3
    """Learning rate at the first step."""
    batch: int = 64
    """Points per training step."""
    train_points: int = 1000
    """Training points of a network, divided among the classes by their weights."""
    held_out: int = 400
    """Held-out normal points of each class, for thresholds; there are as many test points."""
    token_width: int = 8
    """Width of the class token of the INR models."""
    omega: float = 5.0
    """Frequency factor of the SIREN's first layer. The image model has 30, for 196 positions; here there is one."""
    weight_ce: float = 1.0
    """Weight of the classifier's cross-entropy in `inr_unlabelled` (1 in Eq. 6)."""
    grid: int = 121
    """Lattice points along each axis, for the measures."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "activation":
                if value not in ACTIVATIONS:
                    raise ToyError(f"unknown activation '{value}'." + nearest(str(value), ACTIVATIONS))
            elif field.type == "int":
                object.__setattr__(self, field.name, whole_number(field.name, value, LEAST.get(field.name, 1)))
            else:
                _check_real(field.name, value, zero_allowed=field.name in ("sigma", "weight_ce"))


LEAST = {"grid": 21, "held_out": 20}
"""Smallest values of the settings that need more than 1: a lattice needs resolution, a threshold needs points."""


def whole_number(name: str, value: object, least: int) -> int:
    """Return the value as an int; 64.0 counts as 64, because papermill may pass it so.

    Raises:
        ToyError: the value is no whole number, or less than `least`.
    """
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if not math.isfinite(number) or number != int(number) or number < least:
        raise ToyError(f"{name} must be a whole number of at least {least}, not {value}")
    return int(number)


def _check_real(name: str, value: object, *, zero_allowed: bool) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ToyError(f"{name} must be a finite number, not {value}")
    if value < 0 or (value == 0 and not zero_allowed):
        raise ToyError(f"{name} must be {'0 or more' if zero_allowed else 'above 0'}, not {value}")
