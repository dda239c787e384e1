"""SimpleNet: a discriminator of normal features and noisy ones (Liu et al., CVPR 2023, arXiv:2303.15140)."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mintad.baselines.base import baseline, locally_averaged
from mintad.baselines.training import TrainedBaseline
from mintad.config import FeatureConfig, ScoringConfig
from mintad.features.table import FeatureTable


class Discriminator(nn.Module):
    """Adaptor G and discriminator D of features (..., F): a linear layer; and a layer of `hidden` units with a score.

    Args:
        channels: F.
        hidden: width of D's hidden layer.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.adaptor = nn.Linear(channels, channels)
        self.hidden, self.norm = nn.Linear(channels, hidden), nn.BatchNorm1d(hidden)
        self.score = nn.Linear(hidden, 1, bias=False)
        for layer in (self.adaptor, self.hidden, self.score):
            nn.init.xavier_normal_(layer.weight)

    def discriminate(self, adapted_NF: Tensor) -> Tensor:
        """Return D's scores (N,) of adapted features: high where they are normal."""
        return self.score(nn.functional.leaky_relu(self.norm(self.hidden(adapted_NF)), 0.2)).squeeze(-1)


def truncated_l1(normal_N: Tensor, noisy_N: Tensor, margin: float) -> Tensor:
    """Return SimpleNet's loss of D's scores: mean of max(0, th - D(q)) plus mean of max(0, th + D(q + noise))."""
    return (margin - normal_N).clamp(min=0).mean() + (margin + noisy_N).clamp(min=0).mean()


@baseline("simplenet")
class SimpleNet(TrainedBaseline):
    """How much a small network takes a token for a noisy one.

    With features o of a token, the adaptor's q = G(o) and noise e ~ N(0, sigma^2) in every channel, train

        min over G, D:   max(0, th - D(q)) + max(0, th + D(q + e)),

    averaged over the tokens of a batch. A token's anomaly is -D(G(o)), and an image's is that of its most anomalous
    token; neither noise nor a memory is needed then.

    As published: the layers and their initial weights, th = 0.5, Adam with weight decay 1e-5, stages 8 and 16 averaged
    over 3 x 3 cells on the grid of the finer one, the map's blur of 4 pixels. Not as published:

    * **Scale and noise.** The authors add sigma = 0.015 to a WideResNet-50-2's features as they are. Those of our
      backbone have standard deviations of 2 to 7, so that this would be no noise; and they differ between backbones. So
      every channel is standardised over the training tokens before G. The noise is added after G, to q, whose channels
      may have any deviation: about 1 on average with G's initial weights, but G can enlarge them in training, and
      sigma is not in units of it. 0.5 was chosen on synthetic defects, without a test image, by trainings that differ
      in G's rate too: 1 did better than 0.25 at a rate of 1e-3, 0.5 better than 2 at 1e-4; 0.5 and 1 were never
      compared with all else equal (`data/results/baseline_settings.csv`).
    * **Length.** The authors train 160 epochs with learning rates of 1e-4 (G) and 2e-4 (D), and keep the epoch that is
      best *on the test images*. We take 1,000 steps, ten times the rates, and the last weights.
    * **Width.** D's hidden layer has 512 units, the authors' 1,024 for 1,536 channels; we have about 150.

    Args:
        grid: (H, W) of the features.
        noise: sigma.
        margin: th, both th+ and th- of the paper.
        hidden: width of D's hidden layer.
        steps, images: of training, and images in a step.
        adaptor_rate, rate: learning rates of G and D.
        seed: of initial weights, batches and noise.
    """

    title = "SimpleNet"

    def __init__(
        self,
        grid: tuple[int, int],
        *,
        noise: float = 0.5,
        margin: float = 0.5,
        hidden: int = 512,
        steps: int = 1000,
        images: int = 4,
        adaptor_rate: float = 1e-3,
        rate: float = 2e-3,
        seed: int = 0,
    ) -> None:
        super().__init__(grid, steps=steps, images=images, seed=seed)
        self.noise, self.margin, self.hidden = noise, margin, hidden
        self.adaptor_rate, self.rate = adaptor_rate, rate

    @classmethod
    def published_features(cls, config: FeatureConfig) -> FeatureConfig:
        """Return the features of §3.1, which are PatchCore's: stages 8 and 16, 3 x 3 means, the finer stage's grid."""
        return locally_averaged(config, (8, 16))

    @classmethod
    def published_scoring(cls, config: ScoringConfig) -> ScoringConfig:
        """Return the blur of §3.5: sigma = 4 pixels of the full-size map. `image_score` has the image's score."""
        return dataclasses.replace(config, blur=4.0)

    def prepare(self, features: FeatureTable, rows: np.ndarray) -> torch.optim.Optimizer:
        """Build adaptor and discriminator, each with its learning rate."""
        self.network = Discriminator(features.channels, self.hidden).to(features.device)
        discriminator = (self.network.hidden, self.network.norm, self.network.score)
        groups = [
            {"params": self.network.adaptor.parameters(), "lr": self.adaptor_rate},
            {"params": [weight for layer in discriminator for weight in layer.parameters()], "lr": self.rate},
        ]
        return torch.optim.Adam(groups, weight_decay=1e-5)

    def finish(self, features: FeatureTable, rows: np.ndarray) -> None:
        """Let the norm keep its statistics from now on."""
        self.network.eval()

    def loss(self, feat_BLF: Tensor, labels: Any = None) -> Tensor:
        """Return the loss of a batch: normal and noisy tokens go through D together, as one batch of its norm."""
        adapted_NF = self.network.adaptor(self.standardise(feat_BLF).flatten(0, 1))
        noisy_NF = adapted_NF + self.noise * torch.randn_like(adapted_NF)
        return truncated_l1(*self.network.discriminate(torch.cat([adapted_NF, noisy_NF])).chunk(2), self.margin)

    @torch.no_grad()
    def anomaly_map(self, feat_BLF: Tensor, labels: Any = None) -> Tensor:
        """Return -D (B, H, W) of features (B, L, F)."""
        tokens_NF = self.standardise(feat_BLF.to(self.mean_F.device)).flatten(0, 1)
        score_N = self.network.discriminate(self.network.adaptor(tokens_NF))
        return -score_N.view(len(feat_BLF), *self.grid)

    def image_score(self, feat_BLF: Tensor, map_BHW: Tensor, labels: Any = None) -> Tensor:
        """Return the score of the most anomalous token (§3.5), of the map that is not blurred."""
        return map_BHW.flatten(1).amax(1)
