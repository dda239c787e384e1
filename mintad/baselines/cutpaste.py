"""CutPaste: a network that learns to see pasted defects, and a Gaussian of its features (Li et al., CVPR 2021)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.covariance import ledoit_wolf
from torch import Tensor, nn

from mintad.baselines.base import baseline
from mintad.baselines.images import ImageBaseline, ImageTable, Setting, normalised
from mintad.baselines.pasting import colour_jitter, cut_paste, scar
from mintad.errors import DataError

STAGE = 16
"""Reduction of the backbone's stage whose channels, averaged over the image, are the embedding."""


class Classifier(nn.Module):
    """The backbone's stage, its mean over the image, and a head with one hidden layer and three classes.

    Args:
        stages: makes a list with one map (B, F, H, W) of normalised images.
        channels: F.
        width: of the hidden layer.
    """

    def __init__(self, stages: nn.Module, channels: int, width: int) -> None:
        super().__init__()
        self.stages = stages
        self.head = nn.Sequential(
            nn.Linear(channels, width, bias=False), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, 3)
        )

    def forward(self, images_B3SS: Tensor) -> Tensor:
        """Return the logits (B, 3) of normal, pasted and scarred."""
        return self.head(self.stages(images_B3SS)[-1].mean((2, 3)))


@baseline("cutpaste")
class CutPaste(ImageBaseline):
    """Mahalanobis distance of an image's embedding, by a network that was trained to tell pasted defects.

    For a batch of normal images x, a network learns by cross-entropy to tell three classes (the paper's 3-way):

        loss = CE(g(x), 0) + CE(g(cutpaste(x)), 1) + CE(g(scar(x)), 2),

    where cutpaste pastes a rectangle of the image elsewhere in it, and scar a thin one, turned (`pasting`). Then g's
    head is dropped. With f the mean over positions p of the last maps f_p, and mu and Sigma the mean and the shrunk
    covariance of f over the training images, without augmentation,

        score = (f - mu)' Sigma^-1 (f - mu).

    The map is the score's gradient times the maps, f_p - mu in the place of f on the right: its mean over the positions
    *is* the score. (The paper's maps are of another network, trained on 64 x 64 patches, or Grad-CAM.)

    As published: the two defects and their sizes, jitter of colours, three classes, the Gaussian on pooled features.
    Not as published:

    * **Network.** The paper's is a ResNet-18 from random weights or EfficientNet-B4 from ImageNet's; its 0.961, which
      Table 1 prints, is of five trainings together. Ours starts from the run's backbone with ImageNet weights, all of
      which are trained, up to stage 16, and is one.
    * **Head.** One hidden layer of `width`, the paper's is deeper. Hue is not jittered.
    * **Covariance.** Shrunk as Ledoit and Wolf do, because a class may have fewer images than there are channels.
    * **Length.** The paper trains 256 epochs of 256 x 256 pixels (setting 'paper'). The lesson has 128 pixels.

    Args:
        features, setting, seed, changes: see `ImageBaseline`; 'width' is that of the head.
    """

    title = "CutPaste"
    cosine = True
    reductions = (STAGE,)
    settings = {
        "lesson": Setting(image_size=128, width=128, steps=250, images=8, rate=0.01),
        "paper": Setting(image_size=256, width=512, steps=16_384, images=64, rate=0.03),
    }

    def prepare(self, table: ImageTable, rows: np.ndarray) -> torch.optim.Optimizer:
        """Build the network.

        Raises:
            DataError: one image, of which there is no covariance.
        """
        if len(rows) < 2:
            raise DataError(f"{self.title} needs at least two normal training images, for a covariance")
        self.backbone = self.new_backbone().to(self.device)
        self.network = Classifier(self.backbone.network, self.backbone.channels, self.setting.width)
        self.network.to(self.device).requires_grad_(True).train()
        return torch.optim.SGD(self.network.parameters(), lr=self.setting.rate, momentum=0.9, weight_decay=3e-5)

    def loss(self, images_B3SS: Tensor, labels: Any = None) -> Tensor:
        """Return the cross-entropy of a batch of images and two changed copies of each."""
        normal = [colour_jitter(image_3SS) for image_3SS in images_B3SS]
        pasted, scarred = ([change(image_3SS)[0] for image_3SS in normal] for change in (cut_paste, scar))
        inputs = normalised(torch.stack([*normal, *pasted, *scarred]), self.backbone)
        classes = torch.arange(3, device=self.device).repeat_interleave(len(normal))
        return 3 * F.cross_entropy(self.network(inputs), classes)

    @torch.no_grad()
    def finish(self, table: ImageTable, rows: np.ndarray) -> None:
        """Fit the Gaussian to the embeddings of the training images."""
        self.network.eval()
        parts = [self._maps(images_bSS).mean((2, 3)) for images_bSS in self.batches(table, rows)]
        embedding_nF = torch.cat(parts).double().cpu().numpy()
        covariance_FF, self.shrinkage = ledoit_wolf(embedding_nF)
        self.embedding_F = torch.from_numpy(embedding_nF.mean(0)).to(self.device)
        tiny = 1e-10 * (1 + np.trace(covariance_FF) / len(covariance_FF))  # images that are all the same
        precision_FF = np.linalg.inv(covariance_FF + tiny * np.eye(len(covariance_FF)))
        self.precision_FF = torch.from_numpy(precision_FF).to(self.device)

    @torch.no_grad()
    def anomaly_map(self, images_B3SS: Tensor, labels: Any = None) -> Tensor:
        """Return each position's part (B, H, W) in the scores of images (B, 3, S, S); parts may be negative."""
        parts = []
        for images_bSS in images_B3SS.to(self.device).split(self.images):
            offset_bFHW = self._maps(images_bSS).double() - self.embedding_F[:, None, None]
            pull_bF = offset_bFHW.mean((2, 3)) @ self.precision_FF
            parts.append(torch.einsum("bf,bfhw->bhw", pull_bF, offset_bFHW))
        return torch.cat(parts).float()

    def image_score(self, images_B3SS: Tensor, map_BHW: Tensor, labels: Any = None) -> Tensor:
        """Return the squared Mahalanobis distances (B,), which are the maps' means."""
        return map_BHW.mean((1, 2))

    def _maps(self, images_B3SS: Tensor) -> Tensor:
        """Return the last maps (B, F, H, W)."""
        return self.network.stages(normalised(images_B3SS, self.backbone))[-1]
