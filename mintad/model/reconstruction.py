"""What MINT-AD and UniAD share: clean target, adapter, jitter, transformer, and the projection back to features.

Shapes: B images, L = H * W tokens, F feature channels, D width, T class-token width, N classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mintad.config import ModelConfig
from mintad.errors import ConfigError
from mintad.model.jitter import FeatureJitter
from mintad.model.transformer import Transformer


@dataclass
class Output:
    """What a model returns for a batch. Fields that a variant does not have are None."""

    target: Tensor
    """(B, L, F) clean features f', standardised if the model standardises."""
    reconstruction: Tensor
    """(B, L, F) reconstructed features."""
    adapted: Tensor | None = None
    """(B, L, D) adapted features f, seen by the class encoder and the prior."""
    query: Tensor | None = None
    """(B, L, D) class-aware query."""
    class_logits: Tensor | None = None
    """(B, N) logits of the classification head."""
    class_token: Tensor | None = None
    """(B, T) class token t_c."""
    mean: Tensor | None = None
    """(B, L, D) mean of the prior."""
    log_variance: Tensor | None = None
    """(B, L, D) log-variance of the prior."""

    @property
    def token_error(self) -> Tensor:
        """(B, L) squared reconstruction error of every token, the anomaly score s of Eq. 7."""
        return (self.target.float() - self.reconstruction.float()).square().sum(dim=-1)


class Standardise(nn.Module):
    """Per-channel shift and scale, the identity until `fit`; saved with the weights. Not in the paper."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean_F", torch.zeros(channels))
        self.register_buffer("deviation_F", torch.ones(channels))

    def fit(self, batches: Iterable[Tensor]) -> None:
        """Take mean and deviation of the training tokens, given as batches (B, L, F); constant channels keep
        deviation 1."""
        count, total_F, squares_F = 0, 0.0, 0.0
        for batch_BLF in batches:
            tokens_NF = batch_BLF.flatten(0, 1).double()
            count += len(tokens_NF)
            total_F = total_F + tokens_NF.sum(dim=0)
            squares_F = squares_F + tokens_NF.square().sum(dim=0)
        mean_F = total_F / count
        deviation_F = (squares_F / count - mean_F.square()).clamp(min=0).sqrt()
        self.mean_F.copy_(mean_F)
        self.deviation_F.copy_(torch.where(deviation_F > 1e-6, deviation_F, 1.0))

    def forward(self, feat_BLF: Tensor) -> Tensor:
        return (feat_BLF - self.mean_F) / self.deviation_F


class ReconstructionModel(nn.Module):
    """Base of the variants: `forward` of a subclass makes the queries and calls `reconstruct`.

    Args:
        config: sizes and noise.
        channels: F.
        grid: H, W.
        default_mask: neighbour mask of the variant, used where `config.neighbour_mask` is None.
        extra_tokens: tokens that a variant puts before those of the image.
    """

    returns_squared_error = True
    """See `mintad.scoring.maps.Detector`."""
    needs_labels = False
    """Whether the class of every image must be told, in training and at test time ('Using Label' of Table 4)."""

    def __init__(
        self, config: ModelConfig, channels: int, grid: tuple[int, int], *, default_mask: int = 0, extra_tokens: int = 0
    ) -> None:
        super().__init__()
        self.config = config
        self.channels = channels
        self.grid = grid
        self.tokens = grid[0] * grid[1]
        self.standardise = Standardise(channels)
        self.adapter = nn.Linear(channels, config.width)
        self.jitter = FeatureJitter(config.jitter_scale, config.jitter_prob)
        self.transformer = Transformer(
            grid,
            config.width,
            heads=config.heads,
            ffn=config.ffn,
            encoder_layers=config.encoder_layers,
            decoder_layers=config.decoder_layers,
            dropout=config.dropout,
            attention_dropout=config.attention_dropout,
            mask_size=default_mask if config.neighbour_mask is None else config.neighbour_mask,
            extra_tokens=extra_tokens,
        )
        self.output = nn.Linear(config.width, channels)
        for layer in (self.adapter, self.output):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.adapter.requires_grad_(config.adapter)

    @property
    def noise_channels(self) -> int:
        """Channels of the jitter's noise: F or D, depending on where the jitter stands."""
        return self.channels if self.config.jitter_at == "feature" else self.config.width

    def reconstruct(
        self, feat_BLF: Tensor, adapted_BLD: Tensor, queries: Sequence[Tensor], noise: Tensor | None
    ) -> Tensor:
        """Reconstruction (B, L, F) from jittered tokens; `feat` and `adapted` are clean."""
        return self.output(self.transformer(self.jittered(feat_BLF, adapted_BLD, noise), queries))

    def jittered(self, feat_BLF: Tensor, adapted_BLD: Tensor, noise: Tensor | None) -> Tensor:
        """The tokens (B, L, D) that enter the transformer: adapted, and in training jittered."""
        if self.config.jitter_at == "adapted":
            return self.jitter(adapted_BLD, noise)
        return self.adapter(self.jitter(feat_BLF, noise)) if self.training else adapted_BLD

    def require_labels(self, labels_B: Tensor | None) -> Tensor:
        """The labels, or an error if there are none.

        Raises:
            ConfigError: the variant must be told the class and is not.
        """
        if labels_B is None:
            raise ConfigError(
                f"model.variant={self.config.variant} must be told the class of every image, also at test time; "
                "give the labels (mintad predict: --category), or take a variant that predicts it, such as mint_ad"
            )
        return labels_B

    @torch.no_grad()
    def anomaly_map(self, feat_BLF: Tensor, labels: Any = None) -> Tensor:
        """Return the anomaly map (B, H, W) at the grid's resolution: squared error of every token (Eq. 7).

        Args:
            feat_BLF: features.
            labels: class indices (B,), for a variant that `needs_labels`.
        """
        device = self.output.weight.device
        labels_B = None if labels is None else torch.as_tensor(labels, device=device)
        return self(feat_BLF.to(device), labels_B=labels_B).token_error.unflatten(1, self.grid)
