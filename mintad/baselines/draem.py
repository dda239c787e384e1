"""DRAEM: repair drawn anomalies, and tell them from the repair (Zavrtanik et al., ICCV 2021, arXiv:2108.07610)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mintad.baselines.base import baseline
from mintad.baselines.images import ImageBaseline, ImageTable, Setting
from mintad.baselines.perlin import spoil

DEPTH = 4
"""How often the networks halve the image; each time the width doubles, up to four times the first."""
WINDOW = 11
"""Side of the windows of the structural similarity."""
POOL = 21
"""Side of the mean filter before the maximum, in pixels of an image of 256."""


def block(
    before: int, after: int, *, norm: Callable[[int], nn.Module] = nn.BatchNorm2d, dilation: int = 1
) -> nn.Sequential:
    """Return two convolutions, each with a norm and ReLU."""
    layers: list[nn.Module] = []
    for channels in (before, after):
        convolution = nn.Conv2d(channels, after, 3, padding=dilation, dilation=dilation, bias=False)
        layers += [convolution, norm(after), nn.ReLU()]
    return nn.Sequential(*layers)


class Hourglass(nn.Module):
    """An encoder and a decoder; with `skips` a U-Net.

    Args:
        before, after: channels of input and output.
        width: channels at the full size.
        skips: hand what the encoder has at every size to the decoder. Without, all must pass the narrowest place.
        layer: makes what works at one size, from the channels before and after it, and how often the image was halved.
    """

    def __init__(
        self,
        before: int,
        after: int,
        width: int,
        *,
        skips: bool,
        layer: Callable[[int, int, int], nn.Module] = lambda before, after, halvings: block(before, after),
    ) -> None:
        super().__init__()
        widths = [min(2**halvings, 4) * width for halvings in range(DEPTH + 1)]
        self.skips = skips
        self.down = nn.ModuleList(layer(a, b, n) for n, (a, b) in enumerate(itertools.pairwise([before, *widths])))
        self.up = nn.ModuleList(
            layer(widths[n + 1] + skips * widths[n], widths[n], n) for n in reversed(range(len(widths) - 1))
        )
        self.output = nn.Conv2d(width, after, 3, padding=1)

    def forward(self, x_BCSS: Tensor) -> Tensor:
        """Return a map of `after` channels at the input's size."""
        levels = []
        for level in self.down:
            x_BCSS = level(F.max_pool2d(x_BCSS, 2, ceil_mode=True) if levels else x_BCSS)
            levels.append(x_BCSS)
        for level, finer in zip(self.up, levels[-2::-1], strict=True):
            x_BCSS = F.interpolate(x_BCSS, finer.shape[-2:], mode="bilinear")
            x_BCSS = level(torch.cat([x_BCSS, finer], dim=1) if self.skips else x_BCSS)
        return self.output(x_BCSS)


def similarity(a_BCSS: Tensor, b_BCSS: Tensor) -> Tensor:
    """Return SSIM (B, C, S - 10, S - 10) of every window that lies inside, with equal weights in a window.

    SSIM = (2 m_a m_b + c_1) (2 s_ab + c_2) / ((m_a^2 + m_b^2 + c_1) (s_a^2 + s_b^2 + c_2)), with the windows' means m,
    variances s^2 and covariance s_ab, c_1 = 0.01^2 and c_2 = 0.03^2.
    """

    def mean(x_BCSS: Tensor) -> Tensor:
        return F.avg_pool2d(x_BCSS, WINDOW, stride=1)

    m_a, m_b = mean(a_BCSS), mean(b_BCSS)
    s_aa, s_bb, s_ab = (mean(x) for x in (a_BCSS.square(), b_BCSS.square(), a_BCSS * b_BCSS))
    s_aa, s_bb, s_ab = s_aa - m_a.square(), s_bb - m_b.square(), s_ab - m_a * m_b
    over, under = (
        (2 * m_a * m_b + 1e-4) * (2 * s_ab + 9e-4),
        (m_a.square() + m_b.square() + 1e-4) * (s_aa + s_bb + 9e-4),
    )
    return over / under


def dissimilarity(a_BCSS: Tensor, b_BCSS: Tensor) -> Tensor:
    """Return 1 - SSIM, a scalar, the mean over all windows."""
    return (1 - similarity(a_BCSS, b_BCSS)).mean()


def focal_loss(logits_B2SS: Tensor, mask_BSS: Tensor) -> Tensor:
    """Return the mean of -(1 - p)^2 log p, with p the probability of each pixel's true class."""
    log_p_BSS = logits_B2SS.log_softmax(1).gather(1, mask_BSS[:, None].long())[:, 0]
    return -((1 - log_p_BSS.exp()).square() * log_p_BSS).mean()


def both_ways(images_B3SS: Tensor, spoiled: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    """Return a batch of images as they are and spoiled (2B, 3, S, S), what they should be, and masks (2B, S, S).

    `spoiled` has the changed image and the mask of what was changed, of each image.
    """
    changed, masks = map(torch.stack, zip(*spoiled, strict=True))
    nothing = torch.zeros_like(masks)
    return torch.cat([images_B3SS, changed]), images_B3SS.repeat(2, 1, 1, 1), torch.cat([nothing, masks])


@baseline("draem")
class DRAEM(ImageBaseline):
    """How surely a network, which saw a repaired image beside the image, calls a pixel anomalous.

    A batch holds each normal image x as it is and, spoiled, as x' with a mask m of where a texture was mixed in
    (`perlin.spoil`). An encoder-decoder r repairs, and a U-Net d, given x' and r(x'), finds the mask:

        loss = |r(x') - x|^2 + (1 - SSIM(r(x'), x)) + focal(d(x', r(x')), m),

    each a mean over pixels. The anomaly of a pixel is d's probability. No backbone and no ImageNet weights are used.

    As published: the two networks' roles, Perlin masks, opacity from 0.1 to 1, losses and their weights, Adam with 1e-4
    (setting 'paper'), the mean filter before the maximum. Not as published:

    * **Textures.** The paper takes them from DTD, a set of photographs of textures, changed at random. Ours are drawn.
      So anomalies are less rich, and nothing is learned from outside the data.
    * **Half of the images.** The paper leaves an image unspoiled half of the time; we show each image both ways.
    * **Networks.** Four halvings instead of five, and four times the first width at most, instead of eight. Both have
      the same `width`, the paper's 128 and 64. SSIM's windows weigh their pixels alike.
    * **Length.** The paper trains 700 epochs with 256 x 256 pixels. The lesson has 96 pixels, few steps and twenty
      times the rate. A network from random weights has hardly begun to learn by then.

    Args:
        features, setting, seed, changes: see `ImageBaseline`; of the features nothing counts, and 'width' is that of
            both networks at the full size.
    """

    title = "DRAEM"
    cosine = True
    settings = {
        "lesson": Setting(image_size=96, width=12, steps=500, images=4, rate=2e-3),
        "paper": Setting(image_size=256, width=64, steps=21_000, images=8, rate=1e-4),
    }

    def prepare(self, table: ImageTable, rows: np.ndarray) -> torch.optim.Optimizer:
        """Build both networks."""
        width = self.setting.width
        self.repair, self.tell = Hourglass(3, 3, width, skips=False), Hourglass(6, 2, width, skips=True)
        self.networks = nn.ModuleList([self.repair, self.tell]).to(self.device).train()
        return torch.optim.Adam(self.networks.parameters(), lr=self.setting.rate)

    def loss(self, images_B3SS: Tensor, labels: Any = None) -> Tensor:
        """Return the loss of a batch of images, each as it is and spoiled."""
        inputs_B3SS, wanted_B3SS, mask_BSS = both_ways(images_B3SS, list(map(spoil, images_B3SS)))
        repaired_B3SS, logits_B2SS = self._answers(inputs_B3SS)
        loss = F.mse_loss(repaired_B3SS, wanted_B3SS) + dissimilarity(repaired_B3SS, wanted_B3SS)
        return loss + focal_loss(logits_B2SS, mask_BSS)

    def finish(self, table: ImageTable, rows: np.ndarray) -> None:
        """Let the norms keep their statistics from now on."""
        self.networks.eval()

    @torch.no_grad()
    def anomaly_map(self, images_B3SS: Tensor, labels: Any = None) -> Tensor:
        """Return the probability (B, S, S) that a pixel of images (B, 3, S, S) is anomalous."""
        parts = images_B3SS.to(self.device).split(self.images)
        return torch.cat([self._answers(part)[-1].softmax(1)[:, 1] for part in parts])

    def image_score(self, images_B3SS: Tensor, map_BHW: Tensor, labels: Any = None) -> Tensor:
        """Return the maximum (B,) over means of as large a part of the map as `POOL` pixels are of 256."""
        side = max(1, round(POOL * map_BHW.shape[-1] / 256))
        return F.avg_pool2d(map_BHW[:, None], side, stride=1).flatten(1).amax(1)

    def _answers(self, images_B3SS: Tensor) -> tuple[Tensor, ...]:
        """Return the repaired images (B, 3, S, S), and last the logits (B, 2, S, S) of normal and anomalous."""
        repaired_B3SS = self.repair(images_B3SS)
        return repaired_B3SS, self.tell(torch.cat([repaired_B3SS, images_B3SS], dim=1))
