"""MINT-AD (§3, Fig. 3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mintad.config import ModelConfig
from mintad.model.inr import INR
from mintad.model.prior import DistributionDecoder
from mintad.model.prompt_mapper import PromptMapper
from mintad.model.reconstruction import Output, ReconstructionModel


class MintAD(ReconstructionModel):
    """Reconstruction transformer whose decoder is driven by a class-aware query.

    Args:
        config: sizes and options.
        channels: F, channels of the backbone features.
        grid: H, W of the tokens.
        classes: N, classes that the head tells apart.
    """

    def __init__(self, config: ModelConfig, channels: int, grid: tuple[int, int], classes: int) -> None:
        super().__init__(config, channels, grid)
        tokens = grid[0] * grid[1]
        self.prompt_mapper = PromptMapper(
            tokens,
            config.width,
            classes,
            hidden=config.token_hidden,
            token_width=config.token_width,
            class_encoder_softmax=config.class_encoder_softmax,
            token_softmax=config.token_softmax,
            head_reads=config.head_reads,
            gain=config.prompt_mapper_gain,
        )
        self.query_position = nn.Parameter(torch.rand(tokens, 3) * 2 - 1)
        self.inr = INR(
            config.width,
            token_width=config.token_width,
            hidden=config.inr_width,
            layers=config.inr_layers,
            omega=config.inr_omega,
            modulator_skip=config.modulator_skip,
        )
        self.distribution_decoder = DistributionDecoder(config.width, min_log_variance=config.min_log_variance)

    def forward(self, feat_BLF: Tensor, noise: Tensor | None = None) -> Output:
        """Reconstruct features (B, L, F); `noise` feeds the jitter in training (see `FeatureJitter`)."""
        feat_BLF = self.standardise(feat_BLF)
        adapted_BLD = self.adapter(feat_BLF)
        token_BT, class_logits_BN = self.prompt_mapper(adapted_BLD)
        query_BLD = self.inr(self.query_position, token_BT)
        mean_BLD, log_variance_BLD = self.distribution_decoder(query_BLD)
        queries = [query_BLD] * self.config.decoder_layers
        reconstruction_BLF = self.reconstruct(feat_BLF, adapted_BLD, queries, noise)
        return Output(
            target=feat_BLF,
            reconstruction=reconstruction_BLF,
            adapted=adapted_BLD,
            query=query_BLD,
            class_logits=class_logits_BN,
            class_token=token_BT,
            mean=mean_BLD,
            log_variance=log_variance_BLD,
        )
