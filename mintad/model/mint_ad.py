"""MINT-AD (§3, Fig. 3), its other prompts (Fig. 3a, b; Table 4) and its MLP query (Table 9)."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from mintad.config import ModelConfig
from mintad.model.inr import INR
from mintad.model.mlp_query import MLPQuery
from mintad.model.prior import DistributionDecoder
from mintad.model.prompt_mapper import PromptMapper
from mintad.model.reconstruction import Output, ReconstructionModel


class MintAD(ReconstructionModel):
    """Reconstruction transformer whose decoder is driven by a class-aware query.

    The prompt is the image's own class token, learned from labels that are not needed at test time (feature prompt,
    Fig. 3c). `config.class_loss`, `prior_loss` and `class_query` switch Table 5's parts; what nothing uses is not
    built.

    Args:
        config: sizes and options.
        channels: F, channels of the backbone features.
        grid: H, W of the tokens.
        classes: N, classes that the head tells apart.
    """

    def __init__(self, config: ModelConfig, channels: int, grid: tuple[int, int], classes: int) -> None:
        super().__init__(config, channels, grid)
        self.uses_query = config.prior_loss or config.class_query
        self.uses_token = config.class_loss or self.uses_query
        if self.uses_token:
            self.make_prompt(classes)
        if self.uses_query:
            self.make_query_network()
        if config.prior_loss:
            self.distribution_decoder = DistributionDecoder(config.width, min_log_variance=config.min_log_variance)
        if not config.class_query:
            self.shared_query = nn.Parameter(torch.randn(self.tokens, config.width))

    def make_prompt(self, classes: int) -> None:
        config = self.config
        self.prompt_mapper = PromptMapper(
            self.tokens,
            config.width,
            classes if config.class_loss else 0,
            hidden=config.token_hidden,
            token_width=config.token_width,
            class_encoder_softmax=config.class_encoder_softmax,
            token_softmax=config.token_softmax,
            head_input=config.head_input,
            gain=config.prompt_mapper_gain,
        )

    def make_query_network(self) -> None:
        config = self.config
        self.query_position = nn.Parameter(torch.rand(self.tokens, 3) * 2 - 1)
        self.inr = INR(
            config.width,
            token_width=config.token_width,
            hidden=config.inr_width,
            layers=config.inr_layers,
            omega=config.inr_omega,
            modulator_skip=config.modulator_skip,
        )

    def prompt(self, adapted_BLD: Tensor, labels_B: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Class token (B, T) and class logits (B, N), None without a head."""
        return self.prompt_mapper(adapted_BLD)

    def class_aware_query(self, token_BT: Tensor) -> Tensor:
        """Query (B, L, D) of class tokens (B, T)."""
        return self.inr(self.query_position, token_BT)

    def forward(self, feat_BLF: Tensor, noise: Tensor | None = None, labels_B: Tensor | None = None) -> Output:
        """Reconstruct features (B, L, F).

        Args:
            feat_BLF: of the backbone.
            noise: for the jitter in training, see `FeatureJitter`.
            labels_B: class indices; used by the label prompt alone.
        """
        feat_BLF = self.standardise(feat_BLF)
        adapted_BLD = self.adapter(feat_BLF)
        token_BT = class_logits_BN = query_BLD = mean_BLD = log_variance_BLD = None
        if self.uses_token:
            token_BT, class_logits_BN = self.prompt(adapted_BLD, labels_B)
        if self.uses_query:
            query_BLD = self.class_aware_query(token_BT)
        if self.config.prior_loss:
            mean_BLD, log_variance_BLD = self.distribution_decoder(query_BLD)
        drive = query_BLD if self.config.class_query else self.shared_query
        queries = [drive] * self.config.decoder_layers
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


class ImagePrompt(MintAD):
    """MINT-AD without labels (Fig. 3a): the token comes from the image through the same encoders, but nothing teaches
    it classes. The paper does not say which network maps the image; taking the same one changes the prompt alone."""

    def __init__(self, config: ModelConfig, channels: int, grid: tuple[int, int], classes: int) -> None:
        super().__init__(dataclasses.replace(config, class_loss=False), channels, grid, classes)


class LabelPrompt(MintAD):
    """MINT-AD whose token is looked up by the label, in training and at test time (Fig. 3b)."""

    needs_labels = True

    def make_prompt(self, classes: int) -> None:
        self.label_tokens = nn.Embedding(classes, self.config.token_width)

    def prompt(self, adapted_BLD: Tensor, labels_B: Tensor | None) -> tuple[Tensor, None]:
        return self.label_tokens(self.require_labels(labels_B)), None


class MLPQueryMintAD(MintAD):
    """MINT-AD with an MLP for the INR, and without the prior loss (App. B.6, Table 9)."""

    def __init__(self, config: ModelConfig, channels: int, grid: tuple[int, int], classes: int) -> None:
        super().__init__(dataclasses.replace(config, prior_loss=False), channels, grid, classes)

    def make_query_network(self) -> None:
        config = self.config
        self.mlp_query = MLPQuery(self.tokens, config.width, token_width=config.token_width, hidden=config.mlp_hidden)

    def class_aware_query(self, token_BT: Tensor) -> Tensor:
        return self.mlp_query(token_BT)
