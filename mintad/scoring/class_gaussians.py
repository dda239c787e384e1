"""The Gaussians of one class: a full covariance at every position, with estimated shrinkage and recentring.

Letters: n images of the class, L tokens, F channels, B images of a batch, K neighbours. `mintad.scoring.sharp_prior`
says what they are for.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mintad.config import SharpPriorConfig

BATCH = 64
COMPARED_SIDE = 7
"""Images are compared by maps of about this side: coarse, because fine detail never matches exactly."""
FOLDS, POSITIONS = 5, 4  # of `typical_distance`: folds of the images, and every how many-th position


class ClassGaussians(nn.Module):
    """The Gaussians of one class. The class's normal images are kept, as float16, to recentre new ones.

    Args:
        feat_nLF: features of the class's normal images.
        grid: (H, W), with L = H * W.
        config: how they are fitted.
    """

    def __init__(self, feat_nLF: Tensor, grid: tuple[int, int], config: SharpPriorConfig) -> None:
        super().__init__()
        self.grid, self.config = grid, config
        self.register_buffer("images_nLF", feat_nLF)
        for scale in config.scales:
            self.register_buffer(f"whiten{scale}_LFF", None)
            self.register_buffer(f"typical{scale}", None)

    @torch.no_grad()
    def fit(self) -> ClassGaussians:
        """Fit the Gaussians to the class's images, each recentred by the others, and return them."""
        batches = torch.arange(len(self.images_nLF), device=self.images_nLF.device).split(BATCH)
        residual_nLF = torch.cat([self._recentred(self.images_nLF[rows].float(), own=rows) for rows in batches])
        for scale in self.config.scales:
            coarse_nLF = self._pooled(residual_nLF, scale)
            setattr(self, f"whiten{scale}_LFF", whitening(coarse_nLF, self.config.ridge))
            setattr(self, f"typical{scale}", typical_distance(coarse_nLF, self.config.ridge))
        return self

    @torch.no_grad()
    def distance(self, feat_BLF: Tensor) -> Tensor:
        """Return squared Mahalanobis distances (B, L), in units of what a new normal image of the class has on average.

        In these units the scales, and the classes, can be added and compared; see `typical_distance`.
        """
        residual_BLF, distance_BL = self._recentred(feat_BLF), torch.zeros(feat_BLF.shape[:2], device=feat_BLF.device)
        for scale in self.config.scales:
            whiten_LFF, typical = getattr(self, f"whiten{scale}_LFF"), getattr(self, f"typical{scale}")
            coarse_BL = mahalanobis(self._pooled(residual_BLF, scale), whiten_LFF) / typical
            map_B1HW = coarse_BL.unflatten(1, self._coarse(scale))[:, None]
            distance_BL += F.interpolate(map_B1HW, size=self.grid, mode="bilinear").flatten(1)
        return distance_BL / len(self.config.scales)

    def _recentred(self, feat_BLF: Tensor, own: Tensor | None = None) -> Tensor:
        """Return the tokens less the mean of the most similar images of the class at their position.

        `own` are the numbers of the images where they are the class's own: an image is no neighbour of itself.
        """
        others = len(self.images_nLF) - (own is not None)
        if self.config.neighbours and others:
            distance_Bn = torch.cdist(self._compared(feat_BLF), self._compared_images)
            if own is not None:
                distance_Bn[torch.arange(len(own)), own] = torch.inf
            nearest_BK = distance_Bn.topk(min(self.config.neighbours, others), largest=False).indices
            return feat_BLF - self.images_nLF[nearest_BK].float().mean(dim=1)
        if own is not None and not others:  # a single image shows only how its positions differ
            return feat_BLF - feat_BLF.mean(dim=1, keepdim=True)
        return feat_BLF - self.images_nLF.float().mean(dim=0)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> ClassGaussians:
        """Move or convert the buffers, and forget what was computed from them on another device."""
        self.__dict__.pop("_compared_images", None)
        self.__dict__.pop("_deviation_F", None)
        return super()._apply(fn, recurse)

    @functools.cached_property
    def _compared_images(self) -> Tensor:
        return self._compared(self.images_nLF.float())

    def _compared(self, feat_BLF: Tensor) -> Tensor:
        """Return what images are compared by: coarse maps (B, l * F), in units of each channel's deviation."""
        coarse_BlF = self._pooled(feat_BLF, -(-max(self.grid) // COMPARED_SIDE))
        return (coarse_BlF / self._deviation_F).flatten(1)

    @functools.cached_property
    def _deviation_F(self) -> Tensor:
        return self.images_nLF.float().flatten(0, 1).std(dim=0, correction=0).clamp(min=1e-6)

    def _coarse(self, scale: int) -> tuple[int, int]:
        return tuple(-(-side // scale) for side in self.grid)

    def _pooled(self, feat_BLF: Tensor, scale: int) -> Tensor:
        """Average tokens (B, L, F) over squares of side `scale`."""
        if scale == 1:
            return feat_BLF
        maps_BFHW = feat_BLF.transpose(1, 2).unflatten(2, self.grid)
        return F.adaptive_avg_pool2d(maps_BFHW, self._coarse(scale)).flatten(2).transpose(1, 2)


def whitening(residual_nLF: Tensor, ridge: float) -> Tensor:
    """Fit a covariance at every position and return W (L, F, F) with |W r|^2 = r^T C^-1 r, the Mahalanobis distance.

    C = (1 - a) S + a T, where S is the covariance at the position, T its mean over the positions, and a, one weight
    for all positions, Ledoit and Wolf's estimate (2004): the squared error of S over its squared distance from T. One
    or two images say nothing about that error, so a is 1 for them. `ridge` is then the share of a multiple of the
    identity, because with few images C may be singular.
    """
    n, eye_FF = len(residual_nLF), torch.eye(residual_nLF.shape[2], device=residual_nLF.device)
    residual_LnF = residual_nLF.transpose(0, 1)
    sample_LFF = residual_LnF.mT @ residual_LnF / n
    pooled_FF = sample_LFF.mean(dim=0)
    error = (residual_nLF.square().sum(-1).square().mean(0) - sample_LFF.square().sum((1, 2))).sum() / n
    distance = (sample_LFF - pooled_FF).square().sum()
    weight = (error / distance).clamp(0, 1) if n > 2 and distance > 0 else 1.0
    covariance_LFF = (1 - weight) * sample_LFF + weight * pooled_FF
    variance = pooled_FF.diagonal().mean().clamp(min=1e-12)
    covariance_LFF = ((1 - ridge) * covariance_LFF + ridge * variance * eye_FF).double()
    factor_LFF = torch.linalg.cholesky(covariance_LFF)
    inverse_LFF = torch.linalg.solve_triangular(factor_LFF, eye_FF.double().expand_as(factor_LFF), upper=False)
    return inverse_LFF.float()


def typical_distance(residual_nLF: Tensor, ridge: float) -> Tensor:
    """Estimate the mean Mahalanobis distance of new normal images by cross-validation over the images.

    The images that a covariance was fitted to lie too close, the fewer the closer: with 40 images and 192 channels, new
    ones are several times as far. Every fourth position is enough for a mean. A single image is its own estimate.
    """
    residual_nLF = residual_nLF[:, :: POSITIONS if residual_nLF.shape[1] >= 4 * POSITIONS else 1]
    fold_n = torch.arange(len(residual_nLF), device=residual_nLF.device) % min(FOLDS, len(residual_nLF))
    held_out = [
        mahalanobis(residual_nLF[fold_n == fold], whitening(residual_nLF[fold_n != fold], ridge))
        for fold in range(int(fold_n.max()) + 1)
        if len(residual_nLF) > 1
    ]
    distances_nL = torch.cat(held_out) if held_out else mahalanobis(residual_nLF, whitening(residual_nLF, ridge))
    return distances_nL.mean().clamp(min=1e-12)


def mahalanobis(residual_BLF: Tensor, whiten_LFF: Tensor) -> Tensor:
    """Return the squared Mahalanobis distances (B, L) of residuals (B, L, F)."""
    return (residual_BLF.transpose(0, 1) @ whiten_LFF.mT).square().sum(dim=-1).T
