"""The class token, the second class-aware improvement of UniAD (§3.1, Fig. 2c, Table 4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mintad.config import ModelConfig
from mintad.model.reconstruction import Output, ReconstructionModel
from mintad.model.uniad import default_mask
from mintad.model.variants import variant


@variant("class_token")
class ClassToken(ReconstructionModel):
    """UniAD with a learned token of the class before the image's tokens (Fig. 2c), cut off behind the decoder.

    The decoder's learned queries have a place for it, too.
    """

    needs_labels = True

    def __init__(self, config: ModelConfig, channels: int, grid: tuple[int, int], classes: int) -> None:
        super().__init__(config, channels, grid, default_mask=default_mask, extra_tokens=1)
        self.class_tokens = nn.Embedding(classes, config.width)
        shape = (1 + self.tokens, config.width)
        self.queries = nn.ParameterList(torch.randn(shape) for _ in range(config.decoder_layers))

    def forward(self, feat_BLF: Tensor, noise: Tensor | None = None, labels_B: Tensor | None = None) -> Output:
        """Reconstruct features (B, L, F) of images of the classes `labels_B`; `noise` as in `FeatureJitter`."""
        output = self.embed(feat_BLF)
        output.class_token = self.class_tokens(self.require_labels(labels_B))
        tokens_BLD = torch.cat([output.class_token[:, None], self.jittered(output, noise)], dim=1)
        output.reconstruction = self.output(self.transformer(tokens_BLD, list(self.queries))[:, 1:])
        return output
