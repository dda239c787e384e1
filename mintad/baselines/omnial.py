"""OmniAL: one convolutional network that repairs drawn anomalies of many classes, and finds them (Zhao, CVPR 2023)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mintad.baselines.base import baseline
from mintad.baselines.draem import DRAEM, Hourglass, block, both_ways, dissimilarity, focal_loss
from mintad.baselines.images import ImageTable, Setting
from mintad.baselines.noticeable import noticeable_difference, spoil_in_panel

DILATED = 2
"""From so many halvings on, the second network's convolutions are dilated."""
WEIGHT = 0.1
"""Of the dilated path in the spatial attention."""
UNIT = 0.1
"""Noticeable differences are shown to the networks in this unit, so that they are about as large as an image."""


class ChannelAndSpatialAttention(nn.Module):
    """The DCSA block: weigh the channels of a map, then its positions; both weights are between 0 and 1.

        a = sigmoid(W_2 relu(W_1 mean over positions of x)),                           x' = a x,
        p = [mean over channels of x', maximum over channels of x'],
        b = sigmoid(conv(p) + 0.1 dilated conv(p)),                                    x'' = b x'.

    Args:
        channels: F; W_1 has a quarter as many rows, at least one.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = max(1, channels // 4)
        self.channel = nn.Sequential(nn.Conv2d(channels, narrow, 1), nn.ReLU(), nn.Conv2d(narrow, channels, 1))
        self.near, self.far = (nn.Conv2d(2, 1, 3, padding=d, dilation=d) for d in (1, 2))

    def forward(self, x_BFHW: Tensor) -> Tensor:
        """Return the weighed map (B, F, H, W)."""
        x_BFHW = x_BFHW * self.channel(x_BFHW.mean((2, 3), keepdim=True)).sigmoid()
        pooled_B2HW = torch.cat([x_BFHW.mean(1, keepdim=True), x_BFHW.amax(1, keepdim=True)], dim=1)
        return x_BFHW * (self.near(pooled_B2HW) + WEIGHT * self.far(pooled_B2HW)).sigmoid()


class Comparison(nn.Module):
    """The DiffNeck: what the second network sees of an image x, its repair r, and both noticeable differences.

    [conv(|x - r|), conv(|J(x) - j|), conv([x, r, j])], with j that of the repair as the first network predicts it.

    Args:
        width: channels of each of the three parts.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.image, self.noticeable, self.all = (nn.Conv2d(n, width, 3, padding=1) for n in (3, 1, 7))

    def forward(self, image_B3SS: Tensor, seen_B1SS: Tensor, repaired_B3SS: Tensor, repaired_B1SS: Tensor) -> Tensor:
        """Return (B, 3 * width, S, S)."""
        together_B7SS = torch.cat([image_B3SS, repaired_B3SS, repaired_B1SS], dim=1)
        differences = (image_B3SS - repaired_B3SS).abs(), (seen_B1SS - repaired_B1SS).abs()
        return torch.cat([self.image(differences[0]), self.noticeable(differences[1]), self.all(together_B7SS)], dim=1)


@baseline("omnial")
class OmniAL(DRAEM):
    """How surely a network, which compared an image with its repair, calls a pixel anomalous; made for many classes.

    It is DRAEM's plan with three changes. A batch holds each normal image x as it is and, spoiled, as x' with a mask m.
    An encoder-decoder with attention repairs the image and predicts J, the difference that people would notice at each
    pixel (`noticeable_difference`). A neck compares, and a U-Net d finds the mask. With (r, j) the repair of x',

        loss = |r - x|^2 + 1 - SSIM(r, x) + |j - J(x)|^2 + 1 - SSIM(j, J(x)) + focal(d(x', r, j), m),

    each a mean over pixels. The anomaly of a pixel is d's probability. No backbone and no ImageNet weights are used.

    Why it should not fall in company: the anomalies come at three levels of difficulty and in parts of the image alone
    (the panels), so that the network sees normal surroundings and must not repair all or nothing; attention weakens
    what is unusual before the decoder; and the first network's norms are those of a single image, so that the classes
    of a batch do not mix.

    The paper was not at hand: the parts are as summaries of it describe them, where they leave something open the
    choice is ours. As described: panels and their sizes, levels by noticeable differences, masks corrected by SSIM,
    sources of anomalies, DCSA's parts and its weight of 0.1, instance norm in the first and batch norm with dilation in
    the second network, losses, Adam with 1e-4 (setting 'paper'). Ours, or simpler:

    * **Levels.** The authors mix three levels in an image; each of ours has one. The softening and the least opacity of
      a level, the formula of the noticeable difference, and SSIM's threshold are our choices.
    * **Networks.** DRAEM's sizes as here: four halvings (the authors' second network has five) and four times the first
      width at most. DCSA stands behind each layer of the first network. Strides and dilations of the deep layers, and
      the neck's inside, are our reading.
    * **Textures.** Drawn, where the authors take photographs of textures (DTD); as there, some anomalies are made of
      normal images; half of ours, of the one before it in the batch, which in a unified model may be of another class.
    * **The image's score** is `DRAEM`'s, the largest mean of the map.
    * **Length.** The lesson has 96 pixels, few steps and twenty times the rate. A network from random weights has
      hardly begun to learn by then.

    Args:
        features, setting, seed, changes: see `ImageBaseline`; of the features nothing counts, and 'width' is that of
            both networks at the full size.
    """

    title = "OmniAL"
    settings = {
        "lesson": Setting(image_size=96, width=12, steps=400, images=4, rate=2e-3),
        "paper": Setting(image_size=256, width=64, steps=21_000, images=20, rate=1e-4),
    }

    def prepare(self, table: ImageTable, rows: np.ndarray) -> torch.optim.Optimizer:
        """Build both networks and the neck."""
        width = self.setting.width

        def attentive(before: int, after: int, _: int) -> nn.Module:
            convolutions = block(before, after, norm=lambda channels: nn.InstanceNorm2d(channels, affine=True))
            return nn.Sequential(convolutions, ChannelAndSpatialAttention(after))

        def dilated(before: int, after: int, halvings: int) -> nn.Module:
            return block(before, after, dilation=2 if halvings >= DILATED else 1)

        self.repair = Hourglass(3, 4, width, skips=False, layer=attentive)
        self.neck, self.find = Comparison(width), Hourglass(3 * width, 2, width, skips=True, layer=dilated)
        self.networks = nn.ModuleList([self.repair, self.neck, self.find]).to(self.device).train()
        return torch.optim.Adam(self.networks.parameters(), lr=self.setting.rate)

    def loss(self, images_B3SS: Tensor, labels: Any = None) -> Tensor:
        """Return the loss of a batch of images, each as it is and spoiled."""
        spoiled = list(map(spoil_in_panel, images_B3SS, images_B3SS.roll(1, 0)))
        inputs_B3SS, wanted_B3SS, mask_BSS = both_ways(images_B3SS, spoiled)
        repaired_B3SS, predicted_B1SS, logits_B2SS = self._answers(inputs_B3SS)
        noticeable_B1SS = noticeable_difference(wanted_B3SS) / UNIT
        loss = focal_loss(logits_B2SS, mask_BSS)
        for made, wanted in (repaired_B3SS, wanted_B3SS), (predicted_B1SS, noticeable_B1SS):
            loss = loss + F.mse_loss(made, wanted) + dissimilarity(made, wanted)
        return loss

    def _answers(self, images_B3SS: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return repair (B, 3, S, S), its noticeable difference (B, 1, S, S), and logits (B, 2, S, S) of the mask."""
        repaired_B3SS, predicted_B1SS = self.repair(images_B3SS).split([3, 1], dim=1)
        seen_B1SS = noticeable_difference(images_B3SS) / UNIT
        compared = self.neck(images_B3SS, seen_B1SS, repaired_B3SS, predicted_B1SS)
        return repaired_B3SS, predicted_B1SS, self.find(compared)
