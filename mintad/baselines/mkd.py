"""MKD: a small network clones the activations of a large one, layer by layer (Salehi et al., CVPR 2021)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mintad.baselines.base import baseline
from mintad.baselines.images import ImageBaseline, ImageTable, Setting, normalised
from mintad.config import ScoringConfig
from mintad.features.moments import RunningMoments

STAGES = (2, 4, 8, 16)
"""Reductions of the backbone's stages that are cloned."""
JUDGES = 3
"""So many of the last stages give the score."""
MAGNITUDE = 0.5
"""lambda, the weight of the squared error; the authors' 0.5 for MVTec AD."""


class Cloner(nn.Module):
    """For every stage two convolutions, the first of stride 2, and a linear layer to the stage's channels.

    Args:
        channels: F of every stage.
        width: of the convolutions.
    """

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.blocks, self.outputs = nn.ModuleList(), nn.ModuleList()
        for stage, count in enumerate(channels):
            layers: list[nn.Module] = []
            for before, stride in ((width if stage else 3, 2), (width, 1)):
                layers += [nn.Conv2d(before, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            self.blocks.append(nn.Sequential(*layers))
            self.outputs.append(nn.Conv2d(width, count, 1))

    def forward(self, images_B3SS: Tensor) -> list[Tensor]:
        """Return what it takes for the stages' maps, (B, F, H, W) each, of normalised images."""
        x_BWHW, maps = images_B3SS, []
        for block, output in zip(self.blocks, self.outputs, strict=True):
            x_BWHW = block(x_BWHW)
            maps.append(output(x_BWHW))
        return maps


def discrepancy(clones: Sequence[Tensor], sources: Sequence[Tensor]) -> Tensor:
    """Return how far clones are from sources (B,): summed over stages, 1 - cosine plus lambda times the mean square.

    The cosine is of the whole maps of an image, as one vector each.
    """
    total_B = torch.zeros(len(sources[0]), device=sources[0].device)
    for clone, source in zip(clones, sources, strict=True):
        squared_B = (clone - source).square().flatten(1).mean(1)
        total_B = total_B + 1 - F.cosine_similarity(clone.flatten(1), source.flatten(1)) + MAGNITUDE * squared_B
    return total_B


@baseline("mkd")
class MKD(ImageBaseline):
    """How far a small clone's activations are from those of the network that it imitates on normal images.

    With s_i the maps of the source's stage i, whose channels are standardised over the training images, and c_i the
    clone's,

        loss = sum over stages of [ 1 - cos(c_i, s_i) + lambda * mean of (c_i - s_i)^2 ].

    The last three stages' part in it is the image's score. The map is the gradient of the score with respect to the
    pixels, its absolute value averaged over colours and blurred: pixels that the score would change with. A gradient
    has no natural scale between images, so a map says where in an image, and only the score says how much.

    As published: loss, lambda, score, the gradient as map, a clone that is smaller than the source, Adam with 1e-3.
    Not as published:

    * **Networks.** The source is a VGG-16 with ImageNet weights, the clone a smaller VGG. Ours is the run's backbone,
      and the clone has `width` channels everywhere and a linear layer to each stage.
    * **Scale.** The source's channels are standardised, because our backbone's stages differ in scale.
    * **Maps.** The authors also try smoothed and guided gradients, and open and close the map. We do not.
    * **Length.** The authors train 601 epochs on MVTec AD. The lesson has 128 pixels, 32 channels and few steps.

    Args:
        features, setting, seed, changes: see `ImageBaseline`; 'width' is that of the clone.
    """

    title = "MKD"
    cosine = True
    reductions = STAGES
    settings = {
        "lesson": Setting(image_size=128, width=32, steps=400, images=8, rate=2e-3),
        "paper": Setting(image_size=224, width=128, steps=1_200, images=128, rate=1e-3),
    }

    @classmethod
    def published_scoring(cls, config: ScoringConfig) -> ScoringConfig:
        """Return the published blur of the map, 4 pixels; `image_score` has the image's score."""
        return dataclasses.replace(config, blur=4.0)

    @torch.no_grad()
    def prepare(self, table: ImageTable, rows: np.ndarray) -> torch.optim.Optimizer:
        """Build source and clone, and standardise the source's channels."""
        self.source = self.new_backbone().to(self.device)
        stages = [RunningMoments() for _ in self.source.stage_channels]
        for images_bSS in self.batches(table, rows):
            maps = self.source.network(normalised(images_bSS, self.source))
            for moments, map_BFHW in zip(stages, maps, strict=True):
                moments.add(map_BFHW.transpose(0, 1).flatten(1).T)
        self.scales = [torch.stack(moments.mean_and_std())[:, :, None, None] for moments in stages]
        self.clone = Cloner(self.source.stage_channels, self.setting.width).to(self.device).train()
        return torch.optim.Adam(self.clone.parameters(), lr=self.setting.rate)

    def loss(self, images_B3SS: Tensor, labels: Any = None) -> Tensor:
        """Return the mean discrepancy of a batch of images."""
        return discrepancy(*self._activations(images_B3SS)).mean()

    def finish(self, table: ImageTable, rows: np.ndarray) -> None:
        """Let the clone's norms keep their statistics from now on."""
        self.clone.eval().requires_grad_(False)

    def anomaly_map(self, images_B3SS: Tensor, labels: Any = None) -> Tensor:
        """Return the gradient's mean absolute value (B, S, S) over the colours of images (B, 3, S, S)."""
        maps = []
        for images_bSS in images_B3SS.to(self.device).split(self.images):
            with torch.enable_grad():
                images_bSS = images_bSS.detach().requires_grad_(True)
                (gradient_b3SS,) = torch.autograd.grad(self._judged(images_bSS).sum(), images_bSS)
            maps.append(gradient_b3SS.abs().mean(1))
        return torch.cat(maps)

    @torch.no_grad()
    def image_score(self, images_B3SS: Tensor, map_BHW: Tensor, labels: Any = None) -> Tensor:
        """Return the last stages' discrepancy (B,)."""
        return torch.cat([self._judged(images_bSS) for images_bSS in images_B3SS.to(self.device).split(self.images)])

    def _judged(self, images_B3SS: Tensor) -> Tensor:
        clones, sources = self._activations(images_B3SS)
        return discrepancy(clones[-JUDGES:], sources[-JUDGES:])

    def _activations(self, images_B3SS: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return the clone's and the source's maps of every stage, the latter standardised."""
        inputs = normalised(images_B3SS, self.source)
        pairs = zip(self.source.network(inputs), self.scales, strict=True)
        return self.clone(inputs), [(map_BFHW - mean) / std for map_BFHW, (mean, std) in pairs]
