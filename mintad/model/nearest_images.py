"""Normal images, and the mean of those that are most similar to another image.

What a token should be depends on the image: a screw may lie in any direction, and a texture has no fixed positions. The
mean of the most similar normal images at the token's position is a better guess than the mean of all.

Letters: n normal images, K neighbours, B images of a batch, L tokens, F channels, l tokens of the coarse maps.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from mintad.model.pooling import pool_squares
from mintad.model.precision import in_float32

COMPARED_SIDE = 7
"""Images are compared by maps of about this side: coarse, because fine detail never matches exactly."""
PROJECTED = 512
"""Numbers by which copies are found: a random projection keeps distances to a few percent (Johnson, Lindenstrauss)."""
COPY = 0.01
"""Images that differ by less than this share of the channels' deviations are copies; float16 changes less."""
FAR = 25.0
"""Mean square, in units of the channels' deviations, above which an image is compared by differences: there |x|^2 -
2 x.y + |y|^2 loses the digits that tell copies from others. Photographs that are like the normal ones have about 1."""


class NearestImages(nn.Module):
    """The most similar normal images and their mean. No image is compared with itself or a copy of it.

    Args:
        images_nLF: features of the normal images; they are kept, as they are.
        grid: (H, W), with L = H * W.
        neighbours: K, at most.
    """

    def __init__(self, images_nLF: Tensor, grid: tuple[int, int], neighbours: int) -> None:
        super().__init__()
        self.grid, self.neighbours = grid, neighbours
        self.register_buffer("images_nLF", images_nLF)

    @in_float32
    def forward(self, feat_BLF: Tensor) -> Tensor:
        """Return the mean (B, L, F) of the images that are most similar to features (B, L, F).

        Where there is no other image to compare with, it is the mean of the image's own tokens.
        """
        indices_BK, other_BK = self._neighbours(self._compared(feat_BLF))
        weight_BK, count_B = other_BK.float(), other_BK.sum(dim=1)
        weight_BK /= count_B.clamp(min=1)[:, None]
        mean_BLF = torch.einsum("bk,bklf->blf", weight_BK, self.images_nLF[indices_BK].float())
        return torch.where((count_B > 0)[:, None, None], mean_BLF, feat_BLF.mean(dim=1, keepdim=True))

    def _neighbours(self, compared_BD: Tensor) -> tuple[Tensor, Tensor]:
        """Return the numbers (B, K) of the most similar images, and whether there are so many (B, K).

        A training shows the normal images again and again, so what is found for them is kept. To recognise them takes a
        small part of the time of a search.
        """
        distance_Bn = self._distance(compared_BD @ self._projection_DP, *self._projected_images)
        distance_B, copy_B = distance_Bn.min(dim=1)
        known_B = distance_B < COPY
        if known_B.all():
            indices_nK, other_nK = self._of_the_images
            return indices_nK[copy_B], other_nK[copy_B]
        return self._search(compared_BD)

    def _search(self, compared_BD: Tensor) -> tuple[Tensor, Tensor]:
        distance_Bn = self._distance(compared_BD, *self._compared_images)
        distance_Bn[distance_Bn < COPY] = torch.inf
        near = distance_Bn.topk(min(self.neighbours, len(self.images_nLF)), largest=False)
        return near.indices, near.values.isfinite()

    @staticmethod
    def _distance(first_BD: Tensor, second_nD: Tensor, square_n: Tensor) -> Tensor:
        """Return distances (B, n) per channel, in units of the channels' deviations.

        `square_n` are the squared norms of the second. torch.cdist would compute them, and copy the second, each time.
        """
        square_B = first_BD.square().sum(dim=1)
        distance_Bn = torch.addmm(square_n, first_BD, second_nD.T, alpha=-2).add_(square_B[:, None])
        distance_Bn = distance_Bn.clamp_(min=0).sqrt_()
        far_B = square_B > FAR * first_BD.shape[1]
        if far_B.any():
            differences = "donot_use_mm_for_euclid_dist"
            distance_Bn[far_B] = torch.cdist(first_BD[far_B], second_nD, compute_mode=differences)
        return distance_Bn / first_BD.shape[1] ** 0.5

    def replace(self, images_nLF: Tensor) -> None:
        """Take other normal images."""
        self._forget()
        self.images_nLF = images_nLF.to(self.images_nLF.device)

    def _compared(self, feat_BLF: Tensor) -> Tensor:
        """Return what images are compared by: coarse maps (B, D), D = l * F, in units of each channel's deviation."""
        mean_F, deviation_F = self._mean_and_deviation_F
        coarse_BlF = pool_squares(feat_BLF - mean_F, self.grid, -(-max(self.grid) // COMPARED_SIDE))
        return (coarse_BlF / deviation_F).flatten(1)

    @functools.cached_property
    def _mean_and_deviation_F(self) -> tuple[Tensor, Tensor]:
        """The mean is subtracted because |x|^2 - 2 x.y + |y|^2 loses digits where it is large; distances stay."""
        deviation_F, mean_F = torch.std_mean(self.images_nLF.float(), dim=(0, 1), correction=0)
        return mean_F, deviation_F.clamp(min=1e-6)

    @functools.cached_property
    def _compared_images(self) -> tuple[Tensor, Tensor]:
        """What the images are compared by (n, D), and its squared norms (n,)."""
        return with_squares(self._compared(self.images_nLF.float()))

    @functools.cached_property
    def _projection_DP(self) -> Tensor:
        generator = torch.Generator().manual_seed(0)  # the same for all images and runs
        matrix_DP = torch.randn(self._compared_images[0].shape[1], PROJECTED, generator=generator)
        return (matrix_DP / len(matrix_DP) ** 0.5).to(self.images_nLF.device)

    @functools.cached_property
    def _projected_images(self) -> tuple[Tensor, Tensor]:
        return with_squares(self._compared_images[0] @ self._projection_DP)

    @functools.cached_property
    def _of_the_images(self) -> tuple[Tensor, Tensor]:
        """The neighbours (n, K) of the normal images themselves, as `_neighbours` gives them."""
        indices, others = zip(*map(self._search, self._compared_images[0].split(256)), strict=True)
        return torch.cat(indices), torch.cat(others)

    def _forget(self) -> None:
        """Forget what was computed from other images, or from these on another device."""
        members = (member for kind in type(self).__mro__ for member in vars(kind).items())
        for name in [name for name, member in members if isinstance(member, functools.cached_property)]:
            self.__dict__.pop(name, None)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> NearestImages:
        self._forget()
        return super()._apply(fn, recurse)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Take over the images of a state whatever their number, which depends on the data."""
        loaded = state_dict.get(f"{prefix}images_nLF")
        if loaded is not None and loaded.shape[1:] == self.images_nLF.shape[1:]:
            self.replace(torch.empty_like(loaded))
        super()._load_from_state_dict(state_dict, prefix, *args)


def with_squares(values_nD: Tensor) -> tuple[Tensor, Tensor]:
    """Return values (n, D) and their squared norms (n,)."""
    return values_nD, values_nD.square().sum(dim=1)
