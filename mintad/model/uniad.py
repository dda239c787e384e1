"""The UniAD baseline (§3.1, Fig. 2a): a learned query in every decoder layer, shared by all classes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mintad.config import ModelConfig
from mintad.model.reconstruction import Output, ReconstructionModel


class UniAD(ReconstructionModel):
    """Reconstruction transformer with class-agnostic queries and a neighbour mask (7x7 on UniAD's 14x14 grid)."""

    def __init__(self, config: ModelConfig, channels: int, grid: tuple[int, int]) -> None:
        half = min(grid) // 2
        super().__init__(config, channels, grid, default_mask=half if half % 2 else half - 1)
        tokens = grid[0] * grid[1]
        self.queries = nn.ParameterList(torch.randn(tokens, config.width) for _ in range(config.decoder_layers))

    def forward(self, feat_BLF: Tensor, noise: Tensor | None = None) -> Output:
        """Reconstruct features (B, L, F); `noise` feeds the jitter in training (see `FeatureJitter`)."""
        feat_BLF = self.standardise(feat_BLF)
        adapted_BLD = self.adapter(feat_BLF)
        reconstruction_BLF = self.reconstruct(feat_BLF, adapted_BLD, list(self.queries), noise)
        return Output(target=feat_BLF, reconstruction=reconstruction_BLF, adapted=adapted_BLD)
