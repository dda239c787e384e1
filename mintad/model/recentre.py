"""Features less what they should be, the mean of the most similar normal images (not in the paper).

Letters: n normal images, K neighbours, B images of a batch, L tokens, F channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mintad.model.nearest_images import NearestImages


class Recentre(nn.Module):
    """Features less the mean of the most similar normal images, the identity until `fit`; saved with the weights.

    Not in the paper. What is left is what the reconstruction has to explain; its channels get a variance of 1.
    ResAD (Yao et al., NeurIPS 2024) subtracts the nearest normal token, also from UniAD's features.

    Args:
        channels, grid: F and (H, W).
        neighbours: K; with 0 the features stay as they are.
    """

    def __init__(self, channels: int, grid: tuple[int, int], neighbours: int) -> None:
        super().__init__()
        self.active = neighbours > 0
        if self.active:
            images_nLF = torch.zeros(1, grid[0] * grid[1], channels, dtype=torch.float16)
            self.nearest = NearestImages(images_nLF, grid, neighbours)
            self.register_buffer("scale_F", torch.ones(channels))

    @torch.no_grad()
    def fit(self, images_nLF: Tensor) -> None:
        """Keep normal images (n, L, F), and learn how much their tokens differ from those of the most similar ones."""
        self.nearest.replace(images_nLF)
        squares_F, tokens = torch.zeros_like(self.scale_F), images_nLF.shape[0] * images_nLF.shape[1]
        for part_BLF in map(Tensor.float, self.nearest.images_nLF.split(64)):
            squares_F += (part_BLF - self.nearest(part_BLF)).square().sum(dim=(0, 1))
        self.scale_F.copy_(torch.where(squares_F > 1e-12 * tokens, (squares_F / tokens).sqrt(), 1.0))

    def forward(self, feat_BLF: Tensor) -> Tensor:
        """Return recentred features, same shape."""
        return (feat_BLF - self.nearest(feat_BLF)) / self.scale_F if self.active else feat_BLF
