"""The three class-aware improvements of UniAD (§3.1, Fig. 2b-d, Table 4). All must be told the class."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mintad.config import ModelConfig
from mintad.model.reconstruction import Output, ReconstructionModel
from mintad.model.text import WIDTHS, embed_classes
from mintad.model.uniad import default_mask


class QueryPool(ReconstructionModel):
    """UniAD with a learned query of its own for every class, in every decoder layer (Fig. 2b). The pool grows with the
    classes: N * decoder_layers * L * D numbers."""

    needs_labels = True

    def __init__(self, config: ModelConfig, channels: int, grid: tuple[int, int], classes: int) -> None:
        super().__init__(config, channels, grid, default_mask=default_mask(grid))
        self.pool = nn.Parameter(torch.randn(config.decoder_layers, classes, self.tokens, config.width))

    def forward(self, feat_BLF: Tensor, noise: Tensor | None = None, labels_B: Tensor | None = None) -> Output:
        """Reconstruct features (B, L, F) of images of the classes `labels_B`; `noise` as in `FeatureJitter`."""
        feat_BLF = self.standardise(feat_BLF)
        adapted_BLD = self.adapter(feat_BLF)
        labels_B = self.require_labels(labels_B)
        queries = [pool_NLD[labels_B] for pool_NLD in self.pool]
        return Output(
            target=feat_BLF,
            reconstruction=self.reconstruct(feat_BLF, adapted_BLD, queries, noise),
            adapted=adapted_BLD,
            query=queries[0],
        )


class ClassToken(ReconstructionModel):
    """UniAD with a learned token of the class before the image's tokens, in encoder and decoder, cut off behind them
    (Fig. 2c). The decoder's learned queries have a place for it, too."""

    needs_labels = True

    def __init__(self, config: ModelConfig, channels: int, grid: tuple[int, int], classes: int) -> None:
        super().__init__(config, channels, grid, default_mask=default_mask(grid), extra_tokens=1)
        self.class_tokens = nn.Embedding(classes, config.width)
        self.queries = nn.ParameterList(
            torch.randn(1 + self.tokens, config.width) for _ in range(config.decoder_layers)
        )

    def forward(self, feat_BLF: Tensor, noise: Tensor | None = None, labels_B: Tensor | None = None) -> Output:
        """Reconstruct features (B, L, F) of images of the classes `labels_B`; `noise` as in `FeatureJitter`."""
        feat_BLF = self.standardise(feat_BLF)
        adapted_BLD = self.adapter(feat_BLF)
        token_BD = self.class_tokens(self.require_labels(labels_B))
        tokens_BLD = torch.cat([token_BD[:, None], self.jittered(feat_BLF, adapted_BLD, noise)], dim=1)
        reconstruction_BLF = self.output(self.transformer(tokens_BLD, list(self.queries))[:, 1:])
        return Output(target=feat_BLF, reconstruction=reconstruction_BLF, adapted=adapted_BLD, class_token=token_BD)


class TextPrompt(ReconstructionModel):
    """UniAD whose decoder query is a sentence's embedding, the same at all positions and in all layers (Fig. 2d).

    A frozen text encoder reads "a photo of a CLASS"; one learned linear layer takes its width to D, which the paper
    does not mention but any encoder needs whose width is not D. The embeddings are part of the weights: a trained
    model needs no text encoder.
    """

    needs_labels = True

    def __init__(self, config: ModelConfig, channels: int, grid: tuple[int, int], classes: int) -> None:
        super().__init__(config, channels, grid, default_mask=default_mask(grid))
        self.register_buffer("text_NE", torch.zeros(classes, WIDTHS[config.text_encoder]))
        self.project = nn.Linear(self.text_NE.shape[1], config.width)

    def learn_names(self, names: Sequence[str]) -> None:
        """Embed the names of the classes, in the order of their indices.

        Raises:
            WeightsError: the text encoder or its weights are missing.
        """
        self.text_NE.copy_(embed_classes(names, self.config.text_encoder))

    def forward(self, feat_BLF: Tensor, noise: Tensor | None = None, labels_B: Tensor | None = None) -> Output:
        """Reconstruct features (B, L, F) of images of the classes `labels_B`; `noise` as in `FeatureJitter`."""
        feat_BLF = self.standardise(feat_BLF)
        adapted_BLD = self.adapter(feat_BLF)
        query_BLD = self.project(self.text_NE[self.require_labels(labels_B)])[:, None].expand_as(adapted_BLD)
        queries = [query_BLD] * self.config.decoder_layers
        return Output(
            target=feat_BLF,
            reconstruction=self.reconstruct(feat_BLF, adapted_BLD, queries, noise),
            adapted=adapted_BLD,
            query=query_BLD,
        )
