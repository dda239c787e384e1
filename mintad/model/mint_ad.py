"""MINT-AD (§3, Fig. 3)."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from mintad.config import ModelConfig
from mintad.model.inr import INR
from mintad.model.prior import DistributionDecoder
from mintad.model.prompt_mapper import PromptMapper
from mintad.model.reconstruction import Output, ReconstructionModel
from mintad.model.variants import variant


@variant("mint_ad")
class MintAD(ReconstructionModel):
    """Reconstruction transformer whose decoder is driven by a class-aware query.

    The prompt is the image's own class token, learned from labels that are not needed at test time (feature prompt,
    Fig. 3c). `config.class_loss`, `prior_loss` and `class_query` switch Table 5's parts; what nothing uses is not
    built. `channels`, `grid` and `classes` are F, (H, W) and N.

    Two readings. §3.2 does without UniAD's "layer-wise query", and §3.5 lets the query interact "in the cross-attention
    of each decoder layer". We take one query for all layers of UniAD's decoder; `config.query_layers` = 'first' gives
    it to the first layer alone, and the others continue from the layer before, as in a plain decoder. And Table 5 has a
    row with the prior but without the class-aware query: the INR then runs for the prior alone, and a learned query,
    the same for all images, drives the decoder.
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
            floor = config.prior.min_log_variance
            sizes = {"width": config.width, "channels": self.adapted_channels}
            self.distribution_decoder = DistributionDecoder(**sizes, min_log_variance=floor)
        if not config.class_query:
            self.shared_query = nn.Parameter(torch.randn(self.tokens, config.width))

    def make_prompt(self, classes: int) -> None:
        """Make the network that predicts the class token, with a head if the labels are learned."""
        config, self.predicts_class = self.config, self.config.class_loss
        classes = classes if self.predicts_class else 0
        self.prompt_mapper = PromptMapper(self.tokens, self.adapted_channels, classes, config.prompt_mapper)

    def make_query_network(self) -> None:
        """Make the network that turns a class token into a query, and the positions it reads."""
        config = self.config
        self.query_position = nn.Parameter(torch.rand(self.tokens, 3) * 2 - 1)
        self.inr = INR(config.width, token_width=config.prompt_mapper.token_width, **dataclasses.asdict(config.inr))

    def prompt(self, adapted_BLC: Tensor, labels_B: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return the class token (B, T) and class logits (B, N), None without a head."""
        return self.prompt_mapper(adapted_BLC)

    def class_aware_query(self, token_BT: Tensor) -> Tensor:
        """Return the query (B, L, D) of class tokens (B, T)."""
        return self.inr(self.query_position, token_BT)

    def by_layer(self, query: Tensor) -> list[Tensor | None]:
        """Return what every decoder layer is given of a query, see `Transformer.forward`."""
        layers = self.config.decoder_layers
        return [query] * layers if self.config.query_layers == "all" else [query] + [None] * (layers - 1)

    def forward(
        self,
        feat_BLF: Tensor,
        noise: Tensor | None = None,
        labels_B: Tensor | None = None,
        *,
        token: Tensor | None = None,
    ) -> Output:
        """Reconstruct features (B, L, F), in the order of Fig. 3.

        Args:
            feat_BLF: of the backbone.
            noise: for the jitter in training, see `FeatureJitter`.
            labels_B: class indices; used by the label prompt alone.
            token: class tokens (B, T) to use instead of predicted ones; the head then gives no logits.
        """
        output = self.embed(feat_BLF)
        if token is not None:
            output.class_token = token
        elif self.uses_token:
            output.class_token, output.class_logits = self.prompt(output.adapted, labels_B)
        if self.uses_query:
            output.query = self.class_aware_query(output.class_token)
        if self.config.prior_loss:
            output.mean, output.log_variance = self.distribution_decoder(output.query)
        decoder_query = output.query if self.config.class_query else self.shared_query
        output.reconstruction = self.reconstruct(output, self.by_layer(decoder_query), noise)
        return output
