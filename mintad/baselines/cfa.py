"""CFA: features drawn to hyperspheres around memorised centres (Lee et al., IEEE Access 2022, arXiv:2206.04325)."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mintad.baselines.base import baseline, locally_averaged
from mintad.baselines.kmeans import lloyd
from mintad.baselines.memory import MATRIX_ENTRIES
from mintad.baselines.training import CHUNK, TrainedBaseline
from mintad.config import FeatureConfig, ScoringConfig
from mintad.features.table import FeatureTable


class Descriptor(nn.Module):
    """Patch descriptor phi: a linear layer (a 1 x 1 convolution) of a token's features and its two coordinates.

    Args:
        channels: F, of features and descriptors.
        grid: (H, W); coordinates run from -1 to 1.
    """

    def __init__(self, channels: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.linear = nn.Linear(channels + 2, channels)
        self.radius = nn.Parameter(torch.tensor(1e-5))
        axes = [torch.linspace(-1, 1, side) for side in grid]
        self.register_buffer("place_L2", torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, 1))

    def forward(self, feat_BLF: Tensor) -> Tensor:
        """Return descriptors (B, L, F)."""
        return self.linear(torch.cat([feat_BLF, self.place_L2.expand(len(feat_BLF), -1, -1)], dim=-1))


def squared_distances(tokens_NF: Tensor, memory_MF: Tensor) -> Tensor:
    """Return the squared distances (N, M) of tokens to the centres of a memory."""
    norms_M = memory_MF.square().sum(1)
    squared_NM = torch.addmm(norms_M, tokens_NF, memory_MF.T, alpha=-2) + tokens_NF.square().sum(1, keepdim=True)
    return squared_NM.clamp(min=0)


def hypersphere_loss(squared_NM: Tensor, radius: Tensor, *, near: int, far: int, margin: float) -> Tensor:
    """Return CFA's loss, attraction plus repulsion, without the factor 1/nu.

    Args:
        squared_NM: squared distances of tokens to the centres.
        radius: r.
        near, far: K nearest centres attract a token, the J that come next repel it.
        margin: alpha.
    """
    nearest_Nk = squared_NM.topk(near + far, largest=False, sorted=True).values
    loss = (nearest_Nk[:, :near] - radius**2).clamp(min=0).mean()
    if far:
        loss = loss + (radius**2 - nearest_Nk[:, near:] - margin).clamp(min=0).mean()
    return loss


@baseline("cfa")
class CFA(TrainedBaseline):
    """Distance to memorised centres, of descriptors that were trained to lie close to them.

    A memory holds a centre c for every position: the mean of the descriptors phi(o) of all training images there, taken
    before the training, and fixed. Then phi and a radius r learn, with squared distances D to the centres,

        min   1/nu * mean of max(0, D(phi(o), c_k) - r^2)             over a token's K nearest centres
            + 1/nu * mean of max(0, r^2 - D(phi(o), c_j) - alpha)     over the J that come next.

    A token's anomaly is its distance to the nearest centre, times that centre's weight in a softmin over the K nearest
    distances: a token between two centres counts less than one that clearly has one.

    As published: phi, memory, K = J = 3, alpha = 0.1, nu = 0.001, r from 1e-5; AdamW with AMSGrad, learning rate 1e-3
    and weight decay 5e-4; 4 images in a step; 3 x 3 means of three stages; the map's blur of 4 pixels. The size of the
    memory does not depend on the number of images or classes, and so a unified model's centres are means over
    *different* classes. Not as published:

    * **Grid.** The authors have the 56 x 56 positions of stage 4. We take the 28 x 28 of stage 8, a quarter.
    * **Scale.** Channels are standardised over the training tokens, because our backbone's differ in scale.
    * **Length.** The authors train 30 epochs, about 1,800 steps a category, and their code reports the epoch that is
      best on the test images. We take 300 steps, also for a model of all categories, and the last weights.

    Args:
        grid: (H, W) of the features.
        near, far: K and J, at most as many as there are centres.
        margin, nu: alpha and nu.
        compression: gamma_c, how many positions share a centre; above 1, k-means makes L / gamma_c of the L.
        steps, images, rate: of the training, images in a step and learning rate.
        seed: of initial weights, batches and the first centres of k-means.
    """

    title = "CFA"

    def __init__(
        self,
        grid: tuple[int, int],
        *,
        near: int = 3,
        far: int = 3,
        margin: float = 0.1,
        nu: float = 1e-3,
        compression: int = 1,
        steps: int = 300,
        images: int = 4,
        rate: float = 1e-3,
        seed: int = 0,
    ) -> None:
        super().__init__(grid, steps=steps, images=images, seed=seed)
        self.near, self.far, self.margin, self.nu, self.compression = near, far, margin, nu, compression
        self.rate = rate

    @classmethod
    def published_features(cls, config: FeatureConfig) -> FeatureConfig:
        """Return stages 4, 8 and 16, each averaged over 3 x 3 of its own cells, on the grid of stage 8."""
        return locally_averaged(config, (4, 8, 16))

    @classmethod
    def published_scoring(cls, config: ScoringConfig) -> ScoringConfig:
        """Return the published score: the maximum of the map, blurred with sigma = 4 pixels."""
        return dataclasses.replace(config, image_score="max", blur=4.0)

    def prepare(self, features: FeatureTable, rows: np.ndarray) -> torch.optim.Optimizer:
        """Build the descriptor, and memorise the centres of what it makes of the images before its training."""
        self.descriptor = Descriptor(features.channels, self.grid).to(features.device)
        self.memory_MF = self._memorise(features, rows)
        return torch.optim.AdamW(self.descriptor.parameters(), lr=self.rate, weight_decay=5e-4, amsgrad=True)

    @torch.no_grad()
    def _memorise(self, features: FeatureTable, rows: np.ndarray) -> Tensor:
        """Return the centres (M, F): phi of the mean features of every position, which is the mean of phi."""
        parts = (features.gather(rows[first : first + CHUNK]).sum(0) for first in range(0, len(rows), CHUNK))
        mean_LF = self.standardise(sum(parts) / len(rows))
        centres_MF = self.descriptor(mean_LF[None])[0]
        if self.compression == 1:
            return centres_MF
        chosen = torch.randperm(len(centres_MF))[: max(1, len(centres_MF) // self.compression)]
        return lloyd(centres_MF, centres_MF[chosen.to(centres_MF.device)], iterations=100)

    def loss(self, feat_BLF: Tensor, labels: Any = None) -> Tensor:
        """Return the loss of a batch of features."""
        near, far = self._neighbours()
        squared_NM = squared_distances(self._describe(feat_BLF), self.memory_MF)
        return hypersphere_loss(squared_NM, self.descriptor.radius, near=near, far=far, margin=self.margin) / self.nu

    @torch.no_grad()
    def anomaly_map(self, feat_BLF: Tensor, labels: Any = None) -> Tensor:
        """Return weighted distances (B, H, W) of features (B, L, F) to their nearest centres."""
        near, chunk = self._neighbours()[0], max(1, MATRIX_ENTRIES // len(self.memory_MF))
        nearest = [
            squared_distances(part_nF, self.memory_MF).topk(near, largest=False).values
            for part_nF in self._describe(feat_BLF.to(self.mean_F.device)).split(chunk)
        ]
        distance_Nk = torch.cat(nearest).sqrt()
        return (nn.functional.softmin(distance_Nk, dim=1)[:, 0] * distance_Nk[:, 0]).view(len(feat_BLF), *self.grid)

    def _describe(self, feat_BLF: Tensor) -> Tensor:
        return self.descriptor(self.standardise(feat_BLF)).flatten(0, 1)

    def _neighbours(self) -> tuple[int, int]:
        near = min(self.near, len(self.memory_MF))
        return near, min(self.far, len(self.memory_MF) - near)
