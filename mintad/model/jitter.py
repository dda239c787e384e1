"""Feature jitter: the noise that turns reconstruction into denoising (§3.2, from UniAD)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FeatureJitter(nn.Module):
    """Gaussian noise on every token, scaled by the token's own norm.

    The standard deviation of the noise on a token x with C channels is ``scale * |x|_2 / C``, in training mode only.
    UniAD's `scale` (alpha) is 20. `probability`, the share of jittered batches, counts only where no noise is given.
    """

    def __init__(self, scale: float = 20.0, probability: float = 1.0) -> None:
        super().__init__()
        self.scale, self.probability = scale, probability

    def forward(self, tokens_BLC: Tensor, noise_BLC: Tensor | None = None) -> Tensor:
        """Return jittered tokens, same shape.

        The standard normal noise is drawn here when it is not given. The trainer gives it (zeros for a batch without
        jitter), so that it does not depend on the number of processes that share the batch.
        """
        if not self.training or self.scale == 0:
            return tokens_BLC
        if noise_BLC is None:
            if self.probability < 1 and torch.rand(()) >= self.probability:
                return tokens_BLC
            noise_BLC = torch.randn_like(tokens_BLC)
        std_BL1 = tokens_BLC.norm(dim=-1, keepdim=True) * (self.scale / tokens_BLC.shape[-1])
        return tokens_BLC + noise_BLC * std_BL1
