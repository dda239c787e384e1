"""The text prompt, the third class-aware improvement of UniAD (§3.1, Fig. 2d, Table 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from mintad.config import ModelConfig, section
from mintad.model.reconstruction import Output, ReconstructionModel
from mintad.model.text import WIDTHS, embed_classes
from mintad.model.uniad import default_mask
from mintad.model.variants import variant


@variant("text_prompt")
class TextPrompt(ReconstructionModel):
    """UniAD whose decoder query is a sentence's embedding, the same at all positions and in all layers (Fig. 2d).

    A frozen text encoder reads "a photo of a CLASS"; a learned linear layer takes its width to D, which the paper does
    not mention. The embeddings are part of the weights: a trained model needs no text encoder.
    """

    needs_labels = True

    @section("model.options")
    class Options:
        encoder: Literal["minilm", "clip"] = "minilm"
        """'minilm' (all-MiniLM-L6-v2, comes with a pip package) or 'clip' (the paper's; ViT-B/32 here, from a hub)."""

    def __init__(self, config: ModelConfig, channels: int, grid: tuple[int, int], classes: int) -> None:
        super().__init__(config, channels, grid, default_mask=default_mask)
        self.register_buffer("text_NE", torch.zeros(classes, WIDTHS[self.options.encoder]))
        self.project = nn.Linear(self.text_NE.shape[1], config.width)

    def learn_names(self, names: Sequence[str]) -> None:
        """Embed the names of the classes, in the order of their indices; for errors see `embed_classes`."""
        self.text_NE.copy_(embed_classes(names, self.options.encoder))

    def forward(self, feat_BLF: Tensor, noise: Tensor | None = None, labels_B: Tensor | None = None) -> Output:
        """Reconstruct features (B, L, F) of images of the classes `labels_B`; `noise` as in `FeatureJitter`."""
        output = self.embed(feat_BLF)
        text_BE = self.text_NE[self.require_labels(labels_B)]
        output.query = self.project(text_BE)[:, None].expand(-1, self.tokens, -1)
        output.reconstruction = self.reconstruct(output, [output.query] * self.config.decoder_layers, noise)
        return output
