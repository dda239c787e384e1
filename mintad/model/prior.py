"""The Gaussian prior over adapted features (§3.4, Eqs 2-4, Table 14)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mintad.model.precision import in_float32
from mintad.model.prompt_mapper import mlp


class DistributionDecoder(nn.Module):
    """Mean and log-variance of every token's Gaussian, from the class-aware query (Table 14).

    Predicting the *logarithm* of the variance keeps it positive. The likelihood of Eq. 4 has no upper bound: it
    grows without end as the adapter shrinks its output to a point. `min_log_variance` is the floor that ends this.
    `channels`, C, are those of the features whose distribution it is: the width D, or F without an adapter.
    """

    def __init__(self, width: int = 256, channels: int | None = None, *, min_log_variance: float = -10.0) -> None:
        super().__init__()
        self.network = mlp((width, width, width, 2 * (channels or width)), nn.LeakyReLU)
        self.min_log_variance = min_log_variance

    @in_float32
    def forward(self, query_BLD: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean (B, L, C) and log-variance (B, L, C) for a query (B, L, D)."""
        mean_BLC, log_variance_BLC = self.network(query_BLD).chunk(2, dim=-1)
        return mean_BLC, log_variance_BLC.clamp(min=self.min_log_variance)


def gaussian_nll(value: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return ``-log N(value | mean, exp(log_variance))`` of every element, constant included (Eq. 4 before its sum)."""
    squared_error = (value - mean).square() * torch.exp(-log_variance)
    return 0.5 * (math.log(2 * math.pi) + log_variance + squared_error)
