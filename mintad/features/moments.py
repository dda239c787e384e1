"""Mean and standard deviation of channels, of more tokens than fit into memory."""

from __future__ import annotations

import torch
from torch import Tensor


class RunningMoments:
    """Sums over tokens that come batch by batch, in float64, so that their order does not show in float32."""

    def __init__(self) -> None:
        self.count, self.total_F, self.squares_F = 0, 0.0, 0.0

    def add(self, tokens_NF: Tensor) -> None:
        """Take N more tokens of F channels."""
        tokens_NF = tokens_NF.double()
        self.count += len(tokens_NF)
        self.total_F = self.total_F + tokens_NF.sum(dim=0)
        self.squares_F = self.squares_F + tokens_NF.square().sum(dim=0)

    def mean_and_std(self) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation (F,), float32.

        A channel that does not vary has a deviation of 1, so that dividing by it is harmless.
        """
        mean_F = self.total_F / self.count
        std_F = (self.squares_F / self.count - mean_F.square()).clamp(min=0).sqrt()
        return mean_F.float(), torch.where(std_F > 1e-6, std_F, 1.0).float()
