"""UTRAD: a U-shaped transformer with bottlenecks reconstructs features (Chen et al., Neural Networks 147, 2022)."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mintad.baselines.base import baseline
from mintad.baselines.training import TrainedBaseline
from mintad.config import FeatureConfig
from mintad.features.table import FeatureTable

SIDE = 4
"""Side of a window, where the grid can be divided by it."""


def window_sides(length: int) -> list[int]:
    """Return the sides of windows, finest first, whose product is `length`: each the smallest divisor from SIDE on."""
    sides = []
    while length > 1:
        sides.append(next(side for side in range(min(SIDE, length), length + 1) if length % side == 0))
        length //= sides[-1]
    return sides


def to_windows(x_BHWD: Tensor, window: tuple[int, int]) -> Tensor:
    """Cut a map (B, H, W, D) into windows (N, S, D), row by row."""
    parts = x_BHWD.unflatten(2, (-1, window[1])).unflatten(1, (-1, window[0]))
    return parts.transpose(2, 3).flatten(0, 2).flatten(1, 2)


def from_windows(x_NSD: Tensor, window: tuple[int, int], coarse: tuple[int, int]) -> Tensor:
    """Put windows (N, S, D), of which `coarse` make a map, together again (B, H, W, D)."""
    parts = x_NSD.unflatten(1, window).unflatten(0, (-1, *coarse))
    return parts.transpose(2, 3).flatten(3, 4).flatten(1, 2)


class Level(nn.Module):
    """One level of the U, on windows of S tokens: an encoder on the way down, a decoder on the way up.

    Args:
        window: (h, w) with S = h * w.
        width, heads, layers, hidden, dropout: D and the rest of the two transformers.
        squeeze: the skip connection passes through D / squeeze values a token.
    """

    def __init__(
        self, window: tuple[int, int], width: int, *, heads: int, layers: int, hidden: int, dropout: float, squeeze: int
    ) -> None:
        super().__init__()
        self.window, tokens, narrow = window, window[0] * window[1], max(1, width // squeeze)
        self.place_SD = nn.Parameter(0.02 * torch.randn(tokens, width))
        self.query_SD = nn.Parameter(0.02 * torch.randn(tokens, width))
        shape = (width, heads, hidden, dropout, "gelu")
        encoder = nn.TransformerEncoderLayer(*shape, batch_first=True)
        decoder = nn.TransformerDecoderLayer(*shape, batch_first=True)
        self.encoder = nn.TransformerEncoder(encoder, layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.decoder = nn.TransformerDecoder(decoder, layers, nn.LayerNorm(width))
        self.bottleneck = nn.Sequential(
            nn.Linear(width, narrow), nn.LayerNorm(narrow), nn.GELU(), nn.Linear(narrow, width), nn.LayerNorm(width)
        )

    def down(self, x_NSD: Tensor) -> tuple[Tensor, Tensor]:
        """Return one token for each window (N, D), and what the skip connection carries (N, S, D)."""
        summary_N1D = torch.zeros_like(x_NSD[:, :1])
        encoded = self.encoder(torch.cat([summary_N1D, x_NSD + self.place_SD], dim=1))
        return encoded[:, 0], self.bottleneck(encoded[:, 1:])

    def up(self, token_ND: Tensor, skip_NSD: Tensor) -> Tensor:
        """Return the tokens (N, S, D) of every window: learned queries that look at its token and its skip."""
        memory = torch.cat([token_ND[:, None], skip_NSD], dim=1)
        return self.decoder(self.query_SD.expand(len(token_ND), -1, -1), memory)


class UTransformer(nn.Module):
    """The U: features (B, L, F) are reconstructed, and the reconstruction's error on them is predicted.

    Args:
        channels: F.
        grid: (H, W) with L = H * W.
        width: D.
        options: see `Level`.
    """

    def __init__(self, channels: int, grid: tuple[int, int], width: int, **options: Any) -> None:
        super().__init__()
        rows, columns = map(window_sides, grid)
        depth = max(len(rows), len(columns))
        rows, columns = (sides + [1] * (depth - len(sides)) for sides in (rows, columns))
        self.grid = grid
        self.project, self.output = nn.Linear(channels, width), nn.Linear(width, channels)
        self.place_LD = nn.Parameter(0.02 * torch.randn(grid[0] * grid[1], width))
        self.levels = nn.ModuleList(Level(window, width, **options) for window in zip(rows, columns, strict=True))
        self.scale = nn.Sequential(nn.Linear(width, width), nn.LeakyReLU(0.2), nn.Linear(width, 1), nn.Softplus())

    def forward(self, feat_BLF: Tensor) -> tuple[Tensor, Tensor]:
        """Return the reconstruction (B, L, F) and the error (B, L) that it usually has there."""
        x_BHWD = (self.project(feat_BLF) + self.place_LD).unflatten(1, self.grid)
        skips = []
        for level in self.levels:
            coarse = tuple(side // window for side, window in zip(x_BHWD.shape[1:3], level.window, strict=True))
            token_ND, skip_NSD = level.down(to_windows(x_BHWD, level.window))
            skips.append((level, skip_NSD, coarse))
            x_BHWD = token_ND.unflatten(0, (len(feat_BLF), *coarse))
        for level, skip_NSD, coarse in reversed(skips):
            x_BHWD = from_windows(level.up(x_BHWD.flatten(0, 2), skip_NSD), level.window, coarse)
        decoded_BLD = x_BHWD.flatten(1, 2)
        return self.output(decoded_BLD), self.scale(decoded_BLD.detach()).squeeze(-1)


@baseline("utrad")
class UTRAD(TrainedBaseline):
    """Error of a reconstruction by a U-shaped transformer, relative to the error that is predicted for a token.

    On the way down each level cuts the map into windows, and a transformer turns the tokens of a window, with an empty
    one before them, into a token for the window and into what the skip connection carries. The skip passes through a
    bottleneck of D / 4 values, so that it cannot hand over everything. On the way up, learned queries look at both.
    With reconstruction y of features x, and s the predicted error, which sees the decoder's tokens but does not train
    the decoder,

        loss = mean of (y - x)^2 + mean of (s - |y - x|)^2,       anomaly = |y - x| / s,

    averaged with its means over the windows of every level, so that a defect larger than a token counts more. s is
    learnt while dropout is on and used while it is off, where errors are smaller, so the anomaly of normal tokens lies
    below 1. A common factor does not change a ranking.

    As published: the levels, the bottleneck, both losses, stages 4, 8 and 16, Adam with betas of 0.5 and 0.999. Not as
    published:

    * **Grid.** The authors have 64 x 64 positions of a ResNet-18 and three levels of 4 x 4; we have 16 x 16 and two.
    * **Size and length.** The authors have D = 512, 4 layers a level, a learning rate of 1e-4 and 150 epochs with 2
      images in a step. We have D = 128, 1 layer, 1e-3, 400 steps with 8.
    * **Details.** Channels are standardised over the training tokens. Positions are learned, not fixed at random as in
      the published code. The predicted error comes from a smaller network and is made positive by a softplus.

    Args:
        grid: (H, W) of the features.
        width, heads, layers, hidden, dropout, squeeze: of the network, see `Level`.
        steps, images, rate: of the training, images in a step and learning rate.
        seed: of initial weights, batches and dropout.
    """

    title = "UTRAD"

    def __init__(
        self,
        grid: tuple[int, int],
        *,
        width: int = 128,
        heads: int = 8,
        layers: int = 1,
        hidden: int = 256,
        dropout: float = 0.1,
        squeeze: int = 4,
        steps: int = 400,
        images: int = 8,
        rate: float = 1e-3,
        seed: int = 0,
    ) -> None:
        super().__init__(grid, steps=steps, images=images, seed=seed)
        self.width, self.rate = width, rate
        self.options = {"heads": heads, "layers": layers, "hidden": hidden, "dropout": dropout, "squeeze": squeeze}

    @classmethod
    def published_features(cls, config: FeatureConfig) -> FeatureConfig:
        """Return stages 4, 8 and 16 on a grid of 16 x 16, two levels of windows."""
        return dataclasses.replace(config, reductions=(4, 8, 16), grid=16, local_mean=1, resize="half_pixel")

    def prepare(self, features: FeatureTable, rows: np.ndarray) -> torch.optim.Optimizer:
        """Build the network, with its dropout on."""
        network = UTransformer(features.channels, self.grid, self.width, **self.options)
        self.network = network.to(features.device).train()
        return torch.optim.Adam(self.network.parameters(), lr=self.rate, betas=(0.5, 0.999))

    def finish(self, features: FeatureTable, rows: np.ndarray) -> None:
        """Switch the dropout off."""
        self.network.eval()

    def loss(self, feat_BLF: Tensor, labels: Any = None) -> Tensor:
        """Return the loss of a batch: that of the reconstruction, and that of the predicted error."""
        difference_BLF, usual_BL = self._compare(feat_BLF)
        return difference_BLF.square().mean() + F.mse_loss(usual_BL, difference_BLF.norm(dim=-1).detach())

    @torch.no_grad()
    def anomaly_map(self, feat_BLF: Tensor, labels: Any = None) -> Tensor:
        """Return relative errors (B, H, W) of features (B, L, F), averaged with their means over windows."""
        difference_BLF, usual_BL = self._compare(feat_BLF.to(self.mean_F.device))
        map_B1HW = (difference_BLF.norm(dim=-1) / usual_BL.clamp(min=1e-6)).unflatten(1, (1, *self.grid))
        maps, window = [map_B1HW], (1, 1)
        for level in self.network.levels:
            window = (window[0] * level.window[0], window[1] * level.window[1])
            maps.append(F.interpolate(F.avg_pool2d(map_B1HW, window), self.grid, mode="bilinear"))
        return torch.cat(maps, dim=1).mean(1)

    def _compare(self, feat_BLF: Tensor) -> tuple[Tensor, Tensor]:
        """Return reconstruction minus features, both standardised, and the predicted error."""
        target_BLF = self.standardise(feat_BLF)
        reconstruction_BLF, usual_BL = self.network(target_BLF)
        return reconstruction_BLF - target_BLF, usual_BL
