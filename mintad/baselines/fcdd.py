"""FCDD: a convolutional network whose output is the map, 0 where normal (Liznerski et al., ICLR 2021)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mintad.baselines.base import baseline
from mintad.baselines.images import ImageBaseline, ImageTable, Setting, normalised

STAGE = 8
"""Reduction of the backbone's stage that the map is made from, and so the map's resolution."""
PIECES, PIECE = 3, (8, 54)
"""Confetti: up to so many pieces an image, and the range of their sides in pixels of an image of `SIDE`."""
SIDE = 224


def confetti(image_3SS: Tensor) -> tuple[Tensor, Tensor]:
    """Throw upright rectangles of one colour each on an image; returns it, and a mask (S, S) of where they lie."""
    side, image_3SS = image_3SS.shape[-1], image_3SS.clone()
    mask_SS = torch.zeros_like(image_3SS[0], dtype=torch.bool)
    low, high = (max(1, round(length * side / SIDE)) for length in PIECE)
    for _ in range(int(torch.randint(1, PIECES + 1, ()))):
        height, width = (min(side, int(n)) for n in torch.randint(low, high + 1, (2,)))
        top, left = int(torch.randint(side - height + 1, ())), int(torch.randint(side - width + 1, ()))
        image_3SS[:, top : top + height, left : left + width] = torch.rand(3, 1, 1).to(image_3SS.device)
        mask_SS[top : top + height, left : left + width] = True
    return image_3SS, mask_SS


def pseudo_huber(output_BHW: Tensor) -> Tensor:
    """Return sqrt(x^2 + 1) - 1: like x^2 / 2 near 0, like |x| far from it."""
    return (output_BHW.square() + 1).sqrt() - 1


def deviation_loss(normal_B: Tensor, anomalous_B: Tensor) -> Tensor:
    """Return the mean over all images of s where normal and of -log(1 - exp(-s)) where anomalous, s a map's mean."""
    repelled_B = -torch.log(-torch.expm1(-anomalous_B.clamp(min=1e-6)))
    return torch.cat([normal_B, repelled_B]).mean()


@baseline("fcdd")
class FCDD(ImageBaseline):
    """A fully convolutional network's own output, drawn to 0 on normal images and away from it on confetti.

    With phi(x) the network's map of one channel, and its pseudo-Huber loss A = sqrt(phi^2 + 1) - 1, whose mean over the
    positions is s(x),

        loss = mean over normal images of s(x), and over the same images with confetti of -log(1 - exp(-s(x))).

    A is the anomaly map, and its mean the image's score. Nothing is explained afterwards: the map is what is trained.
    Anomalous are whole images, so the loss does not say *where* the confetti is; small receptive fields make the
    network find it.

    As published: loss, map, score, confetti for industrial images, weights of the first layers kept, Nesterov's SGD
    with 1e-3 and weight decay 1e-4 (setting 'paper'). Not as published:

    * **Network.** The paper's is a VGG-11 from ImageNet's weights. Ours is the run's backbone up to stage 8, the first
      half of whose weights' tensors is kept, and a linear layer.
    * **Enlarging.** The paper enlarges the map by a Gaussian for each position; runs enlarge ours as all others.
    * **Outliers.** With foreign images in the place of confetti this is the paper's FCDD+OE, see `fcdd_oe`.
    * **Length.** The paper trains 200 epochs with 224 x 224 pixels. The lesson has 128 pixels, few steps and three
      times the rate; ten times would be near the rates at which the loss overflows.

    Args:
        features, setting, seed, changes: see `ImageBaseline`; 'width' is that of a layer between backbone and map.
    """

    title = "FCDD"
    cosine = True
    reductions = (STAGE,)
    settings = {
        "lesson": Setting(image_size=128, width=32, steps=300, images=8, rate=3e-3),
        "paper": Setting(image_size=224, width=128, steps=3_000, images=16, rate=1e-3),
    }

    def prepare(self, table: ImageTable, rows: np.ndarray) -> torch.optim.Optimizer:
        """Build the network; norms keep the statistics of the pretraining."""
        self.backbone, width = self.new_backbone().to(self.device), self.setting.width
        weights = list(self.backbone.network.parameters())
        trained = [weight.requires_grad_(True) for weight in weights[len(weights) // 2 :]]
        self.head = nn.Sequential(
            nn.Conv2d(self.backbone.channels, width, 1), nn.LeakyReLU(0.1), nn.Conv2d(width, 1, 1)
        ).to(self.device)
        options = {"lr": self.setting.rate, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-4}
        return torch.optim.SGD([*trained, *self.head.parameters()], **options)

    def loss(self, images_B3SS: Tensor, labels: Any = None) -> Tensor:
        """Return the loss of a batch of images, with an anomalous one for each."""
        anomalous_B3SS = torch.stack([self.anomalous(image_3SS) for image_3SS in images_B3SS])
        score_B = self._map(torch.cat([images_B3SS, anomalous_B3SS])).mean((1, 2))
        return deviation_loss(*score_B.chunk(2))

    def anomalous(self, image_3SS: Tensor) -> Tensor:
        """Return the image with confetti, which is called anomalous."""
        return confetti(image_3SS)[0]

    @torch.no_grad()
    def anomaly_map(self, images_B3SS: Tensor, labels: Any = None) -> Tensor:
        """Return A (B, H, W) of images (B, 3, S, S)."""
        return torch.cat([self._map(images_bSS) for images_bSS in images_B3SS.to(self.device).split(self.images)])

    def image_score(self, images_B3SS: Tensor, map_BHW: Tensor, labels: Any = None) -> Tensor:
        """Return the maps' means (B,)."""
        return map_BHW.mean((1, 2))

    def _map(self, images_B3SS: Tensor) -> Tensor:
        stage_BFHW = self.backbone.network(normalised(images_B3SS, self.backbone))[-1]
        return pseudo_huber(self.head(stage_BFHW)[:, 0])
