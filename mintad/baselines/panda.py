"""PANDA: a pretrained network, drawn together on normal images, and nearest neighbours (Reiss et al., CVPR 2021)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from mintad.baselines.base import baseline
from mintad.baselines.images import ImageBaseline, ImageTable, Setting, normalised

STAGE = 16
"""Reduction of the backbone's stage whose channels, averaged over the image, are the embedding."""
NEIGHBOURS = 2
"""k, the paper's number."""
CLIP = 1e-3
"""Largest norm of a step's gradient, the paper's."""


@baseline("panda")
class PANDA(ImageBaseline):
    """Distance to the nearest training images, in an embedding that was drawn together on them and stopped early.

    With f the mean over positions p of the last maps f_p of a pretrained network, and c the mean of f over the training
    images before the training,

        loss = |f(x) - c|^2.

    A constant f would have no loss, so the training is short and clipped (the paper's PANDA-Early), and norms keep the
    statistics of the pretraining. With n_1 to n_k the nearest training images' embeddings,

        score = mean over k of |f - n_k|^2.

    The map is not the paper's, which has none: the mean over k of (f - n_k)'(f_p - n_k), whose mean over the positions
    is the score.

    As published: loss, centre, clipping, k = 2, SGD with 1e-2 and weight decay 5e-5; in the setting 'paper' the fixed
    number of steps. Not as published:

    * **Network.** The paper's is a ResNet-152, of which the last two of four stages are trained. Ours is the run's
      backbone up to stage 16, and the last half of its weights' tensors is trained.
    * **Elastic weights (EWC)**, the paper's other guard against collapse, need ImageNet, which we do not have.
    * **Length.** Clipped, 150 steps move the weights by at most 150 * 1e-2 * 1e-3 / (1 - 0.9) = 0.015 besides their
      decay: the lesson's network is almost the pretrained one.
    * **Memory.** Every training image's embedding is kept, as published: this grows with images and classes.

    Args:
        features, setting, seed, changes: see `ImageBaseline`; there is no 'width'.
    """

    title = "PANDA"
    unused = ("width",)
    reductions = (STAGE,)
    settings = {
        "lesson": Setting(image_size=128, width=1, steps=150, images=16, rate=1e-2),
        "paper": Setting(image_size=224, width=1, steps=2355, images=32, rate=1e-2),
    }

    def prepare(self, table: ImageTable, rows: np.ndarray) -> torch.optim.Optimizer:
        """Build the network, and take the centre."""
        self.backbone = self.new_backbone().to(self.device)
        self.centre_F = self._embeddings(table, rows).mean(0)
        weights = list(self.backbone.network.parameters())
        trained = [weight.requires_grad_(True) for weight in weights[len(weights) // 2 :]]
        optimizer = torch.optim.SGD(trained, lr=self.setting.rate, momentum=0.9, weight_decay=5e-5)

        def clip(*_: Any) -> None:
            torch.nn.utils.clip_grad_norm_(trained, CLIP)

        optimizer.register_step_pre_hook(clip)
        return optimizer

    def loss(self, images_B3SS: Tensor, labels: Any = None) -> Tensor:
        """Return the mean squared distance of a batch of images to the centre."""
        return (self._maps(images_B3SS).mean((2, 3)) - self.centre_F).square().sum(1).mean()

    def finish(self, table: ImageTable, rows: np.ndarray) -> None:
        """Keep the training images' embeddings."""
        self.memory_NF = self._embeddings(table, rows)

    @torch.no_grad()
    def anomaly_map(self, images_B3SS: Tensor, labels: Any = None) -> Tensor:
        """Return each position's part (B, H, W) in the scores of images (B, 3, S, S); parts may be negative."""
        maps, count = [], min(NEIGHBOURS, len(self.memory_NF))
        for images_bSS in images_B3SS.to(self.device).split(self.images):
            maps_bFHW = self._maps(images_bSS)
            embedding_bF = maps_bFHW.mean((2, 3))
            order_bk = torch.cdist(embedding_bF, self.memory_NF).topk(count, largest=False).indices
            way_bkF = embedding_bF[:, None] - self.memory_NF[order_bk]
            along_bkHW = torch.einsum("bkf,bfhw->bkhw", way_bkF, maps_bFHW)
            along_bkHW -= (way_bkF * self.memory_NF[order_bk]).sum(-1)[..., None, None]
            maps.append(along_bkHW.mean(1))
        return torch.cat(maps)

    def image_score(self, images_B3SS: Tensor, map_BHW: Tensor, labels: Any = None) -> Tensor:
        """Return the mean squared distances (B,) to the nearest training images, which are the maps' means."""
        return map_BHW.mean((1, 2))

    @torch.no_grad()
    def _embeddings(self, table: ImageTable, rows: np.ndarray) -> Tensor:
        return torch.cat([self._maps(images_bSS).mean((2, 3)) for images_bSS in self.batches(table, rows)])

    def _maps(self, images_B3SS: Tensor) -> Tensor:
        """Return the last maps (B, F, H, W)."""
        return self.backbone.network(normalised(images_B3SS, self.backbone))[-1]
