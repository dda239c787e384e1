"""UniAD (§3.1, Fig. 2a): a learned query in every decoder layer, shared by all classes.

The variant is UniAD's *network*. What it is trained and scored with is the configuration's: in the presets `paper` and
`fast` our recipe, the same as MINT-AD's; in the preset `uniad` UniAD's own, see `mintad.config.tree.UNIAD_RECIPE`. The
paper's "UniAD" columns are of the published one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mintad.config import ModelConfig
from mintad.model.reconstruction import Output, ReconstructionModel
from mintad.model.variants import variant


def default_mask(grid: tuple[int, int]) -> int:
    """Return the side of UniAD's neighbour mask: the odd half of the grid, its 7 on 14x14."""
    half = min(grid) // 2
    return half if half % 2 else half - 1


@variant("uniad")
class UniAD(ReconstructionModel):
    """UniAD's network: class-agnostic queries, neighbour mask; as published only with the preset `uniad`.

    The mask is 7x7 on UniAD's 14x14 grid.
    """

    def __init__(self, config: ModelConfig, channels: int, grid: tuple[int, int], classes: int) -> None:
        super().__init__(config, channels, grid, default_mask=default_mask)
        self.queries = nn.ParameterList(torch.randn(self.tokens, config.width) for _ in range(config.decoder_layers))

    def forward(self, feat_BLF: Tensor, noise: Tensor | None = None, labels_B: Tensor | None = None) -> Output:
        """Reconstruct features (B, L, F); `noise` as in `FeatureJitter`, `labels_B` is not used."""
        output = self.embed(feat_BLF)
        output.reconstruction = self.reconstruct(output, list(self.queries), noise)
        return output
