"""What MINT-AD and UniAD share: clean target, adapter, jitter, transformer, and the projection back to features.

Adapter and input projection: UniAD takes tokens to the transformer's width by a learned Linear(F, D). The paper's
adapter is "a single fully connected layer" (§3.2), and Table 6 leaves no room for a further one: its 9.44 M - 6.27 M
are what INR, distribution decoder and prompt mapper have (3.16 M); a second Linear(F, D) would add 0.07 M. So the
adapter *is* that projection. What makes it an adapter is that class encoder and prior read its output f, and that their
losses shape it. Without an adapter ('projection' in `ModelConfig.adapter`) the layer stays, but belongs to the
transformer alone, and class encoder and prior read the backbone's own f', as in Eq. 2. Where neither is used, as in
Table 5's first two rows, the two are one network, trained alike: its 0.971 and 0.975 would differ by chance.

Shapes: B images, L = H * W tokens, F feature channels, D width, C channels of the adapted features (D; F without an
adapter), T class-token width, N classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mintad.config import ModelConfig
from mintad.errors import ConfigError
from mintad.features.moments import RunningMoments
from mintad.model.jitter import FeatureJitter
from mintad.model.pooling import pool_squares
from mintad.model.recentre import Recentre
from mintad.model.transformer import Transformer


@dataclass
class Output:
    """What a model returns for a batch, filled in step by step. Fields that a variant does not have stay None."""

    target: Tensor  # (B, L, F) clean features f' to reconstruct, standardised and recentred if the model does that
    adapted: Tensor  # (B, L, C) adapted features f, seen by the class encoder and the prior
    query: Tensor | None = None  # (B, L, D) class-aware query
    class_logits: Tensor | None = None  # (B, N) logits of the classification head
    class_token: Tensor | None = None  # (B, T) class token t_c
    mean: Tensor | None = None  # (B, L, C) mean of the prior
    log_variance: Tensor | None = None  # (B, L, C) log-variance of the prior
    reconstruction: Tensor | None = None  # (B, L, F) reconstructed features, the last that `forward` fills in

    @property
    def residual(self) -> Tensor:
        """(B, L, F) what the reconstruction leaves of the target, f' minus the reconstruction."""
        return self.target.float() - self.reconstruction.float()

    @property
    def token_error(self) -> Tensor:
        """(B, L) squared reconstruction error of every token, the anomaly score s of Eq. 7."""
        return self.residual.square().sum(dim=-1)


class Standardise(nn.Module):
    """Per-channel shift and scale, the identity until `fit`; saved with the weights. Not in the paper."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean_F", torch.zeros(channels))
        self.register_buffer("std_F", torch.ones(channels))

    def fit(self, batches: Iterable[Tensor]) -> None:
        """Take mean and standard deviation of batches (B, L, F); a constant channel keeps a standard deviation of 1."""
        moments = RunningMoments()
        for batch_BLF in batches:
            moments.add(batch_BLF.flatten(0, 1))
        for buffer_F, value_F in zip((self.mean_F, self.std_F), moments.mean_and_std(), strict=True):
            buffer_F.copy_(value_F)

    def forward(self, feat_BLF: Tensor) -> Tensor:
        """Return standardised features, same shape."""
        return (feat_BLF - self.mean_F) / self.std_F


def pooled_grid(grid: tuple[int, int], pool: int) -> tuple[int, int]:
    """Return the grid of squares of `pool` tokens; raise ConfigError if they do not fill `grid`."""
    if grid[0] % pool or grid[1] % pool:
        problem = f"model.pool = {pool}: squares of that side do not fill a grid of {grid[0]} x {grid[1]} tokens"
        raise ConfigError(problem, fix="choose a divisor of features.grid")
    return grid[0] // pool, grid[1] // pool


class ReconstructionModel(nn.Module):
    """Base of the variants: `forward` of a subclass calls `embed`, makes the queries and calls `reconstruct`.

    Args:
        channels, grid: F and (H, W) of the features; `config.pool` makes the model's own grid coarser.
        default_mask: the variant's neighbour mask on a grid, used where `config.neighbour_mask` is None.
        extra_tokens: tokens that a variant puts before those of the image.
    """

    returns_squared_error = True
    """See `mintad.scoring.maps.Detector`."""
    needs_labels = False
    """Whether the class of every image must be given, in training and at test time ('Using Label' of Table 4)."""
    predicts_class = False
    """Whether a head gives class logits, which the labels of the training images teach."""
    Options: type | None = None
    """What `config.options` may hold: a class decorated with `mintad.config.section("model.options")`."""

    def __init__(
        self,
        config: ModelConfig,
        channels: int,
        grid: tuple[int, int],
        *,
        default_mask: Callable[[tuple[int, int]], int] = lambda grid: 0,
        extra_tokens: int = 0,
    ) -> None:
        super().__init__()
        self.config, self.options = config, self.read_options(config)
        self.channels, self.feature_grid, self.grid = channels, grid, pooled_grid(grid, config.pool)
        self.tokens = self.grid[0] * self.grid[1]
        self.standardise = Standardise(channels)
        self.recentre = Recentre(channels, self.grid, config.recentre.neighbours)
        self.adapter = nn.Linear(channels, config.width)
        self.jitter = FeatureJitter(config.jitter.scale, config.jitter.probability)
        self.transformer = Transformer(
            self.grid,
            config.width,
            heads=config.heads,
            ffn_dim=config.ffn_dim,
            encoder_layers=config.encoder_layers,
            decoder_layers=config.decoder_layers,
            dropout=config.dropout,
            attention_dropout=config.attention_dropout,
            mask_size=default_mask(self.grid) if config.neighbour_mask is None else config.neighbour_mask,
            extra_tokens=extra_tokens,
            attention_init=config.attention_init,
        )
        self.output = nn.Linear(config.width, channels)
        for layer in (self.adapter, self.output):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.adapter.requires_grad_(config.adapter != "random")

    @classmethod
    def read_options(cls, config: ModelConfig) -> Any:
        """Return `config.options` as an object of `Options`, None for a variant without options.

        An option that the variant does not have, or a value that is not allowed, raises ConfigError.
        """
        if cls.Options is None and config.options:
            names = ", ".join(config.options)
            raise ConfigError(f"model.options: the variant '{config.variant}' has no options; remove {names}")
        return cls.Options and cls.Options(**config.options)

    @property
    def noise_channels(self) -> int:
        """Channels of the jitter's noise: F or C, depending on where the jitter stands."""
        return self.channels if self.config.jitter.at == "feature" else self.adapted_channels

    @property
    def adapted_channels(self) -> int:
        """C, channels of what class encoder and prior read: D, or F where there is no adapter."""
        return self.channels if self.config.adapter == "projection" else self.config.width

    @property
    def target_unit_F(self) -> Tensor:
        """(F,) what a residual of 1 is in the backbone's own units."""
        return self.standardise.std_F * self.recentre.scale_F if self.recentre.active else self.standardise.std_F

    def learn_names(self, names: Sequence[str]) -> None:
        """Learn what the classes are called, in the order of their indices; most variants do not need to know."""

    def pooled(self, feat_BLF: Tensor) -> Tensor:
        """Average the features over squares of `config.pool` tokens, to the model's own L tokens."""
        return pool_squares(feat_BLF, self.feature_grid, self.config.pool)

    def embed(self, feat_BLF: Tensor) -> Output:
        """Return an output with the clean target (B, L, F) and the adapted features (B, L, C)."""
        feat_BLF = self.standardise(self.pooled(feat_BLF))
        adapted_BLC = feat_BLF if self.config.adapter == "projection" else self.adapter(feat_BLF)
        return Output(target=self.recentre(feat_BLF), adapted=adapted_BLC)

    def reconstruct(self, output: Output, queries: Sequence[Tensor], noise: Tensor | None) -> Tensor:
        """Return the reconstruction (B, L, F) of the embedded features, in training from jittered tokens."""
        return self.output(self.transformer(self.jittered(output, noise), queries))

    def jittered(self, output: Output, noise: Tensor | None) -> Tensor:
        """Return the tokens (B, L, D) that enter the transformer: adapted or projected, and in training jittered.

        Where the features are recentred, class encoder and prior still read the adapted features of the whole image
        (`output.adapted`), and the same adapter makes the transformer's tokens of what is left.
        """
        after_adapter = self.config.jitter.at == "adapted" and self.config.adapter != "projection"
        if self.training and not after_adapter:
            return self.adapter(self.jitter(output.target, noise))
        reuse = not self.recentre.active and self.config.adapter != "projection"
        return self.jitter(output.adapted if reuse else self.adapter(output.target), noise)

    def require_labels(self, labels_B: Tensor | None) -> Tensor:
        """Return the labels; raise ConfigError where there are none, because the variant needs them."""
        if labels_B is None:
            problem = f"model.variant={self.config.variant} needs the class of every image, also at test time"
            fix = "give the labels (mintad predict: --category), or take a variant that predicts it, such as mint_ad"
            raise ConfigError(problem, fix=fix)
        return labels_B

    @torch.no_grad()
    def anomaly_map(self, feat_BLF: Tensor, labels: Any = None) -> Tensor:
        """Return the maps (B, H, W) of squared errors (Eq. 7), see `mintad.scoring.maps.Detector`."""
        device = self.output.weight.device
        labels_B = None if labels is None else torch.as_tensor(labels, device=device)
        feat_BLF = feat_BLF.to(device)
        return self.map_of(feat_BLF, self(feat_BLF, labels_B=labels_B))

    def map_of(self, feat_BLF: Tensor, output: Output, labels_B: Tensor | None = None) -> Tensor:
        """Return the maps (B, H, W) of features (B, L, F) for which the model gave `output`."""
        return output.token_error.unflatten(1, self.grid)
