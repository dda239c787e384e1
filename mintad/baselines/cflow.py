"""CFLOW: a normalising flow of features, given their position (Gudovskiy et al., WACV 2022, arXiv:2107.12571)."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mintad.baselines.base import baseline
from mintad.baselines.training import TrainedBaseline
from mintad.config import FeatureConfig
from mintad.errors import ConfigError
from mintad.features.table import FeatureTable


class Coupling(nn.Module):
    """An affine coupling layer, then a scale and shift of every channel and a fixed random rotation.

    The first half x1 of the channels says how the second is changed, given the condition c:

        s, t = network(x1, c),   y = (x1, x2 * exp(alpha tanh s) + t),   z = (y * exp(g) + b) Q.

    So it can be inverted without inverting the network, and log |det dz/dx| = sum of alpha tanh s + sum of g.

    Args:
        channels: of x, at least 2.
        condition: P, channels of c.
        clamp: alpha, which bounds how far a layer can stretch.
    """

    def __init__(self, channels: int, condition: int, clamp: float) -> None:
        super().__init__()
        self.kept, self.clamp = channels - channels // 2, clamp
        inputs, outputs = self.kept + condition, 2 * (channels - self.kept)
        self.network = nn.Sequential(nn.Linear(inputs, 2 * inputs), nn.ReLU(), nn.Linear(2 * inputs, outputs))
        self.log_scale, self.shift = nn.Parameter(torch.zeros(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("rotation", torch.linalg.qr(torch.randn(channels, channels)).Q)

    def forward(self, x_NC: Tensor, condition_NP: Tensor) -> tuple[Tensor, Tensor]:
        """Return z (N, C) and log |det dz/dx| (N,)."""
        fixed, changed = x_NC[:, : self.kept], x_NC[:, self.kept :]
        log_stretch, move = self._change(fixed, condition_NP)
        y_NC = torch.cat([fixed, changed * log_stretch.exp() + move], dim=1)
        z_NC = (y_NC * self.log_scale.exp() + self.shift) @ self.rotation
        return z_NC, log_stretch.sum(1) + self.log_scale.sum()

    def inverse(self, z_NC: Tensor, condition_NP: Tensor) -> Tensor:
        """Return the x (N, C) that `forward` maps to z."""
        y_NC = (z_NC @ self.rotation.T - self.shift) / self.log_scale.exp()
        fixed, changed = y_NC[:, : self.kept], y_NC[:, self.kept :]
        log_stretch, move = self._change(fixed, condition_NP)
        return torch.cat([fixed, (changed - move) * (-log_stretch).exp()], dim=1)

    def _change(self, fixed: Tensor, condition_NP: Tensor) -> tuple[Tensor, Tensor]:
        # a tenth of the network's output, as in the published code, so that a new layer hardly changes anything
        stretch, move = (0.1 * self.network(torch.cat([fixed, condition_NP], dim=1))).chunk(2, dim=1)
        return self.clamp * stretch.tanh(), move


class Flow(nn.Module):
    """Coupling layers one after the other, from features of one stage to a standard normal variable.

    Args:
        channels: C of the stage.
        condition, clamp: see `Coupling`.
        blocks: coupling layers.
    """

    def __init__(self, channels: int, condition: int, *, blocks: int, clamp: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Coupling(channels, condition, clamp) for _ in range(blocks))

    def forward(self, x_NC: Tensor, condition_NP: Tensor) -> tuple[Tensor, Tensor]:
        """Return z (N, C) and log |det dz/dx| (N,)."""
        log_det_N = x_NC.new_zeros(len(x_NC))
        for block in self.blocks:
            x_NC, added_N = block(x_NC, condition_NP)
            log_det_N = log_det_N + added_N
        return x_NC, log_det_N

    def inverse(self, z_NC: Tensor, condition_NP: Tensor) -> Tensor:
        """Return the x (N, C) that `forward` maps to z."""
        for block in reversed(self.blocks):
            z_NC = block.inverse(z_NC, condition_NP)
        return z_NC

    def log_likelihood(self, x_NC: Tensor, condition_NP: Tensor) -> Tensor:
        """Return log p(x | c) / C (N,): that of z under a standard normal, plus the log-determinant, a channel."""
        z_NC, log_det_N = self(x_NC, condition_NP)
        return (log_det_N - 0.5 * z_NC.square().sum(1)) / x_NC.shape[1] - 0.5 * math.log(2 * math.pi)


def position_encoding(grid: tuple[int, int], channels: int) -> Tensor:
    """Return sines and cosines (H * W, channels) of each position: half of them of its column, half of its row.

    Raises:
        ConfigError: channels that are not a multiple of 4.
    """
    if channels % 4:
        raise ConfigError(f"a position's encoding takes a multiple of 4 channels, not {channels}")
    rate_q = torch.exp(torch.arange(0, channels // 2, 2) * (-math.log(1e4) / (channels // 2)))
    row_HWq, column_HWq = (
        axis[..., None] * rate_q for axis in torch.meshgrid(*(torch.arange(float(n)) for n in grid), indexing="ij")
    )
    parts = [f(angle) for angle in (column_HWq, row_HWq) for f in (torch.sin, torch.cos)]
    return torch.cat(parts, dim=-1).flatten(0, 1)


@baseline("cflow")
class CFLOW(TrainedBaseline):
    """How unlikely a token's features are at its position, by one conditional flow for each backbone stage.

    A flow maps the C features x of a stage at a position to z of the same size. With the position's encoding c,

        log p(x | c) = log N(z; 0, 1) + log |det dz/dx|,      loss = -log sigmoid(log p(x | c) / C),

    averaged over tokens; it is summed over stages. A token's anomaly is the number of stages minus the sum over stages
    of exp(log p / C - m), m being the stage's largest log p / C of normal images. Exponentials make the map saturate:
    of two tokens that are both impossible, neither is the worse.

    As published: the stages 8, 16 and 32, coupling layers with one hidden layer of twice its inputs, alpha = 1.9, 128
    channels for the position, Adam. Not as published:

    * **One grid.** The authors' stages keep their own 28 x 28, 14 x 14 and 7 x 7 positions and their maps are added in
      pixels. Our features are one table: all stages are on the grid of stage 16, stage 8 averaged over 2 x 2 of its
      cells and stage 32 interpolated.
    * **Scale.** Channels are standardised over the training tokens, and a layer's own scale is exp(g), not a softplus.
    * **m.** The authors take it from *the test images*, so an image's score depends on those tested with it.
    * **Length.** The authors train 25 times 8 epochs on shuffled sets of 256 tokens, with a learning rate of 2e-4, a
      warm-up and a cosine, and keep the epoch that is best on the test images. We take 300 steps, each on all tokens of
      a few images, ten times the rate with a cosine, and the last weights. They have 8 blocks; 4 train twice as fast.

    Args:
        grid: (H, W) of the features.
        blocks: coupling layers of a flow.
        condition: channels of the position's encoding, a multiple of 4; clamp: alpha.
        steps, images, rate: of the training, images in a step and the first learning rate.
        reference: training images that m is taken from, at most.
        seed: of initial weights, rotations and batches.
    """

    title = "CFLOW"
    cosine = True

    def __init__(
        self,
        grid: tuple[int, int],
        *,
        blocks: int = 4,
        condition: int = 128,
        clamp: float = 1.9,
        steps: int = 300,
        images: int = 4,
        rate: float = 2e-3,
        reference: int = 64,
        seed: int = 0,
    ) -> None:
        super().__init__(grid, steps=steps, images=images, seed=seed)
        self.blocks, self.condition, self.clamp = blocks, condition, clamp
        self.rate, self.reference = rate, reference

    @classmethod
    def published_features(cls, config: FeatureConfig) -> FeatureConfig:
        """Return stages 8, 16 and 32 on the grid of stage 16."""
        grid = -(-config.image_size // 16)
        return dataclasses.replace(config, reductions=(8, 16, 32), grid=grid, local_mean=1, resize="half_pixel")

    def prepare(self, features: FeatureTable, rows: np.ndarray) -> torch.optim.Optimizer:
        """Build a flow for every stage.

        Raises:
            ConfigError: a stage of one channel, which no coupling layer can split; or see `position_encoding`.
        """
        self.widths = self.context.stages or (features.channels,)
        if min(self.widths) < 2:
            raise ConfigError(f"CFLOW needs stages of at least 2 channels, not {list(self.widths)}")
        self.place_LP = position_encoding(self.grid, self.condition).to(features.device)
        shape = {"blocks": self.blocks, "clamp": self.clamp}
        self.flows = nn.ModuleList(Flow(width, self.condition, **shape) for width in self.widths)
        return torch.optim.Adam(self.flows.to(features.device).parameters(), lr=self.rate)

    @torch.no_grad()
    def finish(self, features: FeatureTable, rows: np.ndarray) -> None:
        """Take m from some of the training images."""
        reference = rows[:: -(-len(rows) // self.reference)]
        highest = [self.log_likelihoods(features.gather(reference[n : n + 1])).amax(1) for n in range(len(reference))]
        self.highest_S = torch.stack(highest).amax(0)

    def loss(self, feat_BLF: Tensor, labels: Any = None) -> Tensor:
        """Return the loss of a batch of features."""
        return -F.logsigmoid(self.log_likelihoods(feat_BLF)).mean(1).sum()

    def log_likelihoods(self, feat_BLF: Tensor) -> Tensor:
        """Return log p / C (S, B * L) of every stage's features of a batch."""
        tokens_NF = self.standardise(feat_BLF).flatten(0, 1)
        place_NP = self.place_LP.repeat(len(feat_BLF), 1)
        stages = zip(self.flows, tokens_NF.split(self.widths, dim=1), strict=True)
        return torch.stack([flow.log_likelihood(x_NC, place_NP) for flow, x_NC in stages])

    @torch.no_grad()
    def anomaly_map(self, feat_BLF: Tensor, labels: Any = None) -> Tensor:
        """Return maps (B, H, W) of features (B, L, F)."""
        likelihood_SN = self.log_likelihoods(feat_BLF.to(self.mean_F.device))
        normality_N = (likelihood_SN - self.highest_S[:, None]).exp().sum(0)
        return (len(self.widths) - normality_N).view(len(feat_BLF), *self.grid)
