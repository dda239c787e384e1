"""The Gaussians of one class: a full covariance at every position, with estimated shrinkage and recentring.

Letters: n images of the class, L tokens, F channels, B images of a batch, K neighbours. `mintad.scoring.sharp_prior`
says what they are for.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mintad.config import SharpPriorConfig
from mintad.model.nearest_images import NearestImages
from mintad.model.pooling import pool_squares

BATCH = 64
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
        self.normal = NearestImages(feat_nLF, grid, max(1, config.neighbours))
        for scale in config.scales:
            self.register_buffer(f"whiten{scale}_LFF", None)
            self.register_buffer(f"typical{scale}", None)

    @torch.no_grad()
    def fit(self) -> ClassGaussians:
        """Fit the Gaussians to the class's images, each recentred by the others, and return them."""
        batches = self.normal.images_nLF.split(BATCH)
        residual_nLF = torch.cat([self._recentred(batch_BLF.float()) for batch_BLF in batches])
        for scale in self.config.scales:
            coarse_nLF = pool_squares(residual_nLF, self.grid, scale)
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
            coarse_BL = mahalanobis(pool_squares(residual_BLF, self.grid, scale), whiten_LFF) / typical
            map_B1HW = coarse_BL.unflatten(1, self._coarse(scale))[:, None]
            distance_BL += F.interpolate(map_B1HW, size=self.grid, mode="bilinear").flatten(1)
        return distance_BL / len(self.config.scales)

    def _recentred(self, feat_BLF: Tensor) -> Tensor:
        """Return the tokens less what they should be: the mean of the most similar images, or of all."""
        if self.config.neighbours or len(self.normal.images_nLF) == 1:  # a mean over one image would leave nothing
            return feat_BLF - self.normal(feat_BLF)
        return feat_BLF - self.normal.images_nLF.float().mean(dim=0)

    def _coarse(self, scale: int) -> tuple[int, int]:
        return tuple(-(-side // scale) for side in self.grid)


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
