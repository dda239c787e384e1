"""The query pool, the first class-aware improvement of UniAD (§3.1, Fig. 2b, Table 4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mintad.config import ModelConfig
from mintad.model.reconstruction import Output, ReconstructionModel
from mintad.model.uniad import default_mask
from mintad.model.variants import variant


@variant("query_pool")
class QueryPool(ReconstructionModel):
    """UniAD with a learned query of its own for every class, in every decoder layer (Fig. 2b).

    The pool grows with the classes: N * decoder_layers * L * D numbers.
    """

    needs_labels = True

    def __init__(self, config: ModelConfig, channels: int, grid: tuple[int, int], classes: int) -> None:
        super().__init__(config, channels, grid, default_mask=default_mask)
        self.pool = nn.Parameter(torch.randn(config.decoder_layers, classes, self.tokens, config.width))

    def forward(self, feat_BLF: Tensor, noise: Tensor | None = None, labels_B: Tensor | None = None) -> Output:
        """Reconstruct features (B, L, F) of images of the classes `labels_B`; `noise` as in `FeatureJitter`."""
        output = self.embed(feat_BLF)
        labels_B = self.require_labels(labels_B)
        queries = [pool_NLD[labels_B] for pool_NLD in self.pool]
        output.query = queries[0]
        output.reconstruction = self.reconstruct(output, queries, noise)
        return output
