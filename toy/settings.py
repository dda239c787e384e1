"""What an experiment is made with; one set of values for all shapes, never tuned for one of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from mintad.errors import MintadError, nearest

ACTIVATIONS = ("relu", "tanh", "silu")


class ToyError(MintadError):
    """A shape, model or setting that does not exist or is out of range; the message lists what is allowed."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Sizes, noise and training of the small networks, and how they are judged.

    Raises:
        ToyError: a value out of range; names the setting, the value and what is allowed.
    """

    width: int = 64
    """Units of every hidden layer."""
    depth: int = 3
    """Hidden layers; where a query enters, it enters in the middle."""
    activation: str = "silu"
    """relu, tanh or silu."""
    sigma: float = 0.15
    """Standard deviation of the input jitter of the denoising models, in the plane's units."""
    steps: int = 1000
    """Training steps (Adam, one cosine from lr to 0)."""
    lr: float = 3e-3
    batch: int = 64
    """Points of a training step."""
    train_points: int = 1000
    """Training points of a network, divided among the classes by their weights."""
    held_out: int = 400
    """Held-out normal points of each class, for thresholds; as many again are test points."""
    token_width: int = 8
    """Width of the class token of the INR models."""
    omega: float = 5.0
    """Frequency factor of the SIREN's first layer. The image model has 30 for 196 positions; here there is one."""
    weight_ce: float = 1.0
    """Weight of the classifier's cross-entropy in `inr_unlabelled` (Eq. 6 has 1)."""
    grid: int = 121
    """Points of the decision field along each axis."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "activation":
                if value not in ACTIVATIONS:
                    raise ToyError(f"unknown activation '{value}'." + nearest(str(value), ACTIVATIONS))
            elif not math.isfinite(value):
                raise ToyError(f"{field.name} must be a finite number, not {value}")
            elif field.name in ("sigma", "weight_ce"):
                if value < 0:
                    raise ToyError(f"{field.name} must be 0 or more, not {value}")
            elif value <= 0 or (field.type == "int" and value != int(value)):
                kind = "a whole number of at least 1" if field.type == "int" else "above 0"
                raise ToyError(f"{field.name} must be {kind}, not {value}")
        if self.grid < 21:
            raise ToyError(f"grid must be at least 21, not {self.grid}")
        if self.held_out < 20:
            raise ToyError(f"held_out must be at least 20, not {self.held_out}: a threshold needs points")
