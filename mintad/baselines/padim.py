"""PaDiM: a Gaussian of normal features at every position (Defard et al., 2020, arXiv:2011.08785)."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mintad.baselines.base import Baseline, baseline
from mintad.config import ScoringConfig
from mintad.errors import DataError
from mintad.features.table import FeatureTable

CHUNK = 64


@baseline("padim")
class PaDiM(Baseline):
    """Mahalanobis distance of every token to the normal tokens at its position.

    The fit keeps, for each position, the mean of d channels and the inverse Cholesky factor of their covariance:
    L * d * d * 4 bytes, 7 MB for 7 x 7 positions and 192 channels. The authors use 56 x 56 positions (of a 224-pixel
    image); here the grid is the run's.

    Args:
        grid: (H, W) of the features.
        channels: d, at most. If the features have more, d of them are chosen at random, else all are used and nothing
            is random. The authors keep 100 of ResNet-18's 448 channels and 550 of WideResNet-50-2's 1,792, to save
            memory and time; we take the larger number, so that a smaller backbone loses nothing.
        shrinkage: added to the covariance's diagonal, in squared units of the features (0.01 as published).
        seed: of the choice of channels.
    """

    title = "PaDiM"

    def __init__(self, grid: tuple[int, int], *, channels: int = 550, shrinkage: float = 0.01, seed: int = 0) -> None:
        super().__init__(grid, seed=seed)
        self.channels, self.shrinkage = channels, shrinkage

    @classmethod
    def published_scoring(cls, config: ScoringConfig) -> ScoringConfig:
        """Return the published score: the maximum of the map, blurred with sigma = 4 pixels."""
        return dataclasses.replace(config, image_score="max", blur=4.0)

    def fit(self, features: FeatureTable, rows: np.ndarray) -> PaDiM:
        """Fit a Gaussian at every position to the normal images in `rows` of `features`.

        Raises:
            DataError: no rows.
        """
        if len(rows) == 0:
            raise DataError("PaDiM needs at least one normal training image")
        generator = torch.Generator().manual_seed(self.seed)
        self.chosen = torch.randperm(features.channels, generator=generator)[: self.channels].sort().values
        chunks = [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
        total_Ld = sum(self._choose(features.gather(chunk)).sum(1, dtype=torch.float64) for chunk in chunks)
        self.mean_L1d = (total_Ld / len(rows))[:, None].float()
        centred = (self._choose(features.gather(chunk)) - self.mean_L1d for chunk in chunks)
        scatter_Ldd = sum((centred_LBd.mT @ centred_LBd).double() for centred_LBd in centred)
        covariance_Ldd = scatter_Ldd / max(len(rows) - 1, 1)
        eye_dd = torch.eye(covariance_Ldd.shape[-1], dtype=torch.float64, device=covariance_Ldd.device)
        factor_Ldd = torch.linalg.cholesky(covariance_Ldd + self.shrinkage * eye_dd)
        # With S = C C^T, the distance x^T S^-1 x is |C^-1 x|^2: keep C^-1, transposed for row vectors.
        inverse_Ldd = torch.linalg.solve_triangular(factor_Ldd, eye_dd.expand_as(factor_Ldd), upper=False)
        self.whiten_Ldd = inverse_Ldd.mT.contiguous().float()
        return self

    def anomaly_map(self, feat_BLF: Tensor, labels: Any = None) -> Tensor:
        """Return Mahalanobis distances (B, H, W) of features (B, L, F)."""
        centred_LBd = self._choose(feat_BLF.to(self.mean_L1d.device)) - self.mean_L1d
        return (centred_LBd @ self.whiten_Ldd).norm(dim=-1).T.unflatten(1, self.grid)

    def _choose(self, feat_BLF: Tensor) -> Tensor:
        return feat_BLF[..., self.chosen.to(feat_BLF.device)].transpose(0, 1)
